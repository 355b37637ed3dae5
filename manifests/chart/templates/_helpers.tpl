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
{{- if and .image.tag .image.digest }}
{{- $faults = append $faults "image.tag: must be empty with image.digest, which a released chart has; set image.digest to \"\" beside the tag" }}
{{- end }}
{{- if and (ne .certificates.mode "self-managed") (has .certificates.secretName (list "boundtoken-ca" "boundtoken-issuer-ca")) }}
{{- $faults = append $faults (printf "certificates.secretName: must not be %s, which is the Secret of a CA" .certificates.secretName) }}
{{- end }}
{{- range $name, $_ := ternary .certificates.webhookAnnotations dict (eq .certificates.mode "self-managed") }}
{{- if hasPrefix "cert-manager.io/inject-" $name }}
{{- $faults = append $faults (printf "certificates.webhookAnnotations: must not have %s with certificates.mode self-managed, or cert-manager and the replicas overwrite each other's caBundle" $name) }}
{{- end }}
{{- end }}
{{- if has .test.namespace (concat (list "kube-system" "kube-public" "kube-node-lease") ((((.config).namespaces).excluded) | default list)) }}
{{- $faults = append $faults (printf "test.namespace: must not be %s, whose pods are never changed" .test.namespace) }}
{{- end }}
{{- range .env }}
{{- if hasPrefix "BOUNDTOKEN_" .name }}
{{- $faults = append $faults (printf "env: must not have %s: set options instead" .name) }}
{{- end }}
{{- end }}
{{- range .extraArgs }}
{{- if has (splitList "=" . | first) (list "--ca-duration" "--config" "--drain-seconds" "--leaf-duration" "--legacy-tokens" "--listen" "--log-level" "--namespace" "--namespace-metrics" "--plain-listen" "--self-probe-interval" "--tls-cert" "--tls-key") }}
{{- $faults = append $faults (printf "extraArgs: must not have %s, which other values set" .) }}
{{- else if has (splitList "=" . | first) (list "--ca-out" "--help" "--standalone" "-h") }}
{{- $faults = append $faults (printf "extraArgs: must not have %s, with which no replica serves the cluster" .) }}
{{- end }}
{{- end }}
{{- with .podDisruptionBudget }}
{{- $stay := .minAvailable }}
{{- $go := .maxUnavailable }}
{{- $replicas := int ($.Values.replicas | default 0) }}
{{- if not .enabled }}
{{- else if not (kindIs "invalid" $go) }}
{{- if has (toString $go) (list "0" "0%") }}
{{- $faults = append $faults "podDisruptionBudget.maxUnavailable: must be more than 0, or no node with a replica can be drained" }}
{{- end }}
{{- else if kindIs "invalid" $stay }}
{{- $faults = append $faults "podDisruptionBudget.minAvailable: must be given, or maxUnavailable" }}
{{- else if ne $replicas 1 }}
{{- $kept := kindIs "string" $stay | ternary (divf (mulf $replicas (trimSuffix "%" (toString $stay) | float64)) 100 | ceil | int) (int $stay) }}
{{- if or (eq (toString $stay) "100%") (and (gt $replicas 0) (ge $kept $replicas)) }}
{{- $faults = append $faults "podDisruptionBudget.minAvailable: must be less than replicas, or no node with a replica can be drained" }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- $units := dict "s" 1 "m" 60 "h" 3600 "d" 86400 }}
{{- $seconds := dict "caDuration" (mul 365 86400) "leafDuration" (mul 7 86400) }}
{{- range $name, $_ := $seconds }}
{{- with index ($.Values.options | default dict) $name }}
{{- $_ := set $seconds $name (mul (regexFind "[0-9]+" . | int64) (index $units (regexFind "[a-z]" .))) }}
{{- end }}
{{- end }}
{{- if gt (mul $seconds.leafDuration 3) $seconds.caDuration }}
{{- $faults = append $faults "options.leafDuration: must be at most a third of options.caDuration, so that no CA expires before its leaves" }}
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
{{- $rule := .Values.monitoring.prometheusRule }}
{{- range $where, $own := dict "additionalLabels" (list "alertname" "severity") "additionalAnnotations" (list "summary" "description" "runbook_url") }}
{{- range $own }}
{{- if hasKey (index $rule $where | default dict) . }}
{{- $faults = append $faults (printf "monitoring.prometheusRule.%s: must not have %s, which each alert has of its own" $where .) }}
{{- end }}
{{- end }}
{{- end }}
{{- $texts := dict "runbooks" $rule.runbooks }}
{{- range $where := list "additionalLabels" "additionalAnnotations" }}
{{- range $name, $text := index $rule $where }}
{{- $_ := set $texts (printf "%s.%s" $where $name) $text }}
{{- end }}
{{- end }}
{{- range $where, $text := $texts }}
{{- with include "boundtoken.faultOfAlertText" $text }}
{{- $faults = append $faults (printf "monitoring.prometheusRule.%s: %s, as a template of Prometheus; it is %q" $where . $text) }}
{{- end }}
{{- end }}
{{- with .Values.monitoring }}
{{- $milliseconds := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 }}
{{- if .scrapeTimeout }}
{{- $timeout := mul (regexFind "[0-9]+" .scrapeTimeout | int64) (index $milliseconds (regexFind "[a-z]+" .scrapeTimeout)) }}
{{- $interval := mul (regexFind "[0-9]+" .interval | int64) (index $milliseconds (regexFind "[a-z]+" .interval)) }}
{{- if gt $timeout $interval }}
{{- $faults = append $faults "monitoring.scrapeTimeout: must be at most monitoring.interval" }}
{{- end }}
{{- end }}
{{- end }}
{{- if eq .Values.test.namespace .Release.Namespace }}
{{- $faults = append $faults "test.namespace: must be another namespace than the release's, whose pods are never changed; such as default" }}
{{- end }}
{{- range $part := list "keys" "network" "pods" "resources" }}
{{- range splitList "\n" (include (printf "boundtoken.faultsOf.%s" $part) $) }}
{{- with trim . }}
{{- $faults = append $faults . }}
{{- end }}
{{- end }}
{{- end }}
{{- if hasKey .Release "boundtoken" }}
{{- $faults = append $faults (printf "%s: must be once in a release, since its objects are called boundtoken whatever its alias is, and %s has made them" (dir .Template.BasePath) .Release.boundtoken) }}
{{- end }}
{{- $_ := set .Release "boundtoken" (dir .Template.BasePath) }}
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
