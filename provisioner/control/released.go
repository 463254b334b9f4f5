package control

import (
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// releasedVolumes remembers which volumes the Provisioner has released, for as
// long as their PersistentVolumes are in the cache. With its finalizer on, the
// library asks for the same Delete again when it sees the PersistentVolume
// marked for deletion before it sees the finalizer gone.
type releasedVolumes struct {
	cached cache.Store
	mu     sync.Mutex
	uids   map[string]types.UID // by the PersistentVolume's name
}

func newReleasedVolumes(cached cache.Store) *releasedVolumes {
	return &releasedVolumes{cached: cached, uids: map[string]types.UID{}}
}

// add remembers pv, unless it has left the cache: nothing would forget it.
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

// forget takes what an informer's OnDelete gets.
func (r *releasedVolumes) forget(object any) {
	name, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object)
	if err != nil {
		return // no PersistentVolume, so none that is remembered
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.uids, name)
}
