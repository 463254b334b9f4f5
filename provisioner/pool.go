package provisioner

import (
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/access"
	"claimdir/provisioner/class"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// Pool is all the shares that one claimdir serves. It says on which of them the volume
// of a claim is to be made, and on which a PersistentVolume lies.
type Pool struct {
	// OverSize returns the claims of a namespace and class that hold more than they requested: see package usage.
	// known is false until what was measured on the share has been read. OverSize is nil if nothing is measured. It
	// must be set before the Pool is used.
	OverSize func(on *access.Keeper, namespace, class string) (claims []string, known bool)
	// Copies makes volumes that are copies. If it is nil, claims that are to be copies are refused. It must be set before
	// the Pool is used.
	Copies *Copies

	steps     *steps.Steps
	objects   Objects
	shares    []*access.Keeper
	classes   class.Cache
	startedOn startedOn
	promises  promises
	room      func(on *access.Keeper) share.Room // tests exchange these
	now       func() time.Time
}

// Objects are what a Pool asks of the cluster.
type Objects interface {
	steps.Objects
	Sizes
}

// New brings the shares together.
func New(s *steps.Steps, objects Objects, shares ...*access.Keeper) *Pool {
	return &Pool{steps: s, objects: objects, shares: shares, room: (*access.Keeper).Room, now: time.Now}
}

// Provisioners returns one for each controller of the library: see Provisioner.
func (p *Pool) Provisioners() []*Provisioner {
	var all []*Provisioner
	for _, on := range p.shares {
		all = append(all, &Provisioner{p, on})
	}
	if len(all) > 1 {
		all = append(all, &Provisioner{p, nil})
	}
	return all
}

// KnownObjects are Objects that say whether all are known by now.
type KnownObjects interface {
	steps.Objects
	Synced() bool
}

// PathsOn returns the paths of the PersistentVolumes of ours on a share, and
// false as long as the cluster's objects are not known.
func PathsOn(objects KnownObjects, source share.Source) (paths []volpath.Path, known bool) {
	if !objects.Synced() {
		return nil, false
	}
	for pv := range objects.Volumes("") {
		if v, err := volume.FromPV(source, pv); err == nil {
			paths = append(paths, v.Path)
		}
	}
	return paths, true
}

// find returns the share that the PersistentVolume names, wherever that is
// mounted now, and what it says of its volume.
func (p *Pool) find(pv *v1.PersistentVolume) (*access.Keeper, volume.Volume, error) {
	if len(p.shares) == 1 {
		v, err := volume.FromPV(p.shares[0].Source(), pv)
		return p.shares[0], v, err
	}
	var exports []string
	for _, on := range p.shares {
		source := on.Source()
		exports = append(exports, source.Server+":"+source.Path)
		if nfs := pv.Spec.NFS; nfs != nil && share.SameServer(nfs.Server, source.Server) {
			if _, inside := share.Below(source.Path, nfs.Path); inside {
				v, err := volume.FromPV(source, pv)
				return on, v, err
			}
		}
	}
	if pv.Spec.NFS == nil {
		_, err := volume.FromPV(share.Source{}, pv)
		return nil, volume.Volume{}, err
	}
	return nil, volume.Volume{}, refusal.Unchanged(refusal.Refuse(refusal.ReasonVolume, "spec.nfs %s:%s is on none of the shares that this claimdir serves (%s)",
		pv.Spec.NFS.Server, pv.Spec.NFS.Path, strings.Join(exports, ", ")))
}

// names lists the names of shares for people.
func names(shares []*access.Keeper) string {
	all := make([]string, len(shares))
	for i, on := range shares {
		all[i] = on.Name()
	}
	return strings.Join(all, ", ")
}
