package cluster

import (
	"fmt"
	"iter"
	"path"
	"slices"
	"time"
	"unique"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/cluster/pvs"
)

// Resync is how often the handlers get every claim and volume again although nothing has changed.
const Resync = 15 * time.Minute

// Informers cache the claims, PersistentVolumes and classes of the cluster once their Factory is
// started. The controller and the Provisioners read them.
type Informers struct {
	names           pvs.Names
	factory         informers.SharedInformerFactory
	claims, volumes cache.SharedIndexInformer
}

// NewInformers returns the informers of a controller that serves the given provisioner names. The
// first name is its own; the others are names of programs that it has taken over from.
func NewInformers(client kubernetes.Interface, names ...string) *Informers {
	trim := trimmer(names)
	i := &Informers{
		names:   names,
		factory: informers.NewSharedInformerFactoryWithOptions(client, Resync, informers.WithTransform(trim)),
	}
	i.claims = i.factory.InformerFor(&v1.PersistentVolumeClaim{}, newClaims(trim))
	i.volumes = i.factory.InformerFor(&v1.PersistentVolume{}, newVolumes(trim))
	i.factory.Storage().V1().StorageClasses().Informer()
	return i
}

// Names returns the provisioner names that are served, the controller's own first.
func (i *Informers) Names() pvs.Names { return i.names }

// Factory returns the factory that starts all informers. Of claims and PersistentVolumes it has no
// useful listers, because the caches hold other forms of these: see ClaimInformer and VolumeInformer.
func (i *Informers) Factory() informers.SharedInformerFactory { return i.factory }

// ClaimInformer returns the informer of claims. Its objects are *v1.PersistentVolumeClaim as long as
// they are not bound; of bound ones nothing but the metadata can be read.
func (i *Informers) ClaimInformer() cache.SharedIndexInformer { return i.claims }

// VolumeInformer returns the informer of PersistentVolumes. PersistentVolume decodes its objects.
func (i *Informers) VolumeInformer() cache.SharedIndexInformer { return i.volumes }

// Synced reports whether the cache holds all PersistentVolumes.
func (i *Informers) Synced() bool { return i.volumes.HasSynced() }

// Volumes yields the PersistentVolumes of the controller's provisioner names whose claims are of the
// namespace; if that is empty, of all. Each is decoded when it is yielded, so that they are never in
// memory together.
func (i *Informers) Volumes(namespace string) iter.Seq[*v1.PersistentVolume] {
	wanted := unique.Make(namespace)
	return i.ours(func(h *heldVolume) bool { return namespace == "" || h.namespace == wanted })
}

// VolumesThat yields the PersistentVolumes of the controller's provisioner names for whose name and
// exported path wanted returns true. Only these are decoded.
func (i *Informers) VolumesThat(wanted func(name, export string) bool) iter.Seq[*v1.PersistentVolume] {
	return i.ours(func(h *heldVolume) bool { return wanted(h.name(), h.more()) })
}

func (i *Informers) ours(wanted func(*heldVolume) bool) iter.Seq[*v1.PersistentVolume] {
	return func(yield func(*v1.PersistentVolume) bool) {
		for _, object := range i.volumes.GetStore().List() {
			if held, ok := object.(*heldVolume); ok && held.is(isOurs) && wanted(held) && !yield(held.volume()) {
				return
			}
		}
	}
}

// EachSize calls do with the name and size, in bytes, of each PersistentVolume of ours below an exported path
// of the server. None is decoded.
func (i *Informers) EachSize(server, export string, do func(name string, bytes int64)) {
	objects, err := i.volumes.GetIndexer().ByIndex(exportIndex, keyBelow(server, path.Clean(export)))
	if err != nil {
		return // cannot happen: NewInformers has added the index
	}
	for _, object := range objects {
		if held, ok := object.(*heldVolume); ok && held.is(isOurs) {
			do(held.name(), held.size)
		}
	}
}

// Sized is what EachSized tells of a PersistentVolume.
type Sized struct {
	Name      string
	Namespace string // of its claim; empty if it has none
	Server    string // of its nfs source
	Export    string // the exported path of that
	Bytes     int64
}

// EachSized calls do with each PersistentVolume of ours. None is decoded: 100,000 take some
// tens of milliseconds.
func (i *Informers) EachSized(do func(Sized)) {
	for _, object := range i.volumes.GetStore().List() {
		if held, ok := object.(*heldVolume); ok && held.is(isOurs) {
			do(Sized{held.name(), held.namespace.Value(), held.server.Value(), held.more(), held.size})
		}
	}
}

// Volume returns the PersistentVolume of that name, or false if there is none of ours.
func (i *Informers) Volume(name string) (*v1.PersistentVolume, bool) {
	object, found, err := i.volumes.GetStore().GetByKey(name)
	if err != nil || !found || !Ours(object) {
		return nil, false
	}
	return PersistentVolume(object)
}

