{{/*
shares is the list of shares as JSON. Each has
  server, path, mountOptions  of its NFS export
  volume                      its name in the pod
  mountPath                   where the pod sees it
  pv, pvc                     the names of its PersistentVolume and of the claim that has it
  old                         true for those that the chart nfs-subdir-external-provisioner made: nobody can change them
*/}}
{{- define "claimdir.shares" -}}
{{- $options := list "hard" "lookupcache=positive" -}}
{{- $fullname := include "claimdir.fullname" . -}}
{{- $shares := list -}}
{{- range .Values.shares -}}
{{- $volume := printf "%s-%s" $fullname .name -}}
{{- $shares = append $shares (dict "server" .server "path" .path "mountOptions" (.mountOptions | default $options)
  "volume" .name "mountPath" (printf "/persistentvolumes/%s" .name) "pv" $volume "pvc" $volume) -}}
{{- else -}}
{{- $old := and (include "claimdir.takeover" .) .Values.nfs.mountOptions -}}
{{- $volume := printf "%s-share" $fullname -}}
{{- $shares = append $shares (dict "server" (.Values.nfs.server | default "") "path" (include "claimdir.path" .) "mountOptions" (.Values.nfs.mountOptions | default $options)
  "volume" (.Values.nfs.volumeName | default "share") "mountPath" "/persistentvolumes" "old" (not (not $old))
  "pv" (ternary (printf "pv-%s" $fullname) $volume (not (not $old))) "pvc" (ternary (printf "pvc-%s" $fullname) $volume (not (not $old)))) -}}
{{- end -}}
{{- toJson $shares -}}
{{- end -}}

{{/* path is that of the one share. */}}
{{- define "claimdir.path" -}}
{{- .Values.nfs.path | default (ternary "/nfs-storage" "" (eq (include "claimdir.takeover" .) "true")) -}}
{{- end -}}

{{/*
classes is the list of StorageClasses as JSON, the one of storageClass first. In takeover mode its parameters have the bytes that the
chart nfs-subdir-external-provisioner wrote, because nobody can change them.
*/}}
{{- define "claimdir.classes" -}}
{{- $classes := list -}}
{{- with .Values.storageClass -}}
{{- if .create -}}
{{- $takeover := include "claimdir.takeover" $ -}}
{{- $parameters := deepCopy (.parameters | default dict) -}}
{{- with .pathPattern }}{{ $_ := set $parameters "pathPattern" . }}{{ end -}}
{{- $archive := toString .archiveOnDelete -}}
{{- if or (kindIs "invalid" .archiveOnDelete) (eq $archive "") -}}
{{- $archive = ternary "true" "" (eq $takeover "true") -}}
{{- end -}}
{{- with $archive }}{{ $_ := set $parameters "archiveOnDelete" . }}{{ end -}}
{{- with .onDelete | default (ternary "" "archive" (ne $archive "")) }}{{ $_ := set $parameters "onDelete" . }}{{ end -}}
{{- $options := ternary ($.Values.nfs.mountOptions | default .mountOptions) .mountOptions (eq $takeover "true") -}}
{{- $classes = append $classes (dict "name" (include "claimdir.className" $) "defaultClass" .defaultClass "annotations" .annotations
  "reclaimPolicy" .reclaimPolicy "volumeBindingMode" .volumeBindingMode "allowVolumeExpansion" .allowVolumeExpansion
  "mountOptions" $options "parameters" $parameters) -}}
{{- end -}}
{{- end -}}
{{- toJson (concat $classes (.Values.storageClasses | default list)) -}}
{{- end -}}

{{/* class is one of these classes as an object. */}}
{{- define "claimdir.class" -}}
{{- with .class -}}
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: {{ .name }}
  labels:
    {{- include "claimdir.labels" $.top | nindent 4 }}
  {{- $annotations := .annotations | default dict }}
  {{- if .defaultClass }}
  {{- $annotations = merge (dict "storageclass.kubernetes.io/is-default-class" "true") $annotations }}
  {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
provisioner: {{ include "claimdir.provisionerName" $.top | quote }}
reclaimPolicy: {{ .reclaimPolicy | default "Delete" }}
volumeBindingMode: {{ .volumeBindingMode | default "Immediate" }}
allowVolumeExpansion: {{ ternary true .allowVolumeExpansion (kindIs "invalid" .allowVolumeExpansion) }}
{{- with .mountOptions }}
mountOptions:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .parameters }}
parameters:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}
