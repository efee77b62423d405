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
{{- if include "tailwater.isShared" . }}
{{- $name := include "tailwater.serviceHost" (dict "root" . "name" "tailwater-aggregator-headless") }}
{{- if .Values.aggregator.tls.existingSecret }}{{ $_ := set $config "peers" (list (printf "https://%s:3100" $name)) }}{{ else }}{{ $_ := set $config "peers" (dict "service" $name) }}{{ end }}
{{- end }}
{{- if ne (toString .Values.aggregator.cache.diskBytes) "0" }}{{ $_ := set $config "cache" (dict "dir" "/var/cache/tailwater" "disk_bytes" (printf "%sB" .Values.aggregator.cache.diskBytes)) }}{{ end }}
{{- with .Values.aggregator.tls }}
{{- if .existingSecret }}
{{- $tls := dict "certificate" "/etc/tailwater-tls/tls.crt" "key" "/etc/tailwater-tls/tls.key" "ca" "/etc/tailwater-tls/ca.crt" }}
{{- if .clientSecret }}{{ $_ := set $tls "client_ca" "/etc/tailwater-tls/ca.crt" }}{{ end }}
{{- $_ := set $config "tls" $tls }}
{{- end }}
{{- end }}
{{- with .Values.aggregator.limits }}{{ $_ := set $config "limits" . }}{{ end }}
{{- with .Values.aggregator.overrides }}{{ $_ := set $config "overrides" . }}{{ end }}
{{- toYaml (mergeOverwrite $config (deepCopy .Values.aggregator.config)) }}
{{- end }}

{{/* Not empty where several aggregators share a store, which divide the work of compaction among them */}}
{{- define "tailwater.isShared" -}}
{{- if and .Values.aggregator.enabled (or .Values.aggregator.autoscaling.enabled (gt (int .Values.aggregator.replicas) 1)) }}true{{ end }}
{{- end }}

{{/* The same, also where a person names the others */}}
{{- define "tailwater.hasPeers" -}}
{{- if or .Values.aggregator.config.peers (include "tailwater.isShared" .) }}true{{ end }}
{{- end }}
