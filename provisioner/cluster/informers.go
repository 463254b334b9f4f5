package cluster

import (
	"crypto/sha256"
	"fmt"
	"path"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/share"
)

// Resync is how often the handlers get every claim and volume again although nothing has changed.
const Resync = 15 * time.Minute

// Informers cache the claims, PersistentVolumes and classes of the cluster once their Factory is
// started. The controller and the Provisioners read them.
type Informers struct {
	names   pvs.Names
	factory informers.SharedInformerFactory
	volumes cache.SharedIndexInformer
}

// NewInformers returns the informers of a controller that serves the given provisioner names. The
// first name is its own; the others are names of programs that it has taken over from.
func NewInformers(client kubernetes.Interface, names ...string) (*Informers, error) {
	i := &Informers{
		names:   names,
		factory: informers.NewSharedInformerFactoryWithOptions(client, Resync, informers.WithTransform(trimmer(names))),
	}
	i.volumes = i.factory.Core().V1().PersistentVolumes().Informer()
	if err := i.volumes.AddIndexers(cache.Indexers{exportIndex: indexExport}); err != nil {
		return nil, fmt.Errorf("index volumes: %w", err)
	}
	return i, nil
}

// Names returns the provisioner names that are served, the controller's own first.
func (i *Informers) Names() pvs.Names { return i.names }

// Factory returns the factory that starts all informers.
func (i *Informers) Factory() informers.SharedInformerFactory { return i.factory }

// Synced reports whether the cache holds all PersistentVolumes.
func (i *Informers) Synced() bool { return i.volumes.HasSynced() }

// Volumes returns the PersistentVolumes of the controller's provisioner names.
func (i *Informers) Volumes() []*v1.PersistentVolume {
	var ours []*v1.PersistentVolume
	for _, object := range i.volumes.GetStore().List() {
		if pv, ok := object.(*v1.PersistentVolume); ok && i.names.Serve(pv) {
			ours = append(ours, pv)
		}
	}
	return ours
}

// Bound reports whether the PersistentVolume of that name is bound to a claim that exists: to one of
// the name and UID in its claimRef.
func (i *Informers) Bound(name string) bool {
	object, found, err := i.volumes.GetStore().GetByKey(name)
	pv, isPV := object.(*v1.PersistentVolume)
	if err != nil || !found || !isPV || pv.Status.Phase != v1.VolumeBound || pv.Spec.ClaimRef == nil {
		return false
	}
	ref := pv.Spec.ClaimRef
	claim, err := i.factory.Core().V1().PersistentVolumeClaims().Lister().PersistentVolumeClaims(ref.Namespace).Get(ref.Name)
	return err == nil && claim.UID == ref.UID
}

// OnNewOwner calls handle with each PersistentVolume of ours that is bound and was another claim's,
// or nobody's, before. handle must return at once.
func (i *Informers) OnNewOwner(handle func(pv *v1.PersistentVolume)) error {
	_, err := i.volumes.AddEventHandler(cache.ResourceEventHandlerFuncs{UpdateFunc: func(before, now any) {
		was, wasPV := before.(*v1.PersistentVolume)
		pv, isPV := now.(*v1.PersistentVolume)
		if wasPV && isPV && i.names.Serve(pv) && pv.Status.Phase == v1.VolumeBound && wasOthers(was, pv) {
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
	near := slices.Concat(i.indexed(keyAt(server, export)), i.indexed(keyBelow(server, export)))
	for above := range ancestors(export) {
		near = append(near, i.indexed(keyAt(server, above))...)
	}
	return slices.DeleteFunc(near, func(pv *v1.PersistentVolume) bool { return !i.names.Overlap(pv, server, export) })
}

// Above returns the PersistentVolumes that are not ours and whose directories lie above an exported
// path of the server; see pvs.Names.Above.
func (i *Informers) Above(server, export string) (found []*v1.PersistentVolume) {
	for above := range ancestors(export) {
		found = append(found, i.indexed(keyAt(server, above))...)
	}
	return slices.DeleteFunc(found, func(pv *v1.PersistentVolume) bool { return !i.names.Above(pv, server, export) })
}

func (i *Informers) indexed(key string) []*v1.PersistentVolume {
	objects, err := i.volumes.GetIndexer().ByIndex(exportIndex, key)
	if err != nil {
		return nil // cannot happen: NewInformers has added the index
	}
	var volumes []*v1.PersistentVolume
	for _, object := range objects {
		if pv, ok := object.(*v1.PersistentVolume); ok {
			volumes = append(volumes, pv)
		}
	}
	return volumes
}

// exportIndex indexes volumes by their exported path and by each directory above it, so that a
// search costs the same with ten volumes and 100,000.
const exportIndex = "export"

func indexExport(object any) ([]string, error) {
	pv, ok := object.(*v1.PersistentVolume)
	if !ok || pv.Spec.NFS == nil {
		return nil, nil
	}
	server, export := pv.Spec.NFS.Server, path.Clean(pv.Spec.NFS.Path)
	keys := []string{keyAt(server, export)}
	for above := range ancestors(export) {
		keys = append(keys, keyBelow(server, above))
	}
	return keys, nil
}

func keyAt(server, export string) string    { return exportKey("at", server, export) }
func keyBelow(server, export string) string { return exportKey("below", server, export) }

// exportKey is a hash, so that the keys of a long path do not take memory with the square of its
// length. Those who look up a key compare the paths.
func exportKey(relation, server, export string) string {
	sum := sha256.Sum256([]byte(relation + " " + share.CanonicalServer(server) + ":" + path.Clean(export)))
	return string(sum[:16])
}

// ancestors yields the directories above an absolute path, nearest first.
func ancestors(export string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for export = path.Clean(export); export != "/" && export != "."; {
			export = path.Dir(export)
			if !yield(export) {
				return
			}
		}
	}
}
