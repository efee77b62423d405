{{/* Labels of every object: (dict "root" $ "component" "agent") */}}
{{- define "tailwater.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{ include "tailwater.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{/* What selectors use, and only this: selectors cannot be changed */}}
{{- define "tailwater.selector" -}}
app.kubernetes.io/name: tailwater
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* (dict "root" $ "image" .Values.agent.image) */}}
{{- define "tailwater.image" -}}
{{- $registry := .image.registry | default .root.Values.global.image.registry -}}
{{- if $registry }}{{ $registry }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "tailwater.pullSecrets" -}}
{{- with .Values.global.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* For every container; the agent alone runs as root */}}
{{- define "tailwater.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "tailwater.serviceHost" -}}
{{ .name }}.{{ .root.Release.Namespace }}.svc.{{ .root.Values.global.clusterDomain }}
{{- end }}

{{- define "tailwater.isBasicAuth" -}}
{{- if or (eq .Values.auth.mode "basic") .Values.gateway.basicAuth.enabled }}true{{ end }}
{{- end }}

{{- define "tailwater.htpasswdSecret" -}}
{{ .Values.gateway.basicAuth.existingSecret | default "tailwater-gateway-htpasswd" }}
{{- end }}

{{- define "tailwater.isGatewayTls" -}}
{{- if .Values.gateway.tls.existingSecret }}true{{ end }}
{{- end }}

{{/* As the aggregators' certificate has it, and as they are reached within this namespace's cluster */}}
{{- define "tailwater.aggregatorName" -}}
tailwater-aggregator.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "tailwater.aggregatorScheme" -}}
http{{ if .Values.aggregator.tls.existingSecret }}s{{ end }}
{{- end }}

{{/* Where this release takes lines and answers */}}
{{- define "tailwater.url" -}}
{{- if .Values.gateway.enabled -}}
http{{ if include "tailwater.isGatewayTls" . }}s{{ end }}://{{ include "tailwater.serviceHost" (dict "root" . "name" "tailwater-gateway") }}
{{- if ne (int .Values.gateway.service.port) (ternary 443 80 (not (empty (include "tailwater.isGatewayTls" .)))) }}:{{ .Values.gateway.service.port }}{{ end }}
{{- else -}}
{{- if .Values.aggregator.tls.existingSecret -}}
https://{{ include "tailwater.aggregatorName" . }}:3100
{{- else -}}
http://{{ include "tailwater.serviceHost" (dict "root" . "name" "tailwater-aggregator") }}:3100
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty where what agents and canaries speak to has a certificate */}}
{{- define "tailwater.isTlsOutside" -}}
{{- if .Values.gateway.enabled }}{{ include "tailwater.isGatewayTls" . }}{{ else if and .Values.aggregator.enabled .Values.aggregator.tls.existingSecret }}true{{ end }}
{{- end }}

{{- define "tailwater.pushUrl" -}}
{{ .Values.agent.push.url | default (printf "%s/loki/api/v1/push" (include "tailwater.url" .)) }}
{{- end }}

{{/* The bucket, be it given or the development MinIO: YAML of storage.s3 */}}
{{- define "tailwater.s3" -}}
{{- if .Values.minio.enabled -}}
endpoint: http://{{ include "tailwater.serviceHost" (dict "root" . "name" "tailwater-minio") }}:9000
region: us-east-1
bucket: {{ .Values.minio.bucket }}
force_path_style: true
insecure: true
{{- else -}}
{{- with .Values.storage.s3 -}}
{{- with .endpoint }}
endpoint: {{ . }}
{{- end }}
region: {{ .region }}
bucket: {{ .bucket }}
force_path_style: {{ .forcePathStyle }}
insecure: {{ .insecure }}
{{- with .sse }}
sse: {{ . }}
{{- end }}
{{- with .kmsKeyId }}
kms_key_id: {{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- if include "tailwater.s3Secret" . }}
credentials_dir: {{ include "tailwater.s3Folder" . }}
{{- end }}
{{- end }}

{{- define "tailwater.s3Secret" -}}
{{- if .Values.minio.enabled -}}
{{ .Values.minio.existingSecret | default "tailwater-minio" }}
{{- else -}}
{{ .Values.storage.s3.existingSecret }}
{{- end }}
{{- end }}

