{{/* Labels of every object beside app.kubernetes.io/name. */}}
{{- define "boundtoken.labels" -}}
{{- $helm := dict "app.kubernetes.io/instance" .Release.Name "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $helm "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $helm "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") }}
{{- toYaml (merge $helm (.Values.commonLabels | default dict)) }}
{{- end }}

{{/* Of what the Prometheus operator finds by labels. */}}
{{- define "boundtoken.monitoringLabels" -}}
{{- toYaml (merge (deepCopy (.Values.monitoring.labels | default dict)) (include "boundtoken.labels" . | fromYaml)) }}
{{- end }}

{{- define "boundtoken.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Annotations of the webhook configurations; empty where there are none. */}}
{{- define "boundtoken.webhookAnnotations" -}}
{{- $annotations := deepCopy (.Values.certificates.webhookAnnotations | default dict) }}
{{- if eq .Values.certificates.mode "cert-manager" }}
{{- $_ := set $annotations "cert-manager.io/inject-ca-from" (printf "%s/boundtoken" .Release.Namespace) }}
{{- end }}
{{- with $annotations }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* One port: 0.0.0.0 where no address is given. */}}
{{- define "boundtoken.address" -}}
{{ .address | default "0.0.0.0" }}:{{ .port }}
{{- end }}

{{/* Flags: those of options in the order of their names, and what other values mean. */}}
{{- define "boundtoken.args" -}}
- serve
- --config=/run/boundtoken/config/config.yaml
{{- range $name, $value := .Values.options }}
{{- if kindIs "bool" $value }}
- --{{ kebabcase $name }}={{ ternary "on" "off" $value }}
{{- else if not (kindIs "invalid" $value) }}
- {{ printf "--%s=%s" (kebabcase $name) (ternary $value (toJson $value) (kindIs "string" $value)) | quote }}
{{- end }}
{{- end }}
{{- with .Values.listen }}
{{- if or .address (ne (int .tlsPort) 10250) }}
- {{ printf "--listen=%s" (include "boundtoken.address" (dict "address" .address "port" (int .tlsPort))) | quote }}
{{- end }}
{{- if or .address (ne (int .plainPort) 8080) }}
- {{ printf "--plain-listen=%s" (include "boundtoken.address" (dict "address" .address "port" (int .plainPort))) | quote }}
{{- end }}
{{- end }}
{{- if .Values.legacyTokens.enabled }}
- --legacy-tokens=on
{{- end }}
{{- if ne .Values.certificates.mode "self-managed" }}
- --tls-cert=/run/boundtoken/tls/tls.crt
- --tls-key=/run/boundtoken/tls/tls.key
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Refuse values that do not go together, which no schema can say in words. */}}
{{- define "boundtoken.refuse" -}}
{{- $faults := list }}
{{- with .Values }}
{{- if and .hostNetwork (eq (int .listen.tlsPort) 10250) }}
{{- $faults = append $faults "listen.tlsPort: must not be 10250 with hostNetwork, since the kubelet has that port; such as 10350" }}
{{- end }}
{{- if eq (int .listen.tlsPort) (int .listen.plainPort) }}
{{- $faults = append $faults "listen.plainPort: must not be listen.tlsPort" }}
{{- end }}
{{- if and .legacyTokens.failClosed (not .legacyTokens.enabled) }}
{{- $faults = append $faults "legacyTokens.failClosed: needs legacyTokens.enabled=true" }}
{{- end }}
{{- if gt (addf (.options).drainSeconds 5) (float64 .terminationGracePeriodSeconds) }}
{{- $faults = append $faults "terminationGracePeriodSeconds: must be at least 5 more than options.drainSeconds, or requests are cut off" }}
{{- end }}
{{- if and .priorityClass.create (or (not .priorityClass.name) (hasPrefix "system-" .priorityClass.name)) }}
{{- $faults = append $faults "priorityClass.name: must be a name of your own with priorityClass.create, not system-…" }}
{{- end }}
{{- range $where, $seconds := dict "config.defaults.expirationSeconds" ((.config).defaults).expirationSeconds "config.tokenRequests.maxExpirationSeconds" ((.config).tokenRequests).maxExpirationSeconds }}
{{- if eq (int64 $seconds) 3607 }}
{{- $faults = append $faults (printf "%s: must not be 3607, of which the API server makes a year; such as 3600" $where) }}
{{- end }}
{{- end }}
{{- end }}
{{- $reserved := list "app.kubernetes.io/name" "app.kubernetes.io/component" }}
{{- range $where, $labels := dict "commonLabels" .Values.commonLabels "podLabels" .Values.podLabels "monitoring.labels" .Values.monitoring.labels "monitoring.dashboard.labels" .Values.monitoring.dashboard.labels }}
{{- range $reserved }}
{{- if hasKey ($labels | default dict) . }}
{{- $faults = append $faults (printf "%s: must not have %s, by which boundtoken finds its objects" $where .) }}
{{- end }}
{{- end }}
{{- end }}
{{- range list "app.kubernetes.io/instance" "app.kubernetes.io/managed-by" "app.kubernetes.io/version" "helm.sh/chart" }}
{{- if hasKey ($.Values.commonLabels | default dict) . }}
{{- $faults = append $faults (printf "commonLabels: must not have %s, which the chart sets" .) }}
{{- end }}
{{- end }}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled }}
{{- $faults = append $faults "monitoring.serviceMonitor.enabled: must not be true with monitoring.podMonitor.enabled, since both would count everything twice" }}
{{- end }}
{{- if eq .Values.test.namespace .Release.Namespace }}
{{- $faults = append $faults "test.namespace: must be another namespace than the release's, whose pods are never changed; such as default" }}
{{- end }}
{{- with $faults }}
{{- fail (printf "\n%s" (join "\n" .)) }}
{{- end }}
{{- end }}

{{/* Where the pod of `helm test` is made; empty where there is no such namespace. */}}
{{- define "boundtoken.testNamespace" -}}
{{- if .Values.test.namespace -}}
{{ .Values.test.namespace }}
{{- else if ne .Release.Namespace "default" -}}
default
{{- end -}}
{{- end }}
