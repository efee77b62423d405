{{/* HorizontalPodAutoscaler: (dict "root" $ "component" "gateway" "values" .Values.gateway) */}}
{{- define "tailwater.autoscaler" -}}
{{- if and .values.enabled .values.autoscaling.enabled }}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: tailwater-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "tailwater.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: tailwater-{{ .component }}
  minReplicas: {{ .values.autoscaling.minReplicas }}
  maxReplicas: {{ .values.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ .values.autoscaling.targetCPUUtilizationPercentage }}
  behavior:
    scaleDown:
      stabilizationWindowSeconds: 300
{{- end }}
{{- end }}

{{/* PodDisruptionBudget, with the same arguments. None over a single replica: it would block every drain of its node */}}
{{- define "tailwater.disruptionBudget" -}}
{{- $replicas := ternary .values.autoscaling.minReplicas .values.replicas .values.autoscaling.enabled }}
{{- if and .values.enabled (gt (int $replicas) 1) }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: tailwater-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "tailwater.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "tailwater.selector" . | nindent 6 }}
{{- end }}
{{- end }}
