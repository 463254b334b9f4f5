package snapshots

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	// lookEvery is how often Caches look for the API while it is not there.
	lookEvery = time.Minute
	// resync is how often the handlers get every object again although nothing has changed.
	resync = 10 * time.Minute
)

// Handlers are called with each object that is new or has changed, and at each resync. They must return at once. A handler that is
// nil is not called.
type Handlers struct {
	Snapshot func(*VolumeSnapshot)
	Class    func(*VolumeSnapshotClass)
	Content  func(*VolumeSnapshotContent)
	// Gone is called with a VolumeSnapshotContent that is gone, SnapshotGone with a VolumeSnapshot.
	Gone         func(*VolumeSnapshotContent)
	SnapshotGone func(*VolumeSnapshot)
}

// Caches hold the objects while the API is there.
type Caches struct {
	client  *Client
	drivers []string
	every   time.Duration // lookEvery, except in tests

	looked     chan struct{} // closed when it is known whether the API is there
	lookedOnce sync.Once

	mu  sync.Mutex
	now *filled // nil while the API is not there
}

// filled are the caches of one time in which the API is there.
type filled struct{ snapshots, classes, contents cache.SharedIndexInformer }

// NewCaches returns caches that are empty until Run. Of contents of other drivers than these they keep the name alone.
func NewCaches(client *Client, drivers []string) *Caches {
	return &Caches{client: client, drivers: drivers, every: lookEvery, looked: make(chan struct{})}
}

// Wait waits until it is known whether the API is there, and the caches are filled if it is: at most for a moment after Run, unless the
// API server does not answer.
func (c *Caches) Wait(ctx context.Context) error {
	select {
	case <-c.looked:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Caches) hasLooked() { c.lookedOnce.Do(func() { close(c.looked) }) }

// Run looks for the API until ctx ends, fills the caches and calls the handlers when it is there, and begins anew when it goes.
func (c *Caches) Run(ctx context.Context, handlers Handlers) {
	logger := klog.FromContext(ctx)
	for ctx.Err() == nil {
		err := c.client.Served(ctx)
		if err == nil {
			logger.Info("VolumeSnapshots are served")
			err = c.fill(ctx, handlers)
			if ctx.Err() == nil {
				logger.Info("VolumeSnapshots are served no longer", "because", err.Error())
			}
		}
		if err != nil {
			logger.V(1).Info("VolumeSnapshots are not served", "because", err.Error())
		}
		if errors.Is(err, ErrNotServed) {
			c.hasLooked()
		}
		select {
		case <-ctx.Done():
		case <-time.After(c.every):
		}
	}
}

// fill runs the informers until the API goes or ctx ends, and returns why.
func (c *Caches) fill(ctx context.Context, handlers Handlers) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	now := &filled{
		snapshots: c.informer(resourceSnapshots, &VolumeSnapshot{}, &SnapshotList{}),
		classes:   c.informer(resourceClasses, &VolumeSnapshotClass{}, &ClassList{}),
		contents:  c.informer(resourceContents, &VolumeSnapshotContent{}, &ContentList{}),
	}
	err := errors.Join(now.contents.AddIndexers(cache.Indexers{volumeIndex: indexVolume, dataIndex: indexData}), now.handle(handlers))
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer stop(nil)
	for _, informer := range now.all() {
		err := informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
			klog.FromContext(ctx).V(1).Info("Cannot watch the snapshot API now", "because", err.Error())
			if notServed(err) {
				stop(fmt.Errorf("%w: %w", ErrNotServed, err))
			}
		})
		if err != nil {
			return err
		}
		all.Go(func() { informer.RunWithContext(ctx) })
	}
	if !cache.WaitForCacheSync(ctx.Done(), now.snapshots.HasSynced, now.classes.HasSynced, now.contents.HasSynced) {
		return context.Cause(ctx)
	}
	c.set(now)
	defer c.set(nil)
	c.hasLooked()
	now.each(handlers)
	<-ctx.Done()
	return context.Cause(ctx)
}

