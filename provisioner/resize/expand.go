package resize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"claimdir/provisioner/cluster"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volume"
)

// Reasons of events on claims. The first two are those of Kubernetes' external-resizer (pkg/util/events.go
// there).
const (
	eventExpanded = "VolumeResizeSuccessful"
	eventFailed   = "VolumeResizeFailed"
	eventWaits    = "VolumeResizeWaits"
)

// writeTimeout bounds one write to the API server.
const writeTimeout = 10 * time.Second

// errChanged says that an object is another one, or has changed, since it was read.
var errChanged = errors.New("it has changed meanwhile")

// expansion is what one pass knows of a claim.
type expansion struct {
	todo
	lane   *lane
	claim  *v1.PersistentVolumeClaim
	pv     *v1.PersistentVolume
	volume volume.Volume
}

// expand does what is left of the expansion of a claim's volume. After an error it is retried.
func (r *Resizer) expand(ctx context.Context, lane *lane, name cache.ObjectName) error {
	claim, expanding := r.config.Objects.Expanding(name)
	if !expanding {
		lane.forget(name)
		return nil
	}
	if lane.isStale(name, claim.ResourceVersion) {
		return nil
	}
	pv, err := r.volumeOf(ctx, claim)
	if err != nil {
		return r.failed(ctx, claim, err)
	}
	if pv == nil {
		return nil
	}
	e := &expansion{todo: next(claim, pv), lane: lane, claim: claim, pv: pv}
	if e.begin && r.config.OnlyUnused && !unused(claim) {
		r.config.Tell(claim, v1.EventTypeNormal, eventWaits, "the volume is expanded when no pod uses the claim, because claimdir runs with EXPAND_MOUNTED=false")
		return nil // the claim changes when its last pod ends
	}
	if e.volume, err = volume.FromPV(lane.keeper.Source(), pv); err != nil {
		r.config.Tell(claim, v1.EventTypeWarning, eventFailed, err.Error())
		return nil // the PersistentVolume must change
	}
	if e.begin && e.grows() {
		if err := r.config.Room(lane.keeper, pv, e.more()); err != nil {
			return r.noRoom(ctx, e, err)
		}
	}
	if err := r.carryOut(ctx, e); err != nil {
		return r.failed(ctx, e.claim, err)
	}
	r.expanded(ctx, e)
	return nil
}

// volumeOf returns the PersistentVolume that is bound to the claim, or nil if none of ours is.
func (r *Resizer) volumeOf(ctx context.Context, claim *v1.PersistentVolumeClaim) (*v1.PersistentVolume, error) {
	pv, ours := r.config.Objects.Volume(claim.Spec.VolumeName)
	if !ours || !belongs(pv, claim) {
		return nil, nil
	}
	if !lowers(claim) {
		return pv, nil
	}
	// The PersistentVolume may have grown already, and the cache may not show it yet.
	now, err := r.config.Live(ctx, pv.Name)
	if err != nil || now == nil || !belongs(now, claim) {
		return nil, err
	}
	return now, nil
}

// errNoRoom says that the class does not let the volume become larger now.
var errNoRoom = errors.New("no room")

// noRoom says in an event and in the claim's status that there is no room, and returns an errNoRoom. What is
// allocated stays as it is, so that the claim can shrink back.
func (r *Resizer) noRoom(ctx context.Context, e *expansion, err error) error {
	r.config.Tell(e.claim, v1.EventTypeWarning, eventFailed, err.Error())
	if e.claim.Status.AllocatedResourceStatuses[v1.ResourceStorage] != v1.PersistentVolumeClaimControllerResizeInfeasible {
		if err := r.patchStatus(ctx, e, noRoomPatch(e.claim, err.Error(), r.now())); err != nil {
			return r.failed(ctx, e.claim, err)
		}
	}
	return fmt.Errorf("%w: %w", errNoRoom, err)
}

// carryOut makes the writes that are left, in their order.
func (r *Resizer) carryOut(ctx context.Context, e *expansion) error {
	before := []string{e.claim.ResourceVersion}
	if e.begin {
		if err := r.patchStatus(ctx, e, beginPatch(e.claim, e.target, r.now())); err != nil {
			return err
		}
		before = append(before, e.claim.ResourceVersion)
	}
	if err := r.record(ctx, e); err != nil {
		return err
	}
	if e.grows() {
		if err := r.grow(ctx, e); err != nil {
			return err
		}
	}
	if e.finish {
		if err := r.patchStatus(ctx, e, finishPatch(e.claim, e.size())); err != nil {
			return err
		}
		e.lane.completed(cache.MetaObjectToName(e.claim), before)
	}
	return nil
}

