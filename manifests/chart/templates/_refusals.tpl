{{/* What no schema can say of single values: one fault on a line, with its place, the value and what is right. */}}

{{- define "boundtoken.faultsOf.keys" -}}
{{- $labels := dict "commonLabels" .Values.commonLabels "podLabels" .Values.podLabels "nodeSelector" .Values.nodeSelector "monitoring.labels" .Values.monitoring.labels "monitoring.dashboard.labels" .Values.monitoring.dashboard.labels }}
{{- range $where, $texts := $labels }}
{{- range $key, $_ := $texts }}
{{- if not (include "boundtoken.isKey" $key) }}
{{ printf "%s: must not have %q, which is no key of a label; such as team or example.com/team" $where $key }}
{{- end }}
{{- end }}
{{- end }}
{{- $annotations := dict "deploymentAnnotations" .Values.deploymentAnnotations "podAnnotations" .Values.podAnnotations "certificates.webhookAnnotations" .Values.certificates.webhookAnnotations "monitoring.dashboard.annotations" .Values.monitoring.dashboard.annotations }}
{{- range $where, $texts := $annotations }}
{{- range $key, $_ := $texts }}
{{- if not (include "boundtoken.isKey" (lower $key)) }}
{{ printf "%s: must not have %q, which is no key of an annotation; such as team or example.com/team" $where $key }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A name, maybe after a subdomain and a slash. */}}
{{- define "boundtoken.isKey" -}}
{{- $parts := splitList "/" . }}
{{- $part := "[a-z0-9]([a-z0-9-]*[a-z0-9])?" }}
{{- if and (eq (len $parts) 2) (or (gt (len (first $parts)) 253) (not (regexMatch (printf "^%s([.]%s)*$" $part $part) (first $parts)))) }}
{{- else if and (le (len $parts) 2) (regexMatch "^([A-Za-z0-9][A-Za-z0-9_.-]{0,61})?[A-Za-z0-9]$" (last $parts)) }}yes
{{- end }}
{{- end }}

{{- define "boundtoken.faultsOf.network" -}}
{{- range $where, $networks := dict "networkPolicy.controlPlane" .Values.networkPolicy.controlPlane "networkPolicy.apiServer.networks" .Values.networkPolicy.apiServer.networks }}
{{- range $i, $network := $networks }}
{{- if not (include "boundtoken.isNetwork" $network) }}
{{ printf "%s[%d]: must be a network without bits beyond its prefix, such as 192.0.2.0/24 or 2001:db8::/64; it is %q" $where $i $network }}
{{- end }}
{{- end }}
{{- end }}
{{- range $i, $peer := .Values.networkPolicy.metricsFrom }}
{{- $where := printf "networkPolicy.metricsFrom[%d]" $i }}
{{- $selects := or (not (kindIs "invalid" $peer.podSelector)) (not (kindIs "invalid" $peer.namespaceSelector)) }}
{{- if kindIs "invalid" $peer.ipBlock }}
{{- if not $selects }}
{{ printf "%s: must have a podSelector, a namespaceSelector or an ipBlock, as a peer of a NetworkPolicy; it is %s" $where (toJson $peer) }}
{{- end }}
{{- else if $selects }}
{{ printf "%s: must not have an ipBlock beside a selector: make two peers; it is %s" $where (toJson $peer) }}
{{- else if not (kindIs "map" $peer.ipBlock) }}
{{ printf "%s.ipBlock: must be a mapping with cidr; it is %s" $where (toJson $peer.ipBlock) }}
{{- else if not (include "boundtoken.isNetwork" $peer.ipBlock.cidr) }}
{{ printf "%s.ipBlock.cidr: must be a network without bits beyond its prefix, such as 192.0.2.0/24 or 2001:db8::/64; it is %s" $where (toJson $peer.ipBlock.cidr) }}
{{- end }}
{{- end }}
{{- with .Values.listen.address }}
{{- $bare := regexReplaceAll "^\\[([0-9A-Fa-f:.]*)\\]$" . "${1}" }}
{{- if not (or (include "boundtoken.isIPv4" $bare) (include "boundtoken.isIPv6" $bare)) }}
{{ printf "listen.address: must be an IP address, such as 0.0.0.0 or [::]; it is %q" . }}
{{- else if or (hasPrefix "127." $bare) (eq $bare "::1") }}
{{ printf "listen.address: must not be %s, where the API server does not reach a pod; such as 0.0.0.0 or [::]" . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "boundtoken.faultsOf.pods" -}}
{{- if and (eq .Values.dnsPolicy "None") (not (.Values.dnsConfig).nameservers) }}
{{ "dnsConfig.nameservers: must be given with dnsPolicy None, such as [192.0.2.53]" }}
{{- end }}
{{- $rolling := (.Values.strategy).rollingUpdate | default dict }}
{{- if and (ne ((.Values.strategy).type | default "") "Recreate") (has (toString $rolling.maxUnavailable) (list "0" "0%")) (has (toString $rolling.maxSurge) (list "0" "0%")) }}
{{ "strategy.rollingUpdate: must not have 0 for both maxUnavailable and maxSurge, or no pod could be replaced" }}
{{- end }}
{{- $variables := list "BOUNDTOKEN_NAMESPACE" }}
{{- range $i, $variable := .Values.env }}
{{- if and (has $variable.name $variables) (not (hasPrefix "BOUNDTOKEN_" $variable.name)) }}
{{ printf "env[%d].name: must not be %q again: each variable once" $i $variable.name }}
{{- end }}
{{- if and $variable.value $variable.valueFrom }}
{{ printf "env[%d]: must have value or valueFrom, and %s has both" $i $variable.name }}
{{- end }}
{{- $variables = append $variables $variable.name }}
{{- end }}
{{- $own := dict "config" "/run/boundtoken/config" "token" "/var/run/secrets/kubernetes.io/serviceaccount" }}
{{- if ne .Values.certificates.mode "self-managed" }}
{{- $_ := set $own "tls" "/run/boundtoken/tls" }}
{{- end }}
{{- $volumes := keys $own }}
{{- range $i, $volume := .Values.extraVolumes }}
{{- if hasKey $own $volume.name }}
{{ printf "extraVolumes[%d].name: must not be %q, which is a volume of boundtoken's own" $i $volume.name }}
{{- else if has $volume.name $volumes }}
{{ printf "extraVolumes[%d].name: must not be %q again: each volume once" $i $volume.name }}
{{- end }}
{{- $volumes = append $volumes $volume.name }}
{{- end }}
{{- $paths := values $own }}
{{- range $i, $mount := .Values.extraVolumeMounts }}
{{- if not (has $mount.name $volumes) }}
{{ printf "extraVolumeMounts[%d].name: must be a volume of extraVolumes; it is %q" $i $mount.name }}
{{- end }}
{{- if has $mount.mountPath $paths }}
{{ printf "extraVolumeMounts[%d].mountPath: must not be %q, where another volume is mounted" $i $mount.mountPath }}
{{- end }}
{{- $paths = append $paths $mount.mountPath }}
{{- end }}
{{- end }}

