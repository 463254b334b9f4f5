package main

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/testbed"
)

// idealName is the provisioner's and the class's name of the ideal provisioner: as soon as
// kube-controller-manager has put its name on a claim, it creates the PersistentVolume.
const idealName = "bench.claimdir/ideal"

func (w *world) bindIdeal(ctx context.Context, name string, n int) (time.Duration, error) {
	_, err := w.bed.Admin.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "ideal"}, Provisioner: idealName}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	claims, err := w.bed.Admin.CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return 0, err
	}
	watching, err := w.bed.Admin.CoreV1().PersistentVolumeClaims("").Watch(ctx, metav1.ListOptions{ResourceVersion: claims.ResourceVersion})
	if err != nil {
		return 0, err
	}
	go func() {
		for event := range watching.ResultChan() {
			claim, ok := event.Object.(*v1.PersistentVolumeClaim)
			if ok && claim.Spec.VolumeName == "" && claim.Annotations["volume.kubernetes.io/storage-provisioner"] == idealName {
				_, _ = w.bed.Admin.CoreV1().PersistentVolumes().Create(ctx, idealVolume(claim), metav1.CreateOptions{}) // bind tells
			}
		}
	}()
	class := "ideal"
	return w.medianBind(ctx, n, func(i int) *v1.PersistentVolumeClaim {
		claim := newClaim(i, name)
		claim.Name += "-" + time.Now().Format("150405.000000")
		claim.Spec.StorageClassName = &class
		return claim
	})
}

func idealVolume(claim *v1.PersistentVolumeClaim) *v1.PersistentVolume {
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-" + string(claim.UID), Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": idealName}},
		Spec: v1.PersistentVolumeSpec{
			Capacity: claim.Spec.Resources.Requests, AccessModes: claim.Spec.AccessModes, StorageClassName: "ideal",
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
			ClaimRef:                      &v1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
			PersistentVolumeSource:        v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: testbed.Server, Path: "/ideal/" + claim.Name}},
		},
	}
}