// belongs reports whether a PersistentVolume is bound to that very claim, and both are to stay.
func belongs(pv *v1.PersistentVolume, claim *v1.PersistentVolumeClaim) bool {
	ref := pv.Spec.ClaimRef
	return ref != nil && ref.UID == claim.UID && pv.Status.Phase == v1.VolumeBound && pv.DeletionTimestamp == nil && claim.DeletionTimestamp == nil
}

// expanded says that an expansion is complete, unless only its traces were removed.
func (r *Resizer) expanded(ctx context.Context, e *expansion) {
	if e.from.Cmp(e.target) >= 0 {
		return
	}
	r.metrics.expansions.WithLabelValues(e.volume.Class).Inc()
	size := e.size()
	klog.FromContext(ctx).Info("Expanded volume", "PV", e.pv.Name, "PVC", klog.KObj(e.claim), "from", e.from.String(), "to", size.String())
	text := fmt.Sprintf("the volume has %s now; pods that use it need no restart", size.String())
	if !unused(e.claim) {
		text += ", but until they are created anew, kubelet may log \"failed to find expandable plugin\" ten times a second (kubernetes#122037)"
	}
	r.config.Tell(e.claim, v1.EventTypeNormal, eventExpanded, text)
}

// record writes the new size into the volume's record.
func (r *Resizer) record(ctx context.Context, e *expansion) error {
	return r.config.Steps.On(ctx, e.lane.keeper, e.volume.Path, "expand "+e.pv.Name, func(_ context.Context, op steps.Op) error {
		return op.RecordSize(e.volume, e.size())
	})
}

// patchStatus changes the claim's status. A stop of the process does not interrupt it.
func (r *Resizer) patchStatus(ctx context.Context, e *expansion, p patch) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	claims := r.config.Client.CoreV1().PersistentVolumeClaims(e.claim.Namespace)
	now, err := claims.Patch(ctx, e.claim.Name, p.kind, p.data, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("write the status of claim %s/%s: %w", e.claim.Namespace, e.claim.Name, changed(err))
	}
	e.claim = now
	return nil
}

// grow gives the PersistentVolume its new size. A stop of the process does not interrupt it.
func (r *Resizer) grow(ctx context.Context, e *expansion) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	p := growPatch(e.pv, e.target)
	if _, err := r.config.Client.CoreV1().PersistentVolumes().Patch(ctx, e.pv.Name, p.kind, p.data, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("write the capacity of PersistentVolume %s: %w", e.pv.Name, changed(err))
	}
	return nil
}

// changed makes an errChanged of the API server's answers that an object is another one or has changed.
func changed(err error) error {
	if apierrors.IsConflict(err) || cluster.IsAbsent(err) || isAnother(err) {
		return fmt.Errorf("%w: %w", errChanged, err)
	}
	return err
}

// isAnother reports whether the API server refused a patch because it would change the object's UID.
func isAnother(err error) bool {
	status, is := errors.AsType[*apierrors.StatusError](err)
	return is && apierrors.IsInvalid(err) && status.ErrStatus.Details != nil &&
		slices.ContainsFunc(status.ErrStatus.Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}

// failed publishes why an expansion failed, and returns err. It publishes nothing if the next pass reads the
// change itself, or if another operation on the path is under way.
func (r *Resizer) failed(ctx context.Context, claim *v1.PersistentVolumeClaim, err error) error {
	refused, is := errors.AsType[*refusal.Refusal](err)
	switch {
	case errors.Is(err, errChanged), is && refused.Reason() == refusal.ReasonBusy, ctx.Err() != nil:
	case apierrors.IsForbidden(err):
		r.config.Tell(claim, v1.EventTypeWarning, eventFailed, err.Error()+"; apply the ClusterRole of this version's manifests/base")
	case strings.Contains(err.Error(), "retried automatically"): // some refusals say so themselves
		r.config.Tell(claim, v1.EventTypeWarning, eventFailed, err.Error())
	default:
		r.config.Tell(claim, v1.EventTypeWarning, eventFailed, err.Error()+"; this is retried automatically")
	}
	return err
}
