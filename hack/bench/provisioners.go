package main

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"claimdir/hack/testbed"
)

func runClaimdir(ctx context.Context, bed *testbed.Bed, name string) (func() string, error) {
	share, err := bed.NewShare()
	if err != nil {
		return nil, err
	}
	return startClaimdir(ctx, bed, testbed.Config{Share: share, Provisioner: name})
}

// startClaimdir runs the program; stop tells its peak memory.
func startClaimdir(ctx context.Context, bed *testbed.Bed, config testbed.Config) (stop func() (memory string), err error) {
	p, err := bed.Claimdir(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		return nil, err
	}
	return func() string {
		p.Stop()
		return fmt.Sprintf("%d MiB", p.PeakMemory()>>20)
	}, nil
}

// idealWorkers are as many as claimdir has.
const idealWorkers = 16

// runIdeal is the least that any external provisioner does: when the volume
// controller has put its name on a claim, it creates the PersistentVolume; when
// that is released, it deletes it. No directory, no event, no finalizer.
func runIdeal(ctx context.Context, bed *testbed.Bed, name string) (func() string, error) {
	ctx, cancel := context.WithCancel(ctx)
	factory := informers.NewSharedInformerFactory(bed.Admin, 0)
	work := make(chan func(), 100_000)
	for range idealWorkers {
		go func() {
			for {
				select {
				case do := <-work:
					do()
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	watch := func(informer cache.SharedIndexInformer, handle func(object any)) error {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: handle, UpdateFunc: func(_, object any) { handle(object) }})
		return err
	}
	volumes := bed.Admin.CoreV1().PersistentVolumes()
	err := watch(factory.Core().V1().PersistentVolumeClaims().Informer(), func(object any) {
		claim, ok := object.(*v1.PersistentVolumeClaim)
		if ok && claim.Spec.VolumeName == "" && claim.Annotations["volume.kubernetes.io/storage-provisioner"] == name {
			work <- func() { _, _ = volumes.Create(ctx, idealVolume(claim, name), metav1.CreateOptions{}) }
		}
	})
	if err == nil {
		err = watch(factory.Core().V1().PersistentVolumes().Informer(), func(object any) {
			pv, ok := object.(*v1.PersistentVolume)
			if ok && pv.Status.Phase == v1.VolumeReleased && pv.DeletionTimestamp == nil && pv.Annotations["pv.kubernetes.io/provisioned-by"] == name {
				work <- func() { _ = volumes.Delete(ctx, pv.Name, metav1.DeleteOptions{}) }
			}
		})
	}
	if err != nil {
		cancel()
		return nil, err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return func() string {
		cancel()
		factory.Shutdown()
		return ""
	}, nil
}

func idealVolume(claim *v1.PersistentVolumeClaim, provisioner string) *v1.PersistentVolume {
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "pvc-" + string(claim.UID),
			Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisioner},
		},
		Spec: v1.PersistentVolumeSpec{
			StorageClassName:              *claim.Spec.StorageClassName,
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      claim.Spec.Resources.Requests,
			ClaimRef: &v1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: testbed.Server, Path: testbed.Export + "/" + claim.Name}},
		},
	}
}
