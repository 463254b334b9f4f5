package control

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/util"

	"claimdir/provisioner/cluster"
)

// volumeInformer works around two mistakes of the library. The library writes a PersistentVolume
// that may not be saved yet into the informer's store, over newer data of the API server (fixed in
// v11); the store given to it ignores Add. And it marks the key of a deleted PersistentVolume as
// done although no worker has it (fixed in v12); volumeInformer passes a deletion on as an update,
// which finds nothing and forgets the key.
//
// It shows each of several Provisioners only the volumes that it owns, and decodes what the informer's
// store holds. It keeps the library's handler, so that volumes can be queued again.
type volumeInformer struct {
	cache.SharedInformer
	volumes  *cluster.Informers
	released *releasedVolumes
	owns     func(*v1.PersistentVolume) bool // nil if it owns all of ours
	handler  cache.ResourceEventHandler
}

func newVolumeInformer(informers *cluster.Informers, released *releasedVolumes, p controller.Provisioner) *volumeInformer {
	i := &volumeInformer{SharedInformer: informers.VolumeInformer(), volumes: informers, released: released}
	if o, ok := p.(owner); ok {
		i.owns = o.Owns
	}
	return i
}

func (i *volumeInformer) GetStore() cache.Store { return readOnlyStore{i.SharedInformer.GetStore()} }

func (i *volumeInformer) AddEventHandlerWithResyncPeriod(h cache.ResourceEventHandler, resync time.Duration) (cache.ResourceEventHandlerRegistration, error) {
	i.handler = h
	return i.SharedInformer.AddEventHandlerWithResyncPeriod(ownVolumes{deleteAsUpdate{h, i.released}, i.ours}, resync)
}

// ours reports whether an object of the informer is a PersistentVolume that the Provisioner owns.
func (i *volumeInformer) ours(object any) bool {
	if i.owns == nil || !cluster.Ours(object) {
		return cluster.Ours(object)
	}
	pv, ok := cluster.PersistentVolume(object)
	return ok && i.owns(pv)
}

// requeue queues the released volumes that the Provisioner owns.
func (i *volumeInformer) requeue() {
	for _, pv := range i.volumes.Released() {
		if i.owns == nil || i.owns(pv) {
			i.handler.OnUpdate(pv, pv)
		}
	}
}

// requeueOne queues the volume of that name. It returns false if the volume is gone.
func (i *volumeInformer) requeueOne(name string) bool {
	object, found, err := i.SharedInformer.GetStore().GetByKey(name)
	if err != nil || !found {
		return false
	}
	i.handler.OnUpdate(object, object)
	return true
}

// ownVolumes passes on the events of the volumes that the Provisioner owns. The library's handler reads
// of the objects only the name.
type ownVolumes struct {
	deleteAsUpdate
	owns func(object any) bool
}

func (h ownVolumes) OnAdd(object any, initial bool) {
	if h.owns(object) {
		h.deleteAsUpdate.OnAdd(object, initial)
	}
}

func (h ownVolumes) OnUpdate(before, after any) {
	if h.owns(after) {
		h.deleteAsUpdate.OnUpdate(before, after)
	}
}

type readOnlyStore struct{ cache.Store }

func (readOnlyStore) Add(any) error { return nil }

// GetByKey returns a *v1.PersistentVolume.
func (s readOnlyStore) GetByKey(key string) (object any, found bool, err error) {
	if object, found, err = s.Store.GetByKey(key); err != nil || !found {
		return nil, false, err
	}
	pv, found := cluster.PersistentVolume(object)
	return pv, found, nil
}

type deleteAsUpdate struct {
	cache.ResourceEventHandler
	released *releasedVolumes
}

func (h deleteAsUpdate) OnDelete(object any) {
	h.released.forget(object)
	h.OnUpdate(object, object)
}

// claimInformer shows the library the claims that are not bound, and keeps the handler that the library
// adds, so that claims can be queued again when their class appears: the library does not watch
// classes. With a bound claim the library has nothing to do, and its index of UIDs would take more
// memory for each than the claim itself.
type claimInformer struct {
	cache.SharedIndexInformer
	unbound func() []*v1.PersistentVolumeClaim
	handler cache.ResourceEventHandler
}

