package recovery

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/volume"
)

// objects are the PersistentVolume and the claim of a record, bound to each other.
func (v lost) objects(provisionerName string) (*v1.PersistentVolume, *v1.PersistentVolumeClaim, error) {
	vol, err := volume.FromRecord(v.Record)
	if err != nil {
		return nil, nil, err
	}
	pv, err := vol.RecoveredPV(v.on.Source, provisionerName)
	if err != nil {
		return nil, nil, err
	}
	return pv, vol.RecoveredClaim(), nil
}

func namespaceOf(name string) *v1.Namespace {
	return &v1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// builtin reports whether every cluster has the namespace.
func builtin(namespace string) bool {
	return slices.Contains([]string{v1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, v1.NamespaceNodeLease}, namespace)
}
