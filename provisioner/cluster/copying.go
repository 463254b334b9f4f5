package cluster

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/cluster/pvs"
)

// sourceIndex indexes the claims that are not bound by the claim that they are to be a copy of.
const sourceIndex = "source"

func indexSource(object any) ([]string, error) {
	claim, unbound := object.(*v1.PersistentVolumeClaim)
	if !unbound || claim.Spec.VolumeName != "" {
		return nil, nil
	}
	source := pvs.DataSource(claim)
	if !pvs.IsClaim(source) {
		return nil, nil
	}
	return []string{cache.NewObjectName(claim.Namespace, source.Name).String()}, nil
}

// CopiesOf returns the claims of a namespace that are not bound and are to be copies of the claim of that name.
func (i *Informers) CopiesOf(namespace, name string) (claims []*v1.PersistentVolumeClaim) {
	objects, err := i.claims.GetIndexer().ByIndex(sourceIndex, cache.NewObjectName(namespace, name).String())
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