{{- define "boundtoken.faultsOf.resources" -}}
{{- $limits := (.Values.resources).limits | default dict }}
{{- range $name, $request := (.Values.resources).requests }}
{{- $limit := get $limits $name }}
{{- if or (kindIs "invalid" $request) (kindIs "invalid" $limit) (eq (toString $limit) "") }}
{{- else if gt (include "boundtoken.quantity" $request | float64) (include "boundtoken.quantity" $limit | float64) }}
{{ printf "resources.limits.%s: must be at least resources.requests.%s, which is %v; it is %v" $name $name $request $limit }}
{{- end }}
{{- end }}
{{- end }}

{{/* A quantity of Kubernetes as a number. */}}
{{- define "boundtoken.quantity" -}}
{{- $unit := regexFind "([KMGTPE]i|[numkMGTPE])$" (toString .) }}
{{- $powers := dict "" 1.0 "n" 0.000000001 "u" 0.000001 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 }}
{{- $binary := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 }}
{{- mulf (toString . | trimSuffix $unit | trimPrefix "+" | float64) (get (merge $powers $binary) $unit) }}
{{- end }}

{{- define "boundtoken.isIPv4" -}}
{{- $byte := "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])" }}
{{- if regexMatch (printf "^(%s[.]){3}%s$" $byte $byte) . }}yes{{ end }}
{{- end }}

{{/* Eight groups, or fewer around one `::`; the last two may be written as an address of IPv4. */}}
{{- define "boundtoken.isIPv6" -}}
{{- $last := splitList ":" . | last }}
{{- $text := . }}
{{- if and (contains ":" .) (include "boundtoken.isIPv4" $last) }}
{{- $text = printf "%s0:0" (trimSuffix $last .) }}
{{- end }}
{{- $group := "[0-9A-Fa-f]{1,4}" }}
{{- $groups := len (regexFindAll $group $text -1) }}
{{- if regexMatch (printf "^(%s:){7}%s$" $group $group) $text }}yes
{{- else if and (lt $groups 8) (regexMatch (printf "^(%s(:%s)*)?::(%s(:%s)*)?$" $group $group $group $group) $text) }}yes
{{- end }}
{{- end }}

