package main

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/hack/chaos/check"
)

// handOn gives the volume of c to a claim of the other namespace, as an administrator does, and
// returns that one. The user goes on there.
func (u *user) handOn(ctx context.Context, c *check.Claim, pv *v1.PersistentVolume, s Story) (*check.Claim, error) {
	if err := u.patch(ctx, pv.Name, `{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`); err != nil {
		return nil, err
	}
	u.journal.note(func() { c.HandedOn = true })
	if err := u.deleteClaim(ctx, c); err != nil {
		return nil, err
	}
	err := try(ctx, "volume "+pv.Name+" is Released", func(ctx context.Context) error {
		now, err := u.bed.Admin.CoreV1().PersistentVolumes().Get(ctx, pv.Name, metav1.GetOptions{})
		if err == nil && now.Status.Phase != v1.VolumeReleased {
			err = fmt.Errorf("it is %s", now.Status.Phase)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	u.at = 1 - u.at
	heir := &check.Claim{Namespace: u.namespaces[u.at], Name: u.slot.Name, Class: c.Class, Received: pv.Name, From: pv.Name}
	claim := u.claim(heir)
	claim.Spec.VolumeName = pv.Name
	// Without a name of the claim Kubernetes would give the volume to anybody who waits for one.
	ref := fmt.Sprintf(`{"spec":{"claimRef":{"namespace":%q,"name":%q,"uid":null,"resourceVersion":null}}}`, heir.Namespace, heir.Name)
	if err := u.patch(ctx, pv.Name, ref); err != nil {
		return nil, err
	}
	if err := u.make(ctx, heir, claim); err != nil {
		return nil, err
	}
	if _, err := u.use(ctx, heir, s); err != nil {
		return nil, err
	}
	u.counts.add("hand-overs")
	return heir, u.patch(ctx, pv.Name, `{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`)
}

func (u *user) patch(ctx context.Context, pv, patch string) error {
	return try(ctx, "change volume "+pv, func(ctx context.Context) error {
		_, err := u.bed.Admin.CoreV1().PersistentVolumes().Patch(ctx, pv, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	})
}
