package resize

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/provisioner/cluster"
)

// todo is what is left of an expansion.
type todo struct {
	from   resource.Quantity // what the claim's status says
	had    resource.Quantity // what the PersistentVolume has
	target resource.Quantity
	begin  bool // the claim's status does not say yet that the volume grows to target
	finish bool // the claim's status does not say target, or still speaks of an expansion
}

// grows reports whether the PersistentVolume is smaller than target.
func (t todo) grows() bool { return t.had.Cmp(t.target) < 0 }

// size is what the PersistentVolume has in the end: target, or more if it has more.
func (t todo) size() resource.Quantity {
	if t.grows() {
		return t.target
	}
	return t.had
}

// more is by how many bytes the PersistentVolume becomes larger.
func (t todo) more() int64 {
	more := t.size().DeepCopy()
	more.Sub(t.had)
	return more.Value()
}

// next returns what is left to be done for a claim and its PersistentVolume.
func next(claim *v1.PersistentVolumeClaim, pv *v1.PersistentVolume) todo {
	request, capacity := claim.Spec.Resources.Requests[v1.ResourceStorage], claim.Status.Capacity[v1.ResourceStorage]
	allocated, size := claim.Status.AllocatedResources[v1.ResourceStorage], pv.Spec.Capacity[v1.ResourceStorage]
	begun := claim.Status.AllocatedResourceStatuses[v1.ResourceStorage] == v1.PersistentVolumeClaimControllerResizeInProgress
	t := todo{from: capacity, target: request, had: size}
	switch {
	case begun && size.Cmp(allocated) >= 0 && allocated.Cmp(capacity) > 0:
		t.target = allocated // the PersistentVolume has grown, and only the claim does not say so
	case request.Cmp(capacity) <= 0:
		t.target = capacity // nothing is requested; only the status speaks of an expansion
	default:
		t.begin = !begun || allocated.Cmp(request) != 0
	}
	t.finish = capacity.Cmp(t.target) != 0 || cluster.SpeaksOfExpansion(claim)
	return t
}

type fields = map[string]any

// storage is a list of resources, of which an expansion has one.
func storage(value any) fields { return fields{string(v1.ResourceStorage): value} }

// beginPatch says in the claim's status that the volume grows. It is a strategic merge patch, like
// finishPatch: a merge patch would remove the conditions that others have set.
func beginPatch(claim *v1.PersistentVolumeClaim, target resource.Quantity, now time.Time) patch {
	conditions := []any{cluster.WithoutCondition(v1.PersistentVolumeClaimControllerResizeError)}
	if !has(claim, v1.PersistentVolumeClaimResizing) { // else a repeat would change the time, and each change brings a repeat
		conditions = append(conditions, fields{"type": v1.PersistentVolumeClaimResizing, "status": v1.ConditionTrue, "lastTransitionTime": metav1.NewTime(now)})
	}
	return newPatch(types.StrategicMergePatchType, claim, "status", fields{
		"allocatedResources":        storage(target.String()),
		"allocatedResourceStatuses": storage(v1.PersistentVolumeClaimControllerResizeInProgress),
		"conditions":                conditions,
	})
}

// noRoomPatch says in the claim's status why the volume does not grow.
func noRoomPatch(claim *v1.PersistentVolumeClaim, text string, now time.Time) patch {
	return newPatch(types.StrategicMergePatchType, claim, "status", fields{
		"allocatedResourceStatuses": storage(v1.PersistentVolumeClaimControllerResizeInfeasible),
		"conditions": []any{
			cluster.WithoutCondition(v1.PersistentVolumeClaimResizing),
			fields{
				"type": v1.PersistentVolumeClaimControllerResizeError, "status": v1.ConditionTrue, "lastTransitionTime": metav1.NewTime(now),
				"reason": "NoRoom", "message": text,
			},
		},
	})
}

// growPatch gives the PersistentVolume its new size.
func growPatch(pv *v1.PersistentVolume, target resource.Quantity) patch {
	return newPatch(types.MergePatchType, pv, "spec", fields{"capacity": storage(target.String())})
}

// finishPatch says in the claim's status which size the volume has, and nothing of an expansion any more.
// The resources that were allocated stay: a quota counts them.
func finishPatch(claim *v1.PersistentVolumeClaim, size resource.Quantity) patch {
	conditions := []any{}
	for _, condition := range cluster.ResizeConditions() {
		conditions = append(conditions, cluster.WithoutCondition(condition))
	}
	return newPatch(types.StrategicMergePatchType, claim, "status", fields{
		"capacity": storage(size.String()), "allocatedResourceStatuses": storage(nil), "conditions": conditions,
	})
}

type patch struct {
	kind types.PatchType
	data []byte
}

func newPatch(kind types.PatchType, of metav1.Object, part string, content fields) patch {
	return patch{kind, cluster.Patch(of, part, content)}
}

// unused reports whether Kubernetes (1.37 and later) says that no pod uses the claim.
func unused(claim *v1.PersistentVolumeClaim) bool { return has(claim, v1.PersistentVolumeClaimUnused) }

// has reports whether a condition of the claim is true.
func has(claim *v1.PersistentVolumeClaim, kind v1.PersistentVolumeClaimConditionType) bool {
	return slices.ContainsFunc(claim.Status.Conditions, func(c v1.PersistentVolumeClaimCondition) bool {
		return c.Type == kind && c.Status == v1.ConditionTrue
	})
}

// lowers reports whether an expansion that has begun is to end at less than it began with.
func lowers(claim *v1.PersistentVolumeClaim) bool {
	request, allocated := claim.Spec.Resources.Requests[v1.ResourceStorage], claim.Status.AllocatedResources[v1.ResourceStorage]
	return claim.Status.AllocatedResourceStatuses[v1.ResourceStorage] != "" && request.Cmp(allocated) < 0
}