{{/* The folder where the bucket's keys are files, which are read again when they change */}}
{{- define "tailwater.s3Folder" -}}
/etc/tailwater-s3
{{- end }}

{{/* The volume with the bucket's keys, under the names that the program looks for */}}
{{- define "tailwater.s3Volume" -}}
{{- $secret := include "tailwater.s3Secret" . }}
{{- $keys := .Values.storage.s3 }}
{{- if .Values.minio.enabled }}
{{- $keys = dict "accessKeyKey" "AWS_ACCESS_KEY_ID" "secretKeyKey" "AWS_SECRET_ACCESS_KEY" }}
{{- end -}}
- name: s3-keys
  projected:
    sources:
      - secret:
          name: {{ $secret }}
          items:
            - key: {{ $keys.accessKeyKey }}
              path: AWS_ACCESS_KEY_ID
            - key: {{ $keys.secretKeyKey }}
              path: AWS_SECRET_ACCESS_KEY
      {{- with $keys.sessionTokenKey }}
      - secret:
          name: {{ $secret }}
          optional: true
          items:
            - key: {{ . }}
              path: AWS_SESSION_TOKEN
      {{- end }}
{{- end }}

{{- define "tailwater.s3Mount" -}}
- name: s3-keys
  mountPath: {{ include "tailwater.s3Folder" . }}
  readOnly: true
{{- end }}

{{/* Not empty where a canary can read back what this release's agents ship */}}
{{- define "tailwater.hasCanary" -}}
{{- $canary := .Values.canary }}
{{- $isOwn := and (not $canary.url) (or .Values.gateway.enabled .Values.aggregator.enabled) }}
{{- $mayRead := or (not (include "tailwater.isBasicAuth" .)) $canary.basicAuth.existingSecret }}
{{- $isTrusted := or (not (include "tailwater.isTlsOutside" .)) $canary.tls.caSecret }}
{{- if and $canary.enabled .Values.agent.enabled (or $canary.url (and $isOwn $mayRead $isTrusted)) }}true{{ end }}
{{- end }}

{{- define "tailwater.apiserverSecret" -}}
{{ .Values.apiserver.tls.existingSecret | default "tailwater-apiserver-tls" }}
{{- end }}

{{/* Rules of a NetworkPolicy: the way to the bucket */}}
{{- define "tailwater.bucketEgress" -}}
{{- if (and .Values.minio.enabled .Values.aggregator.enabled) }}
- to:
    - podSelector:
        matchLabels:
          {{- include "tailwater.selector" (dict "root" . "component" "minio") | nindent 10 }}
  ports:
    - port: 9000
{{- else if eq .Values.storage.type "s3" }}
{{- $endpoint := urlParse .Values.storage.s3.endpoint }}
{{- $port := trimPrefix ":" (regexFind ":[0-9]+$" ($endpoint.host | default "")) | default (ternary "80" "443" (eq ($endpoint.scheme | default "") "http")) }}
- to:
    {{- range .Values.networkPolicy.egressS3Cidrs }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
    {{- if or (contains ".svc" ($endpoint.host | default "")) (and $endpoint.host (not (contains "." $endpoint.host))) }}
    # The endpoint is a Service: its pods, wherever they are.
    - namespaceSelector: {}
    {{- end }}
  ports:
    {{- range (.Values.networkPolicy.egressS3Ports | default (list $port)) }}
    - port: {{ . }}
    {{- end }}
{{- if not .Values.storage.s3.existingSecret }}
# Where ambient credentials come from: the instance's metadata, the node's identity agent, the token service.
- to:
    - ipBlock:
        cidr: 169.254.169.254/32
    - ipBlock:
        cidr: 169.254.170.23/32
  ports:
    - port: 80
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
  ports:
    - port: 443
{{- end }}
{{- end }}
{{- end }}

{{- define "tailwater.hasOperator" -}}
{{- if or .Values.monitoring.force (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") }}true{{ end }}
{{- end }}

{{/* Several replicas stand on different nodes where they can: (dict "root" $ "component" "gateway") */}}
{{- define "tailwater.apart" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "tailwater.selector" . | nindent 12 }}
{{- end }}
