{{/*
check ends the rendering with all that is wrong with the values together and that the schema cannot see. Every template includes it
first, because helm may render any of them first.
*/}}
{{- define "claimdir.check" -}}
{{- if not (hasKey .Values "settings") -}}
{{- fail "\nThe values are those of another chart: --reuse-values keeps its defaults, too. Use --reset-then-reuse-values, which keeps what you have set yourself, with the defaults of this chart." -}}
{{- end -}}
{{- $problems := list -}}
{{- range list "image" "share" "classes" "pods" "env" -}}
{{- $problems = concat $problems (include (printf "claimdir.check.%s" .) $ | fromJsonArray) -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n- %s" (join "\n- " $problems)) -}}
{{- end -}}
{{- end -}}

{{- define "claimdir.check.image" -}}
{{- $problems := list -}}
{{- $repository := .Values.image.repository | default "" -}}
{{- $tag := .Values.image.tag | default "" -}}
{{- if not $repository -}}
{{- $problems = append $problems "image.repository is empty: push the image of claimdir to a registry that your nodes reach, and set image.repository to its name there, such as registry.example.com/claimdir." -}}
{{- else if regexMatch "nfs-(subdir-external|client)-provisioner" $repository -}}
{{- $problems = append $problems (printf "image.repository is %q, which is the image of another provisioner: set it to that of claimdir, such as registry.example.com/claimdir." $repository) -}}
{{- else if regexMatch "@|:[^/]*$" $repository -}}
{{- $problems = append $problems (printf "image.repository is %q: set the tag in image.tag, or the digest in image.digest." $repository) -}}
{{- end -}}
{{- if and (include "claimdir.takeover" .) (has $tag (list "v4.0.0" "v4.0.1" "v4.0.2")) (ne $tag .Chart.AppVersion) -}}
{{- $problems = append $problems (printf "image.tag is %q, which is a version of nfs-subdir-external-provisioner: set it to that of claimdir, such as %s." $tag .Chart.AppVersion) -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "claimdir.check.share" -}}
{{- $problems := list -}}
{{- $server := .Values.nfs.server | default "" -}}
{{- $shares := .Values.shares | default list -}}
{{- if and $shares (include "claimdir.takeover" .) -}}
{{- $problems = append $problems "shares and takeover.enabled are both set, but a release of nfs-subdir-external-provisioner has one share: set nfs.server and nfs.path to it, and install another release for the other shares." -}}
{{- else if and $shares $server -}}
{{- $problems = append $problems (printf "nfs.server is %q, and shares are set: for one share set nfs alone, for several set shares alone." $server) -}}
{{- else if and (not $shares) (not $server) -}}
{{- $more := ternary " If the release was upgraded before without --reset-then-reuse-values, its values are lost: helm get values --revision 1 shows them." "" (eq (include "claimdir.takeover" .) "true") -}}
{{- $problems = append $problems (printf "nfs.server is empty: set it to the name or the address of the NFS server, and nfs.path to the path that it exports; or set shares.%s" $more) -}}
{{- else if not (or $shares (include "claimdir.path" .)) -}}
{{- $problems = append $problems "nfs.path is empty: set it to the path that the NFS server exports, such as /exports/claimdir." -}}
{{- end -}}
{{- $policy := .Values.nfs.reclaimPolicy | default "Retain" -}}
{{- if eq $policy "Recycle" -}}{{- /* The schema lets all texts pass, because it cannot say why this one is refused. */ -}}
{{- $problems = append $problems "nfs.reclaimPolicy is \"Recycle\": Kubernetes would delete everything on the share when the claim of the share goes. Set it to Retain: --set nfs.reclaimPolicy=Retain." -}}
{{- else if not (has $policy (list "Retain" "Delete")) -}}
{{- $problems = append $problems (printf "nfs.reclaimPolicy is %q: allowed are Retain and Delete." $policy) -}}
{{- end -}}
{{- $names := list -}}
{{- $exports := dict -}}
{{- range $share := $shares -}}
{{- if has $share.name $names -}}
{{- $problems = append $problems (printf "shares has two of the name %q: give each a name of its own." $share.name) -}}
{{- end -}}
{{- $names = append $names $share.name -}}
{{- $export := printf "%s:%s" $share.server $share.path -}}
{{- with get $exports $export -}}
{{- $problems = append $problems (printf "shares %q and %q are the same export %s: leave one out." . $share.name $export) -}}
{{- end -}}
{{- $_ := set $exports $export $share.name -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "claimdir.check.classes" -}}
{{- $problems := list -}}
{{- with (.Values.storageClass | default dict).parameters -}}
{{- if include "claimdir.takeover" $ -}}
{{- $problems = append $problems (printf "storageClass.parameters has %s, but in takeover mode the class is the one of nfs-subdir-external-provisioner, whose parameters nobody can change: leave them out, and make another class in storageClasses." (keys . | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- $shares := list -}}
{{- range .Values.shares }}{{ $shares = append $shares .name }}{{ end -}}
{{- $names := list -}}
{{- range $i, $class := include "claimdir.classes" . | fromJsonArray -}}
{{- if has $class.name $names -}}
{{- $problems = append $problems (printf "two StorageClasses have the name %q: change storageClass.name or the one in storageClasses." $class.name) -}}
{{- end -}}
{{- $names = append $names $class.name -}}
{{- $share := ($class.parameters | default dict).share | default "" -}}
{{- if $share -}}
{{- if not $shares -}}
{{- $problems = append $problems (printf "StorageClass %q has the parameter share: %q, but there is one share and it has no name: leave the parameter out, or set shares." $class.name $share) -}}
{{- end -}}
{{- range splitList "," $share -}}
{{- if and $shares (not (has (trim .) $shares)) -}}
{{- $problems = append $problems (printf "StorageClass %q has the parameter share: %q, but no share has the name %q: allowed are %s, several separated by commas." $class.name $share (trim .) (join ", " $shares)) -}}
{{- end -}}
{{- end -}}
{{- else if gt (len $shares) 1 -}}
{{- $problems = append $problems (printf "StorageClass %q does not say on which share its volumes lie: set its parameter share to one or several of %s, separated by commas; with storageClass.create=false the chart makes only those in storageClasses." $class.name (join ", " $shares)) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "claimdir.check.pods" -}}
{{- $problems := list -}}
{{- if and (gt (int .Values.replicaCount) 1) (not .Values.leaderElection.enabled) -}}
{{- $problems = append $problems (printf "replicaCount is %d, and leaderElection.enabled is false: several replicas would work on the share at once. Set replicaCount=1 or leaderElection.enabled=true." (int .Values.replicaCount)) -}}
{{- end -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) -}}
{{- $problems = append $problems "serviceAccount.create is false, and serviceAccount.name is empty: set it to the ServiceAccount that exists. It gets the right to change all PersistentVolumes, so do not take \"default\"." -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "claimdir.check.env" -}}
{{- $problems := list -}}
{{- $own := list -}}
{{- range include "claimdir.env" . | fromYamlArray }}{{ $own = append $own .name }}{{ end -}}
{{- range .Values.extraEnv -}}
{{- if has .name $own -}}
{{- $problems = append $problems (printf "extraEnv has %q, which the chart sets already: set it by the value that README.md names, or leave that value out." .name) -}}
{{- end -}}
{{- $own = append $own .name -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
