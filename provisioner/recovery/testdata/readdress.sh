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
# skips what it has done. Pods use the old address until they are started anew.
set -eu
kubectl=${KUBECTL:-kubectl}

# readdress NAME UID ADDRESS PHASE replaces the PersistentVolume that has the UID by the one on standard input.
readdress() {
  manifest=$(cat)
  now=$($kubectl get pv "$1" --ignore-not-found -o 'jsonpath={.metadata.uid}')
  if [ "$now" = "$2" ]; then
    # While its claim is Bound, Kubernetes deletes a PersistentVolume only without finalizers.
    $kubectl delete pv "$1" --wait=false
    now=$($kubectl get pv "$1" --ignore-not-found -o 'jsonpath={.metadata.uid}')
    if [ "$now" = "$2" ]; then
      $kubectl patch pv "$1" --type merge -p '{"metadata":{"uid":"'"$2"'","finalizers":null}}'
    fi
  elif [ -n "$now" ]; then
    now=$($kubectl get pv "$1" -o 'jsonpath={.spec.nfs.server}:{.spec.nfs.path}')
    if [ "$now" != "$3" ]; then
      echo "PersistentVolume $1 is another one than when this script was made, with the address $now: run claimdir recover --readdress again" >&2
      exit 1
    fi
    echo "PersistentVolume $1 has its new address already"
    return
  fi
  printf '%s\n' "$manifest" | $kubectl create -f -
  if [ "$4" = Bound ]; then
    $kubectl wait pv "$1" --for 'jsonpath={.status.phase}=Bound' --timeout 60s
  fi
}

main() {
:
readdress 'pvc-1' 'uid-of-pvc-1' 'nas2:/srv/nfs/a/data' 'Bound' <<'END'
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
  persistentVolumeReclaimPolicy: Delete
  storageClassName: nfs
END
readdress 'pvc-2' 'uid-of-pvc-2' 'nas2:/srv/nfs/it'\''s "odd"' 'Released' <<'END'
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
