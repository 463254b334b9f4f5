package cluster

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/cluster/pvs"
)

// growingClaim is the form of a bound claim that is to become larger, or whose status still says so. It
// has only the fields that growing returns.
type growingClaim struct{ claim *v1.PersistentVolumeClaim }

// GetObjectKind implements runtime.Object.
func (*growingClaim) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object. The form is never changed.
func (c *growingClaim) DeepCopyObject() runtime.Object { return c }

// GetObjectMeta implements metav1.ObjectMetaAccessor.
func (c *growingClaim) GetObjectMeta() metav1.Object { return c.claim.GetObjectMeta() }

// IsResizeCondition reports whether conditions of that type belong to an expansion. One that is complete
// leaves none.
func IsResizeCondition(kind v1.PersistentVolumeClaimConditionType) bool {
	return slices.Contains(ResizeConditions(), kind)
}

// ResizeConditions returns the types of conditions that belong to an expansion.
func ResizeConditions() []v1.PersistentVolumeClaimConditionType {
	return []v1.PersistentVolumeClaimConditionType{
		v1.PersistentVolumeClaimResizing, v1.PersistentVolumeClaimFileSystemResizePending,
		v1.PersistentVolumeClaimControllerResizeError, v1.PersistentVolumeClaimNodeResizeError,
	}
}

// grows reports whether a bound claim is to become larger, or its status still says so, and whether its
// volume may be ours. A claim that somebody bound by hand names no provisioner.
func grows(claim *v1.PersistentVolumeClaim, names pvs.Names) bool {
	for _, annotation := range []string{storageProvisioner, betaStorageProvisioner} {
		if provisioner, named := claim.Annotations[annotation]; named && !slices.Contains(names, provisioner) {
			return false
		}
	}
	request, capacity := claim.Spec.Resources.Requests[v1.ResourceStorage], claim.Status.Capacity[v1.ResourceStorage]
	return request.Cmp(capacity) > 0 || claim.Status.AllocatedResourceStatuses[v1.ResourceStorage] != "" ||
		slices.ContainsFunc(claim.Status.Conditions, func(c v1.PersistentVolumeClaimCondition) bool { return IsResizeCondition(c.Type) })
}

// growing returns what is kept of a claim that grows: what an expansion reads. It copies the texts that a
// tenant could make long only as far as they count.
func growing(claim *v1.PersistentVolumeClaim) *growingClaim {
	storage := func(of v1.ResourceList) v1.ResourceList {
		quantity, there := of[v1.ResourceStorage]
		if !there {
			return nil
		}
		return v1.ResourceList{v1.ResourceStorage: quantity}
	}
	kept := &v1.PersistentVolumeClaim{ObjectMeta: identity(claim.ObjectMeta)}
	kept.DeletionTimestamp = claim.DeletionTimestamp
	kept.Spec.VolumeName = claim.Spec.VolumeName
	kept.Spec.Resources.Requests = storage(claim.Spec.Resources.Requests)
	kept.Status.Phase = claim.Status.Phase
	kept.Status.Capacity, kept.Status.AllocatedResources = storage(claim.Status.Capacity), storage(claim.Status.AllocatedResources)
	if state := claim.Status.AllocatedResourceStatuses[v1.ResourceStorage]; state != "" {
		kept.Status.AllocatedResourceStatuses = map[v1.ResourceName]v1.ClaimResourceStatus{v1.ResourceStorage: state}
	}
	for _, c := range claim.Status.Conditions {
		if c.Type == v1.PersistentVolumeClaimUnused || IsResizeCondition(c.Type) {
			kept.Status.Conditions = append(kept.Status.Conditions, v1.PersistentVolumeClaimCondition{Type: c.Type, Status: c.Status})
		}
	}
	return &growingClaim{kept}
}

// Growing returns the claim of that name if it is bound and is to become larger, or its status still says
// so, and its volume may be ours. It has only the fields that an expansion reads, and must not be changed.
func (i *Informers) Growing(name cache.ObjectName) (*v1.PersistentVolumeClaim, bool) {
	object, found, err := i.claims.GetStore().GetByKey(name.String())
	if err != nil || !found {
		return nil, false
	}
	return asGrowing(object)
}

// AllGrowing returns the claims that Growing would return.
func (i *Informers) AllGrowing() (claims []*v1.PersistentVolumeClaim) {
	for _, object := range i.indexedClaims(growingState) {
		if claim, grows := asGrowing(object); grows {
			claims = append(claims, claim)
		}
	}
	return claims
}

// OnGrowing calls handle with each claim that Growing would return, when it is seen, when it changes, at
// each resync, and a last time when it does not grow any more. handle must return at once.
func (i *Informers) OnGrowing(handle func(claim *v1.PersistentVolumeClaim)) error {
	call := func(object any) {
		if claim, grows := asGrowing(object); grows {
			handle(claim)
		}
	}
	_, err := i.claims.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: call,
		UpdateFunc: func(before, now any) {
			if _, grows := asGrowing(now); !grows {
				now = before
			}
			call(now)
		},
		DeleteFunc: call,
	})
	if err != nil {
		return fmt.Errorf("watch claims: %w", err)
	}
	return nil
}

func asGrowing(object any) (*v1.PersistentVolumeClaim, bool) {
	form, is := object.(*growingClaim)
	if !is {
		return nil, false
	}
	return form.claim, true
}
