package provisioner

import (
	"context"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/class"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// Shares are all that one claimdir serves. They say on which of them the volume
// of a claim is to be made, and on which a PersistentVolume lies.
type Shares struct {
	cluster string
	objects Objects
	sites   []Site
	classes class.Cache
	busy    sync.Map // lockKey of operations under way
	parents sync.Map // ID of a share → chan struct{}: see lockParents
	tried   tried
}

// New brings the shares together. cluster is the UID of the namespace
// kube-system, and objects what is known of its objects.
func New(cluster string, objects Objects, sites ...Site) *Shares {
	return &Shares{cluster: cluster, objects: objects, sites: sites}
}

// Provisioners returns one for each controller of the library: see Provisioner.
func (s *Shares) Provisioners() []*Provisioner {
	var all []*Provisioner
	for _, site := range s.sites {
		all = append(all, &Provisioner{s, site})
	}
	if len(all) > 1 {
		all = append(all, &Provisioner{s, nil})
	}
	return all
}

// PathsOn returns the paths of the PersistentVolumes of ours on a share, and
// false as long as the cluster's objects are not known.
func PathsOn(objects Objects, source share.Source) (paths []volpath.Path, told bool) {
	if !objects.Synced() {
		return nil, false
	}
	for _, pv := range objects.Volumes() {
		if vol, err := volume.FromPV(source, pv); err == nil {
			paths = append(paths, vol.Path)
		}
	}
	return paths, true
}

// ownsClaim reports whether the claim is this Provisioner's. All ask the same
// question, so exactly one says yes.
func (p *Provisioner) ownsClaim(claim *v1.PersistentVolumeClaim) bool {
	if len(p.sites) == 1 {
		return true
	}
	sc, found := p.objects.Class(volume.ClassOfClaim(claim))
	if !found {
		return p.site == nil
	}
	c, err := p.classes.Parse(string(sc.UID), sc.Parameters)
	if err != nil {
		return p.site == nil
	}
	candidates, err := p.candidates(c)
	if err != nil || len(candidates) > 1 {
		return p.site == nil
	}
	return p.site == candidates[0]
}

// Owns reports whether the PersistentVolume is this Provisioner's.
func (p *Provisioner) Owns(pv *v1.PersistentVolume) bool {
	if len(p.sites) == 1 {
		return true
	}
	site, _, err := p.find(pv)
	if err != nil {
		return p.site == nil
	}
	return p.site == site
}

// ShouldDelete implements the library's DeletionGuard.
func (p *Provisioner) ShouldDelete(_ context.Context, pv *v1.PersistentVolume) bool {
	return p.Owns(pv)
}

// find returns the share that the PersistentVolume names, wherever that is
// mounted now, and what it says of its volume.
func (s *Shares) find(pv *v1.PersistentVolume) (Site, volume.Volume, error) {
	if len(s.sites) == 1 {
		vol, err := volume.FromPV(s.sites[0].Source(), pv)
		return s.sites[0], vol, err
	}
	var exports []string
	for _, site := range s.sites {
		source := site.Source()
		exports = append(exports, source.Server+":"+source.Path)
		if nfs := pv.Spec.NFS; nfs != nil && nfs.Server == source.Server {
			if _, inside := share.Below(source.Path, nfs.Path); inside {
				vol, err := volume.FromPV(source, pv)
				return site, vol, err
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
