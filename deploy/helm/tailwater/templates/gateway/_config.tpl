{{- define "tailwater.authzLocation" -}}
location = /internal/authz {
    internal;
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Tailwater-Access "";
    proxy_next_upstream error http_502 http_503 non_idempotent;
    proxy_read_timeout 10s;
    proxy_pass {{ include "tailwater.aggregatorScheme" . }}://aggregator;
}
{{- end }}
{{/* How the gateway knows the aggregators, and they it. A path with a variable is read again for each handshake, so that what is renewed needs no restart. */}}
{{- define "tailwater.upstreamTls" -}}
proxy_ssl_verify on;
proxy_ssl_verify_depth 3;
proxy_ssl_trusted_certificate /etc/nginx/aggregator/ca.crt;
proxy_ssl_name {{ include "tailwater.aggregatorName" . }};
proxy_ssl_server_name on;
proxy_ssl_protocols TLSv1.2 TLSv1.3;
{{- if .Values.aggregator.tls.clientSecret }}
proxy_ssl_certificate /etc/nginx/aggregator-client/tls.crt$read_again;
proxy_ssl_certificate_key /etc/nginx/aggregator-client/tls.key$read_again;
{{- end }}
{{- end }}

{{/* nginx.conf: the template of deploy/gateway with its variables filled in */}}
{{- define "tailwater.nginxConfig" -}}
{{- $gateway := .Values.gateway }}
{{- $isBasic := include "tailwater.isBasicAuth" . }}
{{- $isTls := include "tailwater.isGatewayTls" . }}
{{- $listen := ternary "8080 ssl" "8080" (not (empty $isTls)) }}
{{- $http := list }}
{{- if $gateway.exporter }}
{{- $http = append $http "server { listen 127.0.0.1:8081; access_log off; location = /stub_status { stub_status; } }" }}
{{- end }}
{{- with $gateway.nginxConfig.httpSnippet }}{{ $http = append $http . }}{{ end }}
{{- $server := list }}
{{- $tenant := "" }}
{{- if $isBasic }}
{{- $server = append $server "auth_basic \"tailwater\";\nauth_basic_user_file /etc/nginx/htpasswd/.htpasswd;" }}
{{- $tenant = "proxy_set_header X-Scope-OrgID $remote_user;" }}
{{- end }}
{{- if $isTls }}
{{- $server = append $server "ssl_certificate /etc/nginx/tls/tls.crt$read_again;\nssl_certificate_key /etc/nginx/tls/tls.key$read_again;\nssl_protocols TLSv1.2 TLSv1.3;" }}
{{- end }}
{{- if .Values.aggregator.tls.existingSecret }}
{{- $server = append $server (include "tailwater.upstreamTls" . | trim) }}
{{- end }}
{{- if or $isTls .Values.aggregator.tls.clientSecret }}
{{- $http = append $http "# Empty. A certificate's path that has a variable is read again for each handshake.\nmap \"\" $read_again { default \"\"; }" }}
{{- end }}
{{- $push := "" }}
{{- $read := "" }}
{{- $access := "\"\"" }}
{{- if eq .Values.auth.mode "kubernetes" }}
{{- /* Whose token it is: the aggregator says so in a header that it has signed. The token itself goes no further. */}}
{{- $server = append $server (include "tailwater.authzLocation" . | trim) }}
{{- $tenant = "proxy_set_header Authorization \"\";" }}
{{- $access = "$tailwater_access" }}
{{- $read = "auth_request /internal/authz;\nauth_request_set $tailwater_access $upstream_http_x_tailwater_access;" }}
{{- end }}
{{- if $gateway.tls.clientCaSecret }}
{{- $server = append $server "ssl_client_certificate /etc/nginx/client-ca/ca.crt;\nssl_verify_client optional;" }}
{{- end }}
{{- if $gateway.tls.mtls }}
{{- $push = "if ($ssl_client_verify != SUCCESS) { return 403 \"a client certificate is needed\\n\"; }" }}
{{- end }}
{{- if $gateway.exposeAdmin }}
{{- $server = append $server (printf "location ~ ^/(?:flush|config|metrics|log_level|ingester/.*)$ { proxy_pass %s://aggregator; }" (include "tailwater.aggregatorScheme" .)) }}
{{- end }}
{{- with $gateway.nginxConfig.serverSnippet }}{{ $server = append $server . }}{{ end }}
{{- $resolver := $gateway.nginxConfig.resolver }}
{{- $text := .Files.Get "files/nginx.conf.template"
  | regexFind "(?s)worker_processes .*"
  | replace "${GATEWAY_LISTEN}" $listen
  | replace "${GATEWAY_LISTEN_IPV6}" (ternary (printf "listen [::]:%s;" $listen) "" $gateway.nginxConfig.enableIPv6)
  | replace "${GATEWAY_AGGREGATOR}" (printf "%s:3100" (include "tailwater.serviceHost" (dict "root" . "name" "tailwater-aggregator")))
  | replace "${GATEWAY_SCHEME}" (include "tailwater.aggregatorScheme" .)
  | replace "${GATEWAY_RESOLVER}" (ternary (printf "resolver %s valid=10s;" $resolver) "" (not (empty $resolver)))
  | replace "${GATEWAY_RESOLVE}" (ternary "resolve" "" (not (empty $resolver)))
  | replace "${GATEWAY_MAX_BODY}" $gateway.nginxConfig.clientMaxBodySize
  | replace "${GATEWAY_LOG_ALL}" (ternary "1" "0" $gateway.verboseLogging)
  | replace "${GATEWAY_TMP}" "/tmp"
  | replace "${GATEWAY_TENANT}" $tenant
  | replace "${GATEWAY_ACCESS}" $access
  | replace "${GATEWAY_READ}" ($read | indent 12 | trim)
  | replace "${GATEWAY_PUSH}" $push
  | replace "${GATEWAY_LOCATION}" (trim $gateway.nginxConfig.locationSnippet | indent 12 | trim)
  | replace "${GATEWAY_SERVER}" (join "\n" $server | indent 8 | trim)
  | replace "${GATEWAY_HTTP}" (join "\n" $http | indent 4 | trim) }}
{{- /* A variable without a value leaves no trace. */}}
{{- $text = regexReplaceAll "[ \t]+\n" $text "\n" }}
{{- regexReplaceAll "\n{3,}" $text "\n\n" }}
{{- end }}
