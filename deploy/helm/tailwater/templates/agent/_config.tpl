{{/* agent.yaml: what the chart decides, over it what agent.config says. The keys of the first client are merged too; further ones are taken as they are. */}}
{{- define "tailwater.agentConfig" -}}
{{- $client := dict "url" (include "tailwater.pushUrl" .) }}
{{- with .Values.agent.push.tenantID }}{{ $_ := set $client "tenant_id" . }}{{ end }}
{{- with .Values.agent.push.bearerTokenFile }}{{ $_ := set $client "bearer_token_file" . }}{{ end }}
{{- with .Values.agent.push.basicAuth }}
{{- if .existingSecret }}{{ $_ := set $client "basic_auth" (dict "username" .username "password_file" "/etc/tailwater-push-user/password") }}{{ end }}
{{- end }}
{{- with .Values.agent.push.tls }}
{{- if .existingSecret }}
{{- $tls := dict "ca_file" "/etc/tailwater-push-tls/ca.crt" }}
{{- if .clientCertificate }}{{ $_ := set $tls "cert_file" "/etc/tailwater-push-tls/tls.crt" }}{{ $_ := set $tls "key_file" "/etc/tailwater-push-tls/tls.key" }}{{ end }}
{{- $_ := set $client "tls_config" $tls }}
{{- end }}
{{- end }}
{{- $config := dict "data_dir" .Values.agent.dataDir "listen" "0.0.0.0:3101" "enable_reload" true }}
{{- with .Values.cluster.name }}{{ $_ := set $config "labels" (dict "external" (dict "cluster" .)) }}{{ end }}
{{- $given := deepCopy .Values.agent.config }}
{{- $givenClient := dict }}
{{- $further := list }}
{{- with $given.clients }}{{ $givenClient = first . }}{{ $further = rest . }}{{ end }}
{{- $config = mergeOverwrite $config (omit $given "clients") }}
{{- $_ := set $config "clients" (prepend $further (mergeOverwrite $client $givenClient)) }}
{{- toYaml $config }}
{{- end }}

{{/* Folders of the node that only some sources read, never written: JSON of a list of name, path and type */}}
{{- define "tailwater.agentSources" -}}
{{- $sources := list }}
{{- with .Values.agent.config.docker_root }}
{{- /* What links of /var/log/pods lead to. */}}
{{- $sources = append $sources (dict "name" "docker" "path" (printf "%s/containers" (trimSuffix "/" .)) "type" "Directory") }}
{{- end }}
{{- $jobs := concat (.Values.agent.promtailConfig.scrape_configs | default list) (.Values.agent.config.scrape_configs | default list) }}
{{- if contains "/var/log/containers" ($jobs | toJson) }}
{{- $sources = append $sources (dict "name" "containers" "path" "/var/log/containers" "type" "Directory") }}
{{- end }}
{{- $hasJournal := false }}
{{- range $jobs }}{{ if hasKey . "journal" }}{{ $hasJournal = true }}{{ end }}{{ end }}
{{- if $hasJournal }}
{{- /* A node has one of the two folders. */}}
{{- $sources = append $sources (dict "name" "journal-volatile" "path" "/run/log/journal" "type" "") }}
{{- $sources = append $sources (dict "name" "journal" "path" "/var/log/journal" "type" "") }}
{{- $sources = append $sources (dict "name" "machine-id" "path" "/etc/machine-id" "type" "File") }}
{{- end }}
{{- $sources | toJson }}
{{- end }}