func (c *Caches) set(now *filled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

func (c *Caches) get() *filled {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (f *filled) all() []cache.SharedIndexInformer {
	return []cache.SharedIndexInformer{f.snapshots, f.classes, f.contents}
}

// handle makes the informers call the handlers. What comes before the caches are filled, each calls them with.
func (f *filled) handle(handlers Handlers) error {
	return errors.Join(
		handle(f.snapshots, handlers.Snapshot, handlers.SnapshotGone),
		handle(f.classes, handlers.Class, nil),
		handle(f.contents, handlers.Content, handlers.Gone))
}

func handle[T any](informer cache.SharedIndexInformer, changed, gone func(*T)) error {
	call := func(handler func(*T), object any) {
		if deleted, is := object.(cache.DeletedFinalStateUnknown); is {
			object = deleted.Obj
		}
		if object, is := object.(*T); is && handler != nil {
			handler(object)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(object any, initial bool) {
			if !initial {
				call(changed, object)
			}
		},
		UpdateFunc: func(_, object any) { call(changed, object) },
		DeleteFunc: func(object any) { call(gone, object) },
	})
	return err
}

// each calls the handlers with all that the caches hold when they are filled.
func (f *filled) each(handlers Handlers) {
	for _, object := range f.contents.GetStore().List() {
		if content, is := object.(*VolumeSnapshotContent); is && handlers.Content != nil {
			handlers.Content(content)
		}
	}
	for _, object := range f.snapshots.GetStore().List() {
		if snapshot, is := object.(*VolumeSnapshot); is && handlers.Snapshot != nil {
			handlers.Snapshot(snapshot)
		}
	}
}

// informer returns an informer of a resource that drops what nobody reads.
func (c *Caches) informer(resource string, object, list runtime.Object) cache.SharedIndexInformer {
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			into := list.DeepCopyObject()
			err := c.client.rest.Get().Resource(resource).VersionedParams(&o, c.client.params).Do(ctx).Into(into)
			return into, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.Watch = true
			return c.client.rest.Get().Resource(resource).VersionedParams(&o, c.client.params).Watch(ctx)
		},
	}
	informer := cache.NewSharedIndexInformerWithOptions(source, object, cache.SharedIndexInformerOptions{ResyncPeriod: resync, Indexers: cache.Indexers{}})
	if err := informer.SetTransform(c.trim); err != nil {
		panic(err) // cannot happen: it does not run yet
	}
	return informer
}

// trim drops what nobody reads.
func (c *Caches) trim(object any) (any, error) {
	switch o := object.(type) {
	case *VolumeSnapshot:
		o.ObjectMeta = kept(o.ObjectMeta)
		o.Spec.Source.Claim, o.Spec.Source.Content, o.Spec.Class = short(o.Spec.Source.Claim), short(o.Spec.Source.Content), short(o.Spec.Class)
	case *VolumeSnapshotClass:
		isDefault := o.Annotations[AnnotationDefaultClass]
		o.ObjectMeta = kept(o.ObjectMeta)
		o.Annotations = map[string]string{AnnotationDefaultClass: isDefault}
	case *VolumeSnapshotContent:
		if !slices.Contains(c.drivers, o.Spec.Driver) {
			return &VolumeSnapshotContent{ObjectMeta: kept(metav1.ObjectMeta{Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion})}, nil
		}
		annotations := map[string]string{}
		for _, key := range []string{AnnotationBeingDeleted, AnnotationRetention} {
			if value, there := o.Annotations[key]; there {
				annotations[key] = value
			}
		}
		o.ObjectMeta = kept(o.ObjectMeta)
		o.Annotations = annotations
	}
	return object, nil
}

// kept returns what is kept of an object's metadata.
func kept(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp, Finalizers: m.Finalizers,
	}
}

// short cuts a name that is longer than any object's.
func short(name *string) *string {
	if name == nil || len(*name) <= validation.DNS1123SubdomainMaxLength {
		return name
	}
	return new("\x00" + (*name)[:20]) // no object's
}

// isAbsent reports whether the API server says that an object does not exist.
func isAbsent(err error) bool {
	return apierrors.IsNotFound(err) && !apierrors.IsUnexpectedServerError(err)
}

// IsAbsent reports whether the API server itself says that an object does not exist.
func IsAbsent(err error) bool { return isAbsent(err) }
