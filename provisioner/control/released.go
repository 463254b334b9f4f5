package control

import (
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// releasedVolumes remembers the volumes that the Provisioner has released, as long as their
// PersistentVolumes are in the cache. With its finalizer on, the library repeats Delete if it sees
// the PersistentVolume marked for deletion before it sees the finalizer removed.
type releasedVolumes struct {
	cached cache.Store
	mu     sync.Mutex
	uids   map[string]types.UID // by the PersistentVolume's name
}

func newReleasedVolumes(cached cache.Store) *releasedVolumes {
	return &releasedVolumes{cached: cached, uids: map[string]types.UID{}}
}

// add remembers pv, unless it has left the cache, because then no event would remove it again.
func (r *releasedVolumes) add(pv *v1.PersistentVolume) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, present, err := r.cached.GetByKey(pv.Name); err == nil && present {
		r.uids[pv.Name] = pv.UID
	}
}

func (r *releasedVolumes) has(pv *v1.PersistentVolume) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	uid, known := r.uids[pv.Name]
	return known && uid == pv.UID
}

// uid returns the UID of the volume of that name that was released, if there is one.
func (r *releasedVolumes) uid(name string) (types.UID, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	uid, known := r.uids[name]
	return uid, known
}

// forget removes a volume. It takes the object of an informer's OnDelete.
func (r *releasedVolumes) forget(object any) {
	name, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object)
	if err != nil {
		return // not a PersistentVolume
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.uids, name)
}
