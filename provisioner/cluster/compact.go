package cluster

import (
	"errors"
	"fmt"
	"maps"
	"unique"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/provisioner/cluster/pvs"
)

// The caches hold every claim and PersistentVolume of the cluster, and nearly all of them are at rest.
// As Go structures a pair takes 5 KB. So the caches hold bound claims and all PersistentVolumes in the
// forms below, and a reader of a PersistentVolume gets it decoded. The informers need of what they hold
// only the metadata: see cache.MetaNamespaceKeyFunc and meta.Accessor.

// stub is the identity of an object, in one piece of memory.
type stub struct {
	namespace unique.Handle[string]
	text      string // name, UID and resource version, and what the form has besides
	// Where the three end in text. The API server allows no name of 64 KiB, and makes the other two.
	nameEnds, uidEnds, versionEnds uint16
	flags                          flags
}

// flags are what a form says of an object in a bit each.
type flags uint8

const (
	isOurs     flags = 1 << iota // a PersistentVolume of ours
	isNFS                        // it has an nfs source
	isReadOnly                   // which is read-only
	isReleased                   // ours, and to be released
)

func newStub(namespace string, m *metav1.ObjectMeta, more string) stub {
	uid := len(m.Name) + len(m.UID)
	return stub{
		namespace: unique.Make(namespace), text: m.Name + string(m.UID) + m.ResourceVersion + more,
		nameEnds: uint16(len(m.Name)), uidEnds: uint16(uid), versionEnds: uint16(uid + len(m.ResourceVersion)),
	}
}

func (s *stub) name() string       { return s.text[:s.nameEnds] }
func (s *stub) uid() types.UID     { return types.UID(s.text[s.nameEnds:s.uidEnds]) }
func (s *stub) version() string    { return s.text[s.uidEnds:s.versionEnds] }
func (s *stub) more() string       { return s.text[s.versionEnds:] }
func (s *stub) is(flag flags) bool { return s.flags&flag != 0 }

// GetObjectKind makes the forms runtime.Objects, which the pages of a list must be.
func (*stub) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// boundClaim is the form of a claim that has its volume, or has lost it.
type boundClaim struct{ stub }

func newBoundClaim(claim *v1.PersistentVolumeClaim) *boundClaim {
	return &boundClaim{newStub(claim.Namespace, &claim.ObjectMeta, "")}
}

// GetObjectMeta implements metav1.ObjectMetaAccessor.
func (c *boundClaim) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: c.namespace.Value(), Name: c.name(), UID: c.uid(), ResourceVersion: c.version()}
}

// DeepCopyObject implements runtime.Object. The form is never changed.
func (c *boundClaim) DeepCopyObject() runtime.Object { return c }

// heldVolume is the form of a PersistentVolume. Of one that is not ours it has the name and the nfs
// source alone.
type heldVolume struct {
	stub // its namespace is the claim's, and what it has besides is the path of the nfs source

	size   int64                 // bytes, of one of ours
	server unique.Handle[string] // of the nfs source
	common unique.Handle[string] // encoded: what is the same for many volumes of a class
	own    string                // encoded: all else
}

// hold returns the form of a PersistentVolume.
func hold(pv *v1.PersistentVolume, ours bool) (*heldVolume, error) {
	namespace, server, path := "", "", ""
	var is flags
	if nfs := pv.Spec.NFS; nfs != nil {
		is |= isNFS
		server, path = nfs.Server, nfs.Path
		if nfs.ReadOnly {
			is |= isReadOnly
		}
	}
	var common, own []byte
	if ours {
		is |= isOurs
		if pv.Status.Phase == v1.VolumeReleased {
			is |= isReleased
		}
		if ref := pv.Spec.ClaimRef; ref != nil {
			namespace = ref.Namespace
		}
		var err error
		if common, own, err = encode(pv); err != nil {
			return nil, fmt.Errorf("encode PersistentVolume %s: %w", pv.Name, err)
		}
	}
	held := &heldVolume{stub: newStub(namespace, &pv.ObjectMeta, path), server: unique.Make(server), common: unique.Make(string(common)), own: string(own)}
	held.flags = is
	if ours {
		held.size = pv.Spec.Capacity.Storage().Value()
	}
	return held, nil
}

// encode returns two parts of a PersistentVolume that decode puts together, without what a stub and the
// nfs source have.
func encode(pv *v1.PersistentVolume) (common, own []byte, err error) {
	rest, part := *pv, &v1.PersistentVolume{}
	rest.ManagedFields, rest.Name, rest.UID, rest.ResourceVersion, rest.Spec.NFS = nil, "", "", "", nil
	part.CreationTimestamp, rest.CreationTimestamp = pv.CreationTimestamp, metav1.Time{}
	part.Status.LastPhaseTransitionTime, rest.Status.LastPhaseTransitionTime = pv.Status.LastPhaseTransitionTime, nil
	part.Spec.ClaimRef, rest.Spec.ClaimRef = pv.Spec.ClaimRef, nil
	if path, there := pv.Annotations[pvs.AnnotationPath]; there { // it differs from volume to volume
		rest.Annotations = maps.Clone(pv.Annotations)
		delete(rest.Annotations, pvs.AnnotationPath)
		part.Annotations = map[string]string{pvs.AnnotationPath: path}
	}
	if common, err = rest.Marshal(); err == nil {
		own, err = part.Marshal()
	}
	return common, own, err
}

// decode puts the parts of a PersistentVolume together. Each has all fields that are no pointers, so those
// of common, which comes last, count; but the time is in own.
func decode(pv *v1.PersistentVolume, common, own string) {
	err := pv.Unmarshal([]byte(own))
	created := pv.CreationTimestamp
	if err = errors.Join(err, pv.Unmarshal([]byte(common))); err != nil { // cannot happen: encode has made them
		*pv = v1.PersistentVolume{}
	}
	pv.CreationTimestamp = created
}

// GetObjectMeta implements metav1.ObjectMetaAccessor.
func (h *heldVolume) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Name: h.name(), UID: h.uid(), ResourceVersion: h.version()}
}

// DeepCopyObject implements runtime.Object. The form is never changed.
func (h *heldVolume) DeepCopyObject() runtime.Object { return h }

// volume returns the PersistentVolume. The caller may change it.
func (h *heldVolume) volume() *v1.PersistentVolume {
	pv := &v1.PersistentVolume{}
	if h.is(isOurs) {
		decode(pv, h.common.Value(), h.own)
	}
	pv.Name, pv.UID, pv.ResourceVersion = h.name(), h.uid(), h.version()
	if h.is(isNFS) {
		pv.Spec.NFS = &v1.NFSVolumeSource{Server: h.server.Value(), Path: h.more(), ReadOnly: h.is(isReadOnly)}
	}
	return pv
}

// PersistentVolume returns the PersistentVolume of an object of the volumes' informer, or false if
// the object is none. One that is not ours has only its name and nfs source. The caller may change it.
func PersistentVolume(object any) (*v1.PersistentVolume, bool) {
	held, ok := object.(*heldVolume)
	if !ok {
		return nil, false
	}
	return held.volume(), true
}

// Ours reports whether an object of the volumes' informer is a PersistentVolume of ours.
func Ours(object any) bool {
	held, ok := object.(*heldVolume)
	return ok && held.is(isOurs)
}
