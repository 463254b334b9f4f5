package provisioner

import (
	"context"
	"slices"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/class"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
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
		if vol, err := readPV(source, pv); err == nil {
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
	sc, found := p.objects.Class(claimClass(claim))
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

// claimClass also reads the annotation that old claims have in place of the
// field.
func claimClass(claim *v1.PersistentVolumeClaim) string {
	if name, ok := claim.Annotations[v1.BetaStorageClassAnnotation]; ok {
		return name
	}
	if name := claim.Spec.StorageClassName; name != nil {
		return *name
	}
	return ""
}

// candidates returns the shares that a class allows.
func (s *Shares) candidates(c class.Class) ([]Site, error) {
	if len(c.Shares) == 0 {
		if len(s.sites) == 1 {
			return s.sites, nil
		}
		return nil, refuse(ReasonClass, "parameter \"share\" is missing in the StorageClass, and there are several shares; allowed are %s, "+
			"or several of them separated by commas", siteNames(s.sites))
	}
	var found []Site
	for _, name := range c.Shares {
		i := slices.IndexFunc(s.sites, func(site Site) bool { return site.Name() == name })
		if i >= 0 {
			found = append(found, s.sites[i])
			continue
		}
		if names := strings.Trim(siteNames(s.sites), ", "); names != "" {
			return nil, refuse(ReasonClass, "parameter \"share\": there is no share %q; allowed are %s", name, names)
		}
		return nil, refuse(ReasonClass, "parameter \"share\": there is no share %q; the only one has no name: make the StorageClass without the parameter", name)
	}
	return found, nil
}

// find returns the share that the PersistentVolume names, wherever that is
// mounted now, and what it says of its volume.
func (s *Shares) find(pv *v1.PersistentVolume) (Site, volume, error) {
	if len(s.sites) == 1 {
		vol, err := readPV(s.sites[0].Source(), pv)
		return s.sites[0], vol, err
	}
	var exports []string
	for _, site := range s.sites {
		source := site.Source()
		exports = append(exports, source.Server+":"+source.Path)
		if nfs := pv.Spec.NFS; nfs != nil && nfs.Server == source.Server {
			if _, inside := below(source.Path, nfs.Path); inside {
				vol, err := readPV(source, pv)
				return site, vol, err
			}
		}
	}
	if pv.Spec.NFS == nil {
		_, err := readPV(share.Source{}, pv)
		return nil, volume{}, err
	}
	return nil, volume{}, refuse(ReasonVolume, "spec.nfs %s:%s is on none of the shares that this claimdir serves (%s); nothing was touched",
		pv.Spec.NFS.Server, pv.Spec.NFS.Path, strings.Join(exports, ", "))
}

// chooseSite returns the share of a claim's volume.
func (s *Shares) chooseSite(ctx context.Context, o controller.ProvisionOptions, c class.Class, path volpath.Path) (Site, error) {
	candidates, err := s.candidates(c)
	if err != nil {
		return nil, err
	}
	if len(candidates) == 1 {
		return candidates[0], nil
	}
	begun, err := s.begunSite(ctx, o, candidates, path)
	if begun != nil || err != nil {
		return begun, err
	}
	if archive, asked := o.PVC.Annotations[AnnotationRestore]; asked {
		return s.archived(ctx, o, candidates, newRecord(s.cluster, o, c), wish{archive, c.OnExisting == class.Adopt})
	}
	return s.roomiest(o, candidates)
}
