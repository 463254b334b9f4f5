package cluster

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/cluster/pvs"
)

// sourceIndex indexes the claims that are not bound by the claim, VolumeSnapshot or archive that they are to be a copy of.
const sourceIndex = "source"

// Kinds of sources, as they begin the values of sourceIndex.
const (
	sourceClaim    = "claim "
	sourceSnapshot = "snapshot "
	sourceArchive  = "archive "
)

func indexSource(object any) ([]string, error) {
	claim, unbound := object.(*v1.PersistentVolumeClaim)
	if !unbound || claim.Spec.VolumeName != "" {
		return nil, nil
	}
	var keys []string
	add := func(kind, name string) { keys = append(keys, kind+cache.NewObjectName(claim.Namespace, name).String()) }
	switch source := pvs.DataSource(claim); {
	case pvs.IsClaim(source):
		add(sourceClaim, source.Name)
	case pvs.IsSnapshot(source):
		add(sourceSnapshot, source.Name)
	}
	if archive := pvs.ArchiveToCopy(claim); archive != "" {
		add(sourceArchive, archive)
	}
	return keys, nil
}

// CopiesOf returns the claims of a namespace that are not bound and are to be copies of the claim of that name.
func (i *Informers) CopiesOf(namespace, name string) []*v1.PersistentVolumeClaim {
	return i.madeFrom(sourceClaim, namespace, name)
}

// RestoresOf returns the claims of a namespace that are not bound and are to be restored from the VolumeSnapshot of that name.
func (i *Informers) RestoresOf(namespace, name string) []*v1.PersistentVolumeClaim {
	return i.madeFrom(sourceSnapshot, namespace, name)
}

// CopiesOfArchive returns the claims of a namespace that are not bound and are to be copies of the archive of a PersistentVolume, which
// was that of the claim of that name: one of that name may ask for the newest.
func (i *Informers) CopiesOfArchive(namespace, pv, name string) []*v1.PersistentVolumeClaim {
	claims := i.madeFrom(sourceArchive, namespace, pv)
	if claim, unbound := i.UnboundClaim(namespace, name); unbound && pvs.ArchiveToCopy(claim) == pvs.Latest {
		claims = append(claims, claim)
	}
	return claims
}

func (i *Informers) madeFrom(kind, namespace, name string) (claims []*v1.PersistentVolumeClaim) {
	objects, err := i.claims.GetIndexer().ByIndex(sourceIndex, kind+cache.NewObjectName(namespace, name).String())
	if err != nil {
		return nil // cannot happen: NewInformers has added the index
	}
	for _, object := range objects {
		if claim, unbound := object.(*v1.PersistentVolumeClaim); unbound {
			claims = append(claims, claim)
		}
	}
	return claims
}

// UnboundClaim returns the claim of that name if it names no volume.
func (i *Informers) UnboundClaim(namespace, name string) (*v1.PersistentVolumeClaim, bool) {
	object, found, err := i.claims.GetStore().GetByKey(cache.NewObjectName(namespace, name).String())
	claim, unbound := object.(*v1.PersistentVolumeClaim)
	return claim, err == nil && found && unbound && claim.Spec.VolumeName == ""
}
