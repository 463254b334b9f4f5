package control

import (
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// releasedVolumes remembers the volumes that the Provisioner has released, as long as their
// PersistentVolumes are in the cache. With its finalizer on, the library releases a volume once more,
// with all its requests, if it sees the PersistentVolume marked for deletion before it sees the
// finalizer removed. When many volumes are released at once, that happens to most of them.
type releasedVolumes struct {
	cached  cache.Store
	mu      sync.Mutex
	volumes map[string]releasedVolume // by the PersistentVolume's name
}

// releasedVolume is what the API server has accepted for a released volume. It is never undone.
type releasedVolume struct {
	uid      types.UID
	deleted  bool // the PersistentVolume is marked for deletion, or gone
	finished bool // its finalizer is removed too
}

func newReleasedVolumes(cached cache.Store) *releasedVolumes {
	return &releasedVolumes{cached: cached, volumes: map[string]releasedVolume{}}
}

// add remembers pv, unless it has left the cache, because then no event would remove it again.
func (r *releasedVolumes) add(pv *v1.PersistentVolume) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, present, err := r.cached.GetByKey(pv.Name); err == nil && present {
		r.volumes[pv.Name] = releasedVolume{uid: pv.UID}
	}
}

func (r *releasedVolumes) has(pv *v1.PersistentVolume) bool {
	volume, known := r.get(pv.Name)
	return known && volume.uid == pv.UID
}

// get returns the volume of that name that was released, if there is one.
func (r *releasedVolumes) get(name string) (volume releasedVolume, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	volume, known = r.volumes[name]
	return volume, known
}

// isFinished reports whether nothing is left to do for a PersistentVolume.
func (r *releasedVolumes) isFinished(pv *v1.PersistentVolume) bool {
	volume, known := r.get(pv.Name)
	return known && volume.uid == pv.UID && volume.finished
}

// set replaces what is known of the released volume of that name and UID.
func (r *releasedVolumes) set(name string, volume releasedVolume) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.volumes[name].uid == volume.uid {
		r.volumes[name] = volume
	}
}

// forget removes a volume. It takes the object of an informer's OnDelete.
func (r *releasedVolumes) forget(object any) {
	name, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object)
	if err != nil {
		return // not a PersistentVolume
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.volumes, name)
}
