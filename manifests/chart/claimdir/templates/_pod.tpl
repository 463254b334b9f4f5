{{/* env is the environment of claimdir, without extraEnv. */}}
{{- define "claimdir.env" -}}
- name: PROVISIONER_NAME
  value: {{ include "claimdir.provisionerName" . | quote }}
- name: POD_NAMESPACE # where the lease lives
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- with .Values.additionalProvisionerNames }}
- name: ADDITIONAL_PROVISIONER_NAMES
  value: {{ join "," . | quote }}
{{- end }}
{{- if not .Values.leaderElection.enabled }}
- name: ENABLE_LEADER_ELECTION
  value: "false"
{{- end }}
{{- range $name, $value := .Values.settings }}
{{- if not (kindIs "invalid" $value) }}
- name: {{ snakecase $name | upper }}
  value: {{ include "claimdir.text" $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* text is a value as it was typed: helm reads whole numbers as floating ones, and would write 1e+06. */}}
{{- define "claimdir.text" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{/* podSecurityContext is that of the pod: the chart's own, and over it the one in the values. */}}
{{- define "claimdir.podSecurityContext" -}}
{{- $own := dict "runAsUser" (int64 .Values.runAs.user) "runAsGroup" (int64 .Values.runAs.group) "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- if ne (int64 .Values.runAs.user) 0 -}}
{{- $_ := set $own "runAsNonRoot" true -}}
{{- end -}}
{{- toYaml (mergeOverwrite $own (deepCopy (.Values.podSecurityContext | default dict))) -}}
{{- end -}}

{{/* securityContext is that of the container, alike. */}}
{{- define "claimdir.securityContext" -}}
{{- $own := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- toYaml (mergeOverwrite $own (deepCopy (.Values.securityContext | default dict))) -}}
{{- end -}}

{{/* strategy is that of the Deployment. Two claimdirs may overlap: only the holder of the lease works. In takeover mode the old
     provisioner has another lock, so its pod must be gone before the first one of claimdir starts. */}}
{{- define "claimdir.strategy" -}}
{{- if or (include "claimdir.takeover" .) (eq (.Values.strategyType | default "RollingUpdate") "Recreate") -}}
type: Recreate
rollingUpdate: null # what the API server once filled in does not go by itself
{{- else -}}
type: RollingUpdate
rollingUpdate:
  maxSurge: 1
  maxUnavailable: 0
{{- end -}}
{{- end -}}

{{/* spread is where the pods go: replicas on several nodes, if that is possible. */}}
{{- define "claimdir.spread" -}}
{{- if .Values.topologySpreadConstraints -}}
{{- toYaml .Values.topologySpreadConstraints -}}
{{- else if gt (int .Values.replicaCount) 1 -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "claimdir.selectorLabels" . | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* podSpec is what the pods of all Jobs and Deployments of the chart have in common. */}}
{{- define "claimdir.podSpec" -}}
serviceAccountName: {{ include "claimdir.serviceAccountName" . }}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
nodeSelector:
  {{- toYaml (merge (deepCopy (.Values.nodeSelector | default dict)) (dict "kubernetes.io/os" "linux")) | nindent 2 }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "claimdir.podSecurityContext" . | nindent 2 }}
{{- end -}}

{{/* container is what their containers have in common. */}}
{{- define "claimdir.container" -}}
image: {{ include "claimdir.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy | default "IfNotPresent" }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "claimdir.securityContext" . | nindent 2 }}
{{- end -}}
