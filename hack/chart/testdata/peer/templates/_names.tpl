{{- define "peer.app" -}}{{ .Values.nameOverride | default .Chart.Name }}{{- end -}}
{{- define "peer.full" -}}
{{- $app := include "peer.app" . -}}
{{- $joined := ternary .Release.Name (printf "%s-%s" .Release.Name $app) (contains $app .Release.Name) -}}
{{ .Values.fullnameOverride | default $joined }}
{{- end -}}
{{- define "peer.select" -}}
{{ toYaml (dict "app" (include "peer.app" .) "release" .Release.Name) }}
{{- end -}}
{{- define "peer.labels" -}}
{{ toYaml (merge (dict "chart" (printf "%s-%s" .Chart.Name .Chart.Version) "heritage" .Release.Service) (include "peer.select" . | fromYaml) .Values.labels) }}
{{- end -}}
{{- define "peer.account" -}}{{ .Values.serviceAccount.name | default (ternary (include "peer.full" .) "default" .Values.serviceAccount.create) }}{{- end -}}
{{- define "peer.provisioner" -}}{{ .Values.storageClass.provisionerName | default (printf "cluster.local/%s" (include "peer.full" .)) }}{{- end -}}