func (i *claimInformer) AddEventHandlerWithResyncPeriod(h cache.ResourceEventHandler, resync time.Duration) (cache.ResourceEventHandlerRegistration, error) {
	i.handler = h
	return i.SharedIndexInformer.AddEventHandlerWithResyncPeriod(cache.FilteringResourceEventHandler{FilterFunc: isUnbound, Handler: h}, resync)
}

// isUnbound reports whether an object of the informer is a claim that is not bound: it has another form
// otherwise.
func isUnbound(object any) bool {
	_, unbound := object.(*v1.PersistentVolumeClaim)
	return unbound
}

// GetIndexer returns the indexer for the library.
func (i *claimInformer) GetIndexer() cache.Indexer {
	return quietIndexer{i.SharedIndexInformer.GetIndexer()}
}

// quietIndexer shows the library, in place of a claim that is bound or gone, one that has nothing to be
// done: the library would log an error if it finds none for a key of its queue. It shows that twice,
// because the library publishes the event of a saved volume only if it finds exactly one claim.
type quietIndexer struct{ cache.Indexer }

func (q quietIndexer) ByIndex(index, value string) ([]any, error) {
	objects, err := q.Indexer.ByIndex(index, value)
	if err == nil && len(objects) == 0 && index == uidIndex {
		done := &v1.PersistentVolumeClaim{Spec: v1.PersistentVolumeClaimSpec{VolumeName: "none"}}
		return []any{done, done}, nil
	}
	return objects, err
}

// AddIndexers skips an index that exists. Each controller of the library adds the same one and ends
// the process if that fails.
func (i *claimInformer) AddIndexers(indexers cache.Indexers) error {
	missing := cache.Indexers{}
	for name, index := range indexers {
		if _, exists := i.GetIndexer().GetIndexers()[name]; exists {
			continue
		}
		missing[name] = func(object any) ([]string, error) {
			if !isUnbound(object) {
				return nil, nil
			}
			return index(object)
		}
	}
	return i.SharedIndexInformer.AddIndexers(missing)
}

// classHandler queues the claims of a class when it appears. A class that is deleted and recreated
// while the watch is down arrives as an update.
func (i *claimInformer) classHandler(provisioners []string) cache.ResourceEventHandler {
	appeared := func(object any) {
		if class, ok := object.(*storagev1.StorageClass); ok && slices.Contains(provisioners, class.Provisioner) {
			i.requeue(func(name string) bool { return name == class.Name })
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: appeared,
		UpdateFunc: func(before, after any) {
			old, okOld := before.(*storagev1.StorageClass)
			class, ok := after.(*storagev1.StorageClass)
			if okOld && ok && old.UID != class.UID {
				appeared(class)
			}
		},
	}
}

// requeue queues the unbound claims of some classes.
func (i *claimInformer) requeue(of func(class string) bool) {
	for _, claim := range i.unbound() {
		if of(util.GetPersistentVolumeClaimClass(claim)) {
			i.handler.OnUpdate(claim, claim)
		}
	}
}

// uidIndex is the name of the index that the library adds to the claims.
const uidIndex = "uid"

// requeueOne queues the claim of that UID. It returns false if the claim is gone, or bound.
func (i *claimInformer) requeueOne(uid string) bool {
	objects, err := i.SharedIndexInformer.GetIndexer().ByIndex(uidIndex, uid)
	if err != nil || len(objects) == 0 {
		return false
	}
	i.handler.OnUpdate(objects[0], objects[0])
	return true
}

// anyNode is a node lister that finds every name. The library looks up the selected node of a
// late-binding claim, but a directory on NFS is the same on every node. So claimdir needs no access
// to nodes, and a node that disappears causes no rescheduling.
type anyNode struct{}

var _ corelisters.NodeLister = anyNode{}

func (anyNode) List(labels.Selector) ([]*v1.Node, error) { return nil, nil }

func (anyNode) Get(name string) (*v1.Node, error) {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil
}
