package cluster

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
)

// The first read of an informer comes as a stream of objects, one at a time, from an API server that
// can do that (1.34 and later). From an older one it comes in pages. Either way each object is trimmed
// before the next ones are read: the whole list would be in memory otherwise, as text and as objects.

// pageSize is how many objects a page has.
const pageSize = 500

type (
	lists = func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error)
	makes = func(client kubernetes.Interface, resync time.Duration) cache.SharedIndexInformer
)

func newClaims(trim cache.TransformFunc) makes {
	return func(client kubernetes.Interface, resync time.Duration) cache.SharedIndexInformer {
		claims := client.CoreV1().PersistentVolumeClaims(metav1.NamespaceAll)
		list := func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return claims.List(ctx, o) }
		source := &cache.ListWatch{ListWithContextFunc: paged(list, trim), WatchFuncWithContext: claims.Watch}
		return cache.NewSharedIndexInformerWithOptions(cache.ToListWatcherWithWatchListSemantics(source, client), &v1.PersistentVolumeClaim{},
			cache.SharedIndexInformerOptions{ResyncPeriod: resync, Indexers: cache.Indexers{stateIndex: indexClaim, sourceIndex: indexSource}})
	}
}

func newVolumes(trim cache.TransformFunc) makes {
	return func(client kubernetes.Interface, resync time.Duration) cache.SharedIndexInformer {
		volumes := client.CoreV1().PersistentVolumes()
		list := func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return volumes.List(ctx, o) }
		source := &cache.ListWatch{ListWithContextFunc: paged(list, trim), WatchFuncWithContext: volumes.Watch}
		return cache.NewSharedIndexInformerWithOptions(cache.ToListWatcherWithWatchListSemantics(source, client), &v1.PersistentVolume{},
			cache.SharedIndexInformerOptions{ResyncPeriod: resync, Indexers: cache.Indexers{exportIndex: indexExport, stateIndex: indexReleased}})
	}
}

// paged returns a list function that reads in pages and trims each object at once. It returns the most
// recent state, whatever resource version it is asked for: the API server pages no older one.
func paged(list lists, trim cache.TransformFunc) lists {
	return func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		o.ResourceVersion, o.ResourceVersionMatch, o.Continue, o.Limit = "", "", "", 0
		trimmed := &metav1.List{}
		pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			page, err := list(ctx, o)
			if err != nil {
				return nil, err
			}
			m, err := meta.ListAccessor(page)
			if err != nil {
				return nil, err
			}
			trimmed.ResourceVersion = m.GetResourceVersion() // all pages have the same
			return page, nil
		})
		pages.PageSize, pages.PageBufferSize = pageSize, 1
		err := pages.EachListItemWithAlloc(ctx, o, func(object runtime.Object) error {
			kept, err := trim(object)
			if err != nil {
				return err
			}
			if kept, ok := kept.(runtime.Object); ok { // each form is one
				trimmed.Items = append(trimmed.Items, runtime.RawExtension{Object: kept})
			}
			return nil
		})
		return trimmed, err
	}
}
