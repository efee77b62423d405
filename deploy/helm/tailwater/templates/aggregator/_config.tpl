{{/* aggregator.yaml */}}
{{- define "tailwater.aggregatorConfig" -}}
{{- $storage := dict "type" .Values.storage.type }}
{{- if eq .Values.storage.type "filesystem" }}
{{- $_ := set $storage "filesystem" (dict "path" "/var/lib/tailwater") }}
{{- else }}
{{- $_ := set $storage "s3" (include "tailwater.s3" . | fromYaml) }}
{{- end }}
{{- with .Values.storage.s3.prefix }}{{ $_ := set $storage "prefix" . }}{{ end }}
{{- $config := dict "listen" "0.0.0.0:3100" "storage" $storage "tenancy" (dict "enabled" .Values.tenancy.enabled "default" .Values.tenancy.default) }}
{{- if eq .Values.auth.mode "kubernetes" }}{{ $_ := set $config "auth" (dict "mode" "kubernetes") }}{{ end }}
{{- with .Values.aggregator.limits }}{{ $_ := set $config "limits" . }}{{ end }}
{{- with .Values.aggregator.overrides }}{{ $_ := set $config "overrides" . }}{{ end }}
{{- toYaml (mergeOverwrite $config (deepCopy .Values.aggregator.config)) }}
{{- end }}
