{{/* takeover is "true" where this release was one of nfs-subdir-external-provisioner, and else empty. */}}
{{- define "claimdir.takeover" -}}
{{- if (.Values.takeover | default dict).enabled -}}true{{- end -}}
{{- end -}}

{{/* name is the part of the full name that does not come from the release. In takeover mode it is the old chart's: the Deployment's
     selector contains it, and nobody can change that. */}}
{{- define "claimdir.name" -}}
{{- .Values.nameOverride | default (ternary "nfs-subdir-external-provisioner" .Chart.Name (eq (include "claimdir.takeover" .) "true")) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* fullname is what all objects are called. */}}
{{- define "claimdir.fullname" -}}
{{- $name := include "claimdir.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "claimdir.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "claimdir.fullname" .) -}}
{{- end -}}

{{/* provisionerName is what StorageClasses choose this claimdir by. */}}
{{- define "claimdir.provisionerName" -}}
{{- .Values.storageClass.provisionerName | default (printf "cluster.local/%s" (include "claimdir.fullname" .)) -}}
{{- end -}}

{{- define "claimdir.className" -}}
{{- .Values.storageClass.name | default (ternary "nfs-client" "claimdir" (eq (include "claimdir.takeover" .) "true")) -}}
{{- end -}}

{{- define "claimdir.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* selectorLabels are those by which the Deployment, and whatever selects its pods, finds them. */}}
{{- define "claimdir.selectorLabels" -}}
{{- if include "claimdir.takeover" . -}}
app: {{ include "claimdir.name" . | quote }}
release: {{ .Release.Name | quote }}
{{- else -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}
{{- end -}}

{{/* labels are those of every object. The chart's own win over "labels". */}}
{{- define "claimdir.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" .Chart.Name
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- toYaml (merge $own (.Values.labels | default dict)) -}}
{{- end -}}

{{/* podLabels are those of the pods. */}}
{{- define "claimdir.podLabels" -}}
{{- $own := dict "app.kubernetes.io/name" .Chart.Name "app.kubernetes.io/instance" .Release.Name -}}
{{- $own = merge $own (include "claimdir.selectorLabels" . | fromYaml) -}}
{{- toYaml (merge $own (.Values.podLabels | default dict) (.Values.labels | default dict)) -}}
{{- end -}}

{{/* subject is that of the bindings, without its dash. */}}
{{- define "claimdir.subject" -}}
kind: ServiceAccount
name: {{ include "claimdir.serviceAccountName" . }}
namespace: {{ .Release.Namespace }}
{{- end -}}
