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

{{/* Where this release takes lines and answers */}}
{{- define "tailwater.url" -}}
{{- if .Values.gateway.enabled -}}
http{{ if include "tailwater.isGatewayTls" . }}s{{ end }}://{{ include "tailwater.serviceHost" (dict "root" . "name" "tailwater-gateway") }}
{{- if ne (int .Values.gateway.service.port) (ternary 443 80 (not (empty (include "tailwater.isGatewayTls" .)))) }}:{{ .Values.gateway.service.port }}{{ end }}
{{- else -}}
http://{{ include "tailwater.serviceHost" (dict "root" . "name" "tailwater-aggregator") }}:3100
{{- end }}
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
{{- end }}
{{- end }}
{{- end }}

{{- define "tailwater.s3Secret" -}}
{{- if .Values.minio.enabled -}}
{{ .Values.minio.existingSecret | default "tailwater-minio" }}
{{- else -}}
{{ .Values.storage.s3.existingSecret }}
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
