package cluster

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// expandingClaim is the form of a bound claim whose volume is being expanded: it requests more than it has,
// or its status still speaks of an expansion.
type expandingClaim struct{ claim *v1.PersistentVolumeClaim }

// GetObjectKind implements runtime.Object.
func (*expandingClaim) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object. The form is never changed.
func (c *expandingClaim) DeepCopyObject() runtime.Object { return c }

// GetObjectMeta implements metav1.ObjectMetaAccessor.
func (c *expandingClaim) GetObjectMeta() metav1.Object { return c.claim.GetObjectMeta() }

// ResizeConditions returns the types of the conditions that Kubernetes and its external-resizer set during
// an expansion.
func ResizeConditions() []v1.PersistentVolumeClaimConditionType {
	return []v1.PersistentVolumeClaimConditionType{
		v1.PersistentVolumeClaimResizing, v1.PersistentVolumeClaimFileSystemResizePending,
		v1.PersistentVolumeClaimControllerResizeError, v1.PersistentVolumeClaimNodeResizeError,
	}
}

func isResizeCondition(c v1.PersistentVolumeClaimCondition) bool {
	return slices.Contains(ResizeConditions(), c.Type)
}

// SpeaksOfExpansion reports whether a claim's status says that its storage is being expanded. A complete
// expansion leaves nothing of that.
func SpeaksOfExpansion(claim *v1.PersistentVolumeClaim) bool {
	return claim.Status.AllocatedResourceStatuses[v1.ResourceStorage] != "" || slices.ContainsFunc(claim.Status.Conditions, isResizeCondition)
}

// isExpanding reports whether a bound claim is kept as an expandingClaim. Whose its volume is, only the
// PersistentVolume says.
func isExpanding(claim *v1.PersistentVolumeClaim) bool {
	request, capacity := claim.Spec.Resources.Requests[v1.ResourceStorage], claim.Status.Capacity[v1.ResourceStorage]
	return request.Cmp(capacity) > 0 || SpeaksOfExpansion(claim)
}

// keepExpanding returns of a claim what an expansion reads, and no text that a tenant can make long.
func keepExpanding(claim *v1.PersistentVolumeClaim) *expandingClaim {
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
		if c.Type == v1.PersistentVolumeClaimUnused || isResizeCondition(c) {
			kept.Status.Conditions = append(kept.Status.Conditions, v1.PersistentVolumeClaimCondition{Type: c.Type, Status: c.Status})
		}
	}
	return &expandingClaim{kept}
}

// Expanding returns the bound claim of that name if its volume, which may be another provisioner's, is being
// expanded. It has only the fields that an expansion reads, and must not be changed.
func (i *Informers) Expanding(name cache.ObjectName) (*v1.PersistentVolumeClaim, bool) {
	object, found, err := i.claims.GetStore().GetByKey(name.String())
	if err != nil || !found {
		return nil, false
	}
	return asExpanding(object)
}

// AllExpanding returns the claims that Expanding would return.
func (i *Informers) AllExpanding() (claims []*v1.PersistentVolumeClaim) {
	for _, object := range i.indexedClaims(expanding) {
		if claim, is := asExpanding(object); is {
			claims = append(claims, claim)
		}
	}
	return claims
}

// OnExpanding calls handle with each claim that Expanding would return, when it is seen, when it or its
// PersistentVolume changes, at each resync, and a last time when its volume is not being expanded any more.
// handle must return at once.
func (i *Informers) OnExpanding(handle func(claim *v1.PersistentVolumeClaim)) error {
	call := func(object any) {
		if claim, is := asExpanding(object); is {
			handle(claim)
		}
	}
	_, err := i.claims.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: call,
		UpdateFunc: func(before, now any) {
			if _, is := asExpanding(now); !is {
				now = before
			}
			call(now)
		},
		DeleteFunc: call,
	})
	if err != nil {
		return fmt.Errorf("watch claims: %w", err)
	}
	ofVolume := func(object any) {
		if pv, is := PersistentVolume(object); is && pv.Spec.ClaimRef != nil {
			if claim, is := i.Expanding(cache.NewObjectName(pv.Spec.ClaimRef.Namespace, pv.Spec.ClaimRef.Name)); is {
				handle(claim)
			}
		}
	}
	_, err = i.volumes.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(object any, initial bool) {
			if !initial {
				ofVolume(object)
			}
		},
		UpdateFunc: func(before, now any) {
			if before != now { // a resync brings the same object
				ofVolume(now)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch volumes: %w", err)
	}
	return nil
}

func asExpanding(object any) (*v1.PersistentVolumeClaim, bool) {
	form, is := object.(*expandingClaim)
	if !is {
		return nil, false
	}
	return form.claim, true
}