{{/* A CIDR as API servers take it since they look closely: no bit beyond the prefix, no zero in front. */}}
{{- define "boundtoken.isNetwork" -}}
{{- $parts := splitList "/" (toString .) }}
{{- $address := first $parts }}
{{- $length := last $parts }}
{{- if ne (len $parts) 2 }}
{{- else if include "boundtoken.isIPv4" $address }}
{{- if regexMatch "^([12]?[0-9]|3[0-2])$" $length }}
{{- include "boundtoken.endsWithZeros" (dict "groups" (splitList "." $address) "width" 8 "length" (int $length)) }}
{{- end }}
{{- else if and (include "boundtoken.isIPv6" $address) (not (contains "." $address)) }}
{{- if regexMatch "^(12[0-8]|1[01][0-9]|[1-9]?[0-9])$" $length }}
{{- $around := splitList "::" $address }}
{{- $groups := splitList ":" (first $around) }}
{{- if eq (len $around) 2 }}
{{- $after := compact (splitList ":" (last $around)) }}
{{- $groups = compact $groups }}
{{- range until (int (sub 8 (len (concat $groups $after)))) }}
{{- $groups = append $groups "0" }}
{{- end }}
{{- $groups = concat $groups $after }}
{{- end }}
{{- $numbers := list }}
{{- range $groups }}
{{- $numbers = append $numbers (printf "0x%s" .) }}
{{- end }}
{{- include "boundtoken.endsWithZeros" (dict "groups" $numbers "width" 16 "length" (int $length)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whether nothing but the first bits is set in groups of so many bits. */}}
{{- define "boundtoken.endsWithZeros" -}}
{{- $fault := "" }}
{{- range $i, $group := .groups }}
{{- $free := max 0 (min $.width (sub (mul $.width (add1 $i)) $.length)) | int }}
{{- $power := 1 }}
{{- range until $free }}
{{- $power = mul $power 2 }}
{{- end }}
{{- if mod (int64 $group) $power }}
{{- $fault = "some" }}
{{- end }}
{{- end }}
{{- if not $fault }}yes{{ end }}
{{- end }}

{{/* What Prometheus would say of a template; empty where it takes it. Its functions: template/template.go of Prometheus. */}}
{{- define "boundtoken.faultOfAlertText" -}}
{{- $words := splitList " " "args externalURL first graphLink humanize humanize1024 humanizeDuration humanizePercentage humanizeTimestamp label match now parseDuration pathPrefix query reReplaceAll safeHtml sortByLabel stripDomain stripPort strvalue tableLink title tmpl toDuration toLower toTime toUpper urlQueryEscape value" }}
{{- $words = concat $words (splitList " " "and call eq ge gt html index js le len lt ne not or print printf println slice urlquery true false nil") }}
{{- $words = concat $words (splitList " " "if else range with end define template block break continue") }}
{{- $action := "(?s)[{][{].*?[}][}]" }}
{{- $text := regexReplaceAll "(?s)[{][{](- )?/[*].*?[*]/( -)?[}][}]" . "" }}
{{- $strings := "\"(\\\\.|[^\"\\\\\n])*\"|`[^`]*`|'(\\\\.|[^'\\\\\n])+'" }}
{{- $inside := "" }}
{{- $fault := "" }}
{{- range regexFindAll $action $text -1 }}
{{- $body := regexReplaceAll $strings (trimPrefix "{{" . | trimSuffix "}}") "''" | trimPrefix "-" | trimSuffix "-" | trim }}
{{- if regexMatch "^((else )?(if|with)|range|define|template|block)?$" $body }}
{{- $fault = printf "must not have %s, which lacks what it is about" . }}
{{- else if ne (regexFindAll "[(]" $body -1 | len) (regexFindAll "[)]" $body -1 | len) }}
{{- $fault = printf "must close each ( with ) in %s" . }}
{{- end }}
{{- $inside = printf "%s\n%s" $inside $body }}
{{- end }}
{{- range regexFindAll "[.$]?[A-Za-z0-9_]+" $inside -1 }}
{{- if regexMatch "^[.0-9]" . }}
{{- else if hasPrefix "$" . }}
{{- if not (or (has . (list "$labels" "$externalLabels" "$externalURL" "$value")) (regexMatch (printf "[$]%s\\s*(,\\s*[$][A-Za-z0-9_]+\\s*)?:?=|,\\s*[$]%s\\s*:?=" (trimPrefix "$" .) (trimPrefix "$" .)) $inside)) }}
{{- $fault = printf "must not have %s, which Prometheus does not know" . }}
{{- end }}
{{- else if not (has . $words) }}
{{- $fault = printf "must not have %s, which is no function of Prometheus" . }}
{{- end }}
{{- end }}
{{- $open := regexFindAll "(?m)^(if|range|with|define|block)\\b" $inside -1 | len }}
{{- if contains "{{" (regexReplaceAll $action $text "") }}
{{- $fault = "must close each {{ with }}" }}
{{- else if and (not $fault) (ne $open (regexFindAll "(?m)^end\\b" $inside -1 | len)) }}
{{- $fault = "must have an end for each if, range, with, define and block" }}
{{- end }}
{{- $fault }}
{{- end }}
