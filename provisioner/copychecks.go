package provisioner

import (
	"context"
	"errors"
	"sync"

	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

// errOthers refuses a source that belongs to another namespace: its PersistentVolume was handed to a claim there, or its
// namespace was deleted and another one has the name.
func errOthers(of *ledger.Copy) error {
	return refusal.Refuse(refusal.ReasonSource, "the volume of claim %q, which was to be copied, belongs to another namespace by now: delete this claim, and make it anew from another source", of.Claim.Name)
}

// checkOwner asks the cluster whose the source is now: the ledger learns later that a PersistentVolume was handed over. One
// that is gone belongs to whom the ledger says.
func (c *copying) checkOwner(ctx context.Context) error {
	of := c.record.CopyOf
	if of.Kind != ledger.CopyClaim { // the namespace of an archive or a snapshot was asked when it was found
		return nil
	}
	pv, err := c.Copies.Live.Volume(ctx, of.PV)
	if err != nil {
		return refusal.Postpone(refusal.ReasonCluster, "spec.dataSource: %w", err)
	}
	if steps.CheckSourceOwner(pv, c.claim.Namespace) != nil {
		return errOthers(of)
	}
	return nil
}

// makeRoom gives up what was copied to a share that is full now: it would keep others from writing, and the room for the rest
// may never come. The copy begins anew when its room was checked again.
func (c *copying) makeRoom(ctx context.Context) {
	err := c.steps.On(ctx, access.Periodic{Keeper: c.on}, c.path, "make room for others on the share", func(ctx context.Context, op steps.Op) error {
		return op.RestartCopy(ctx, c.record)
	})
	if err != nil {
		klog.FromContext(ctx).Info("Cannot remove what was copied to a full share", "path", c.path, "because", err.Error())
	}
}

// begunMost bounds what begunCopies remembers.
const begunMost = 10_000

// begunCopies remembers for which path of which share the copy of a volume was begun last. The labels and annotations of a
// claim may change, and with them the path: then only the last copy is wanted.
type begunCopies struct {
	mu     sync.Mutex
	places map[string]copyPlace // by the UID of the claim
}

// copyPlace is where a volume is to lie.
type copyPlace struct {
	on   *access.Keeper
	path volpath.Path
}

func (b *begunCopies) begin(claim string, place copyPlace) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.places == nil || len(b.places) >= begunMost {
		b.places = map[string]copyPlace{}
	}
	b.places[claim] = place
}

func (b *begunCopies) last(claim string) (place copyPlace, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	place, known = b.places[claim]
	return place, known
}

// errElsewhere ends the copy of a volume that gets another path.
var errElsewhere = errors.New("the volume gets another path")

// elsewhere reports whether another copy was begun for the volume since.
func (c *copying) elsewhere() bool {
	last, known := c.Copies.begun.last(string(c.claim.UID))
	return known && last != copyPlace{c.on, c.path}
}