// Bound reports whether the PersistentVolume of that name is bound to a claim that exists: to one of
// the name and UID in its claimRef.
func (i *Informers) Bound(name string) bool {
	pv, found := i.Volume(name)
	if !found || pv.Status.Phase != v1.VolumeBound || pv.Spec.ClaimRef == nil {
		return false
	}
	ref := pv.Spec.ClaimRef
	claim, found, err := i.claims.GetStore().GetByKey(cache.NewObjectName(ref.Namespace, ref.Name).String())
	if err != nil || !found {
		return false
	}
	m, err := meta.Accessor(claim)
	return err == nil && m.GetUID() == ref.UID
}

// Unbound returns the claims without a volume name.
func (i *Informers) Unbound() []*v1.PersistentVolumeClaim { return i.claimsThat(unbound) }

// Waiting returns the claims that name a volume and are not bound to it.
func (i *Informers) Waiting() []*v1.PersistentVolumeClaim { return i.claimsThat(awaiting) }

func (i *Informers) indexedClaims(state string) []any {
	objects, err := i.claims.GetIndexer().ByIndex(stateIndex, state)
	if err != nil {
		return nil // cannot happen: NewInformers has added the index
	}
	return objects
}

func (i *Informers) claimsThat(state string) (claims []*v1.PersistentVolumeClaim) {
	for _, object := range i.indexedClaims(state) {
		if claim, ok := object.(*v1.PersistentVolumeClaim); ok {
			claims = append(claims, claim)
		}
	}
	return claims
}

// Released returns the PersistentVolumes of ours that are to be released.
func (i *Informers) Released() (volumes []*v1.PersistentVolume) {
	objects, err := i.volumes.GetIndexer().ByIndex(stateIndex, released)
	if err != nil {
		return nil // cannot happen: NewInformers has added the index
	}
	for _, object := range objects {
		if pv, ok := PersistentVolume(object); ok {
			volumes = append(volumes, pv)
		}
	}
	return volumes
}

// OnNewOwner calls handle with each PersistentVolume of ours that is bound and was another claim's,
// or nobody's, before. handle must return at once.
func (i *Informers) OnNewOwner(handle func(pv *v1.PersistentVolume)) error {
	_, err := i.volumes.AddEventHandler(cache.ResourceEventHandlerFuncs{UpdateFunc: func(before, now any) {
		if before == now || !Ours(now) { // a resync brings the same object
			return
		}
		was, wasPV := PersistentVolume(before)
		pv, isPV := PersistentVolume(now)
		if wasPV && isPV && pv.Status.Phase == v1.VolumeBound && wasOthers(was, pv) {
			handle(pv)
		}
	}})
	if err != nil {
		return fmt.Errorf("watch volumes: %w", err)
	}
	return nil
}

// wasOthers reports whether a bound PersistentVolume may have belonged to another claim before. One
// that was provisioned for its claim names that from the first and is never Available.
func wasOthers(was, pv *v1.PersistentVolume) bool {
	if was.Status.Phase == v1.VolumeAvailable || was.Status.Phase == v1.VolumeReleased || was.Spec.ClaimRef == nil {
		return true
	}
	return pv.Spec.ClaimRef != nil && was.Spec.ClaimRef.UID != pv.Spec.ClaimRef.UID
}

// Class returns the StorageClass of that name, or false if there is none.
func (i *Informers) Class(name string) (*storagev1.StorageClass, bool) {
	class, err := i.factory.Storage().V1().StorageClasses().Lister().Get(name)
	return class, err == nil
}

// Overlapping returns the PersistentVolumes that share files with an exported path of the server;
// see pvs.Names.Overlap. A PersistentVolume that is not ours has only its name and nfs source.
func (i *Informers) Overlapping(server, export string) []*v1.PersistentVolume {
	near := slices.Concat(i.at(server, export), i.indexed(keyBelow(server, export)))
	for above := range ancestors(export) {
		near = append(near, i.at(server, above)...)
	}
	return slices.DeleteFunc(near, func(pv *v1.PersistentVolume) bool { return !i.names.Overlap(pv, server, export) })
}

// Above returns the PersistentVolumes that are not ours and whose directories lie above an exported
// path of the server; see pvs.Names.Above.
func (i *Informers) Above(server, export string) (found []*v1.PersistentVolume) {
	for above := range ancestors(export) {
		found = append(found, i.at(server, above)...)
	}
	return slices.DeleteFunc(found, func(pv *v1.PersistentVolume) bool { return !i.names.Above(pv, server, export) })
}

// at returns the PersistentVolumes of an exported path.
func (i *Informers) at(server, export string) []*v1.PersistentVolume {
	export = path.Clean(export)
	return i.indexedThat(keyAt(server, export), func(h *heldVolume) bool { return path.Clean(h.more()) == export })
}

func (i *Informers) indexed(key string) []*v1.PersistentVolume {
	return i.indexedThat(key, func(*heldVolume) bool { return true })
}

func (i *Informers) indexedThat(key string, wanted func(*heldVolume) bool) (volumes []*v1.PersistentVolume) {
	objects, err := i.volumes.GetIndexer().ByIndex(exportIndex, key)
	if err != nil {
		return nil // cannot happen: NewInformers has added the index
	}
	for _, object := range objects {
		if held, ok := object.(*heldVolume); ok && wanted(held) {
			volumes = append(volumes, held.volume())
		}
	}
	return volumes
}
