#!/bin/sh
# This script gives PersistentVolumes the new address of their share:
#     nas:/export -> nas2:/srv/nfs (2 volumes)
#
# Run it with sh, and with the rights of an administrator of the cluster. The address of a PersistentVolume
# cannot be changed, so the script deletes each one and creates it again: with the same name, claim and policies,
# and with the new address. Its claim is Lost for a moment, and then Bound again. No directory is touched,
# whether claimdir runs or not.
#
# The script stops at the first error. Keep the file and run it again then: it contains all that it deletes, and
# skips what it has done. Do not delete claims that are Lost. Pods use the old address until they are started anew.
set -eu
kubectl=${KUBECTL:-kubectl}
patience=${PATIENCE:-60s} # for a claim to become Bound again

# readdress NAME UID ADDRESS POLICY replaces the PersistentVolume that has the UID by the one on standard input.
# POLICY is the reclaim policy of one whose claim is Bound, which it gets when that is Bound again.
readdress() {
  manifest=$(cat)
  now=$($kubectl get pv "$1" --ignore-not-found -o 'jsonpath={.metadata.uid}')
  if [ -n "$now" ] && [ "$now" != "$2" ]; then
    now=$($kubectl get pv "$1" -o 'jsonpath={.spec.nfs.server}:{.spec.nfs.path}')
    if [ "$now" != "$3" ]; then
      echo "PersistentVolume $1 is another one than when this script was made, with the address $now: run claimdir recover --readdress again" >&2
      exit 1
    fi
    echo "PersistentVolume $1 has its new address already"
  else
    if [ -n "$now" ]; then
      remove "$1" "$2"
    fi
    printf '%s\n' "$manifest" | $kubectl create -f -
  fi
  if [ -n "$4" ]; then
    settle "$1" "$4"
  fi
}

# remove NAME UID deletes a PersistentVolume. Kubernetes keeps one whose claim is Bound until it has no finalizers.
remove() {
  $kubectl delete pv "$1" --wait=false
  now=$($kubectl get pv "$1" --ignore-not-found -o 'jsonpath={.metadata.uid}')
  if [ "$now" = "$2" ]; then
    $kubectl patch pv "$1" --type merge -p '{"metadata":{"uid":"'"$2"'","finalizers":null}}'
  fi
}

# settle NAME POLICY waits until the claim is Bound again, and then sets the reclaim policy, which is Retain till then.
settle() {
  if $kubectl wait pv "$1" --for 'jsonpath={.status.phase}=Bound' --timeout "$patience"; then
    $kubectl patch pv "$1" --type merge -p '{"spec":{"persistentVolumeReclaimPolicy":"'"$2"'"}}'
    return
  fi
  phase=$($kubectl get pv "$1" -o 'jsonpath={.status.phase}')
  if [ "$phase" != Released ]; then
    echo "PersistentVolume $1 is $phase and not Bound: find out why, and run this script again" >&2
    exit 1
  fi
  echo "PersistentVolume $1: its claim was deleted. The reclaim policy stays Retain and the data stays; set the policy $2 if the data is not needed" >&2
}

main() {
:
readdress 'pvc-1' 'uid-of-pvc-1' 'nas2:/srv/nfs/a/data' 'Delete' <<'END'
---
apiVersion: v1
kind: PersistentVolume
metadata:
  annotations:
    claimdir/on-delete: retain
    claimdir/path: a/data
    pv.kubernetes.io/provisioned-by: example.com/nfs
  finalizers:
  - kubernetes.io/pv-protection
  - external-provisioner.volume.kubernetes.io/finalizer
  labels:
    team: a
  name: pvc-1
spec:
  accessModes:
  - ReadWriteMany
  capacity:
    storage: 1Gi
  claimRef:
    apiVersion: v1
    kind: PersistentVolumeClaim
    name: pvc-1
    namespace: a
    uid: uid-of-claim
  mountOptions:
  - hard
  nfs:
    path: /srv/nfs/a/data
    server: nas2
  persistentVolumeReclaimPolicy: Retain
  storageClassName: nfs
END
readdress 'pvc-2' 'uid-of-pvc-2' 'nas2:/srv/nfs/it'\''s "odd"' '' <<'END'
---
apiVersion: v1
kind: PersistentVolume
metadata:
  annotations:
    claimdir/on-delete: retain
    claimdir/path: it's "odd"
    pv.kubernetes.io/provisioned-by: example.com/nfs
  finalizers:
  - kubernetes.io/pv-protection
  - external-provisioner.volume.kubernetes.io/finalizer
  labels:
    team: a
  name: pvc-2
spec:
  accessModes:
  - ReadWriteMany
  capacity:
    storage: 1Gi
  claimRef:
    apiVersion: v1
    kind: PersistentVolumeClaim
    name: pvc-2
    namespace: a
    uid: uid-of-claim
  mountOptions:
  - hard
  nfs:
    path: /srv/nfs/it's "odd"
    server: nas2
  persistentVolumeReclaimPolicy: Delete
  storageClassName: nfs
END
echo "All PersistentVolumes have their new address."
}

main
