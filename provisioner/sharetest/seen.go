package sharetest

import (
	"context"
	"iter"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// Seen is what the API server's objects are in a test. It may be changed while no
// operation is under way.
type Seen struct {
	PVs     []*v1.PersistentVolume
	Foreign []*v1.PersistentVolume // not ours; only Above returns them
	Classes map[string]*storagev1.StorageClass
	Unbound []*v1.PersistentVolumeClaim // claims that wait for their volumes
	// Namespaces are the UIDs of namespaces. One that is missing may not be read.
	Namespaces map[string]string
	// Silent is what the API server answers instead when it is asked for a namespace.
	Silent error
}

// NewSeen returns a cluster without objects.
func NewSeen() *Seen {
	return &Seen{Classes: map[string]*storagev1.StorageClass{}, Namespaces: map[string]string{}}
}

// Volumes yields the PersistentVolumes whose claims are of the namespace; if that is empty, all: each
// is ours.
func (s *Seen) Volumes(namespace string) iter.Seq[*v1.PersistentVolume] {
	return func(yield func(*v1.PersistentVolume) bool) {
		for _, pv := range s.PVs {
			of := namespace == "" || pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.Namespace == namespace
			if of && !yield(pv) {
				return
			}
		}
	}
}

// Volume returns the PersistentVolume of that name, or nil if there is none.
func (s *Seen) Volume(_ context.Context, name string) (*v1.PersistentVolume, error) {
	i := slices.IndexFunc(s.PVs, func(pv *v1.PersistentVolume) bool { return pv.Name == name })
	if i < 0 {
		return nil, nil
	}
	return s.PVs[i], nil
}

// EachSize calls do with the name and size of each PersistentVolume below an exported path.
func (s *Seen) EachSize(server, export string, do func(name string, bytes int64)) {
	for _, pv := range s.PVs {
		if pv.Spec.NFS.Server == server && strings.HasPrefix(pv.Spec.NFS.Path, export+"/") {
			do(pv.Name, pv.Spec.Capacity.Storage().Value())
		}
	}
}

// UnboundClaim returns the claim of that name in Unbound.
func (s *Seen) UnboundClaim(namespace, name string) (*v1.PersistentVolumeClaim, bool) {
	for _, claim := range s.Unbound {
		if claim.Namespace == namespace && claim.Name == name {
			return claim, true
		}
	}
	return nil, false
}

// Synced reports that all are known.
func (*Seen) Synced() bool { return true }

// Overlapping returns the PersistentVolumes that share files with an exported path.
func (s *Seen) Overlapping(server, export string) (found []*v1.PersistentVolume) {
	for _, pv := range s.PVs {
		other := pv.Spec.NFS.Path
		if pv.Spec.NFS.Server == server && (other == export || strings.HasPrefix(other+"/", export+"/") || strings.HasPrefix(export+"/", other+"/")) {
			found = append(found, pv)
		}
	}
	return found
}

// Above returns the foreign PersistentVolumes whose directories lie above an exported path.
func (s *Seen) Above(server, export string) (found []*v1.PersistentVolume) {
	for _, pv := range s.Foreign {
		if pv.Spec.NFS.Server == server && strings.HasPrefix(export, pv.Spec.NFS.Path+"/") {
			found = append(found, pv)
		}
	}
	return found
}

// Bound reports whether a PersistentVolume is bound.
func (s *Seen) Bound(name string) bool {
	return slices.ContainsFunc(s.PVs, func(pv *v1.PersistentVolume) bool { return pv.Name == name && pv.Status.Phase == v1.VolumeBound })
}

// Class returns a StorageClass, or false if there is none.
func (s *Seen) Class(name string) (*storagev1.StorageClass, bool) {
	c, found := s.Classes[name]
	return c, found
}
