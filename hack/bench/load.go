package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"claimdir/hack/testbed"
)

// creators is how many claims are made at a time: enough that making them is
// not what is measured.
const creators = 16

// load is one turn's namespace, class and claims.
type load struct {
	bed         *testbed.Bed
	namespace   string // the class has the same name
	provisioner string
}

func newLoad(ctx context.Context, bed *testbed.Bed, who string) (*load, error) {
	return newLoadOn(ctx, bed, "", "", who)
}

// newLoadOn is a load on one of several shares. Without a provisioner it makes up
// a name.
func newLoadOn(ctx context.Context, bed *testbed.Bed, share, provisioner, who string) (*load, error) {
	namespace, err := bed.Admin.CoreV1().Namespaces().Create(ctx,
		&v1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: who + "-"}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	l := &load{bed: bed, namespace: namespace.Name, provisioner: cmp.Or(provisioner, "bench.claimdir/"+namespace.Name)}
	parameters := map[string]string{"onDelete": "delete"}
	if share != "" {
		parameters["share"] = share
	}
	_, err = bed.Admin.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: l.namespace},
		Provisioner: l.provisioner,
		Parameters:  parameters,
	}, metav1.CreateOptions{})
	return l, err
}

// bind makes n claims and returns when all are Bound.
func (l *load) bind(ctx context.Context, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	bound := map[string]bool{}
	claims := informers.NewSharedInformerFactoryWithOptions(l.bed.Admin, 0, informers.WithNamespace(l.namespace)).Core().V1().PersistentVolumeClaims()
	done := make(chan struct{})
	if err := follow(ctx, claims.Informer(), func(object any, _ bool) {
		claim, ok := object.(*v1.PersistentVolumeClaim)
		if ok && claim.Status.Phase == v1.ClaimBound && !bound[claim.Name] {
			if bound[claim.Name] = true; len(bound) == n {
				close(done)
			}
		}
	}); err != nil {
		return err
	}
	go l.create(ctx, n, cancel)
	return wait(ctx, done)
}

// bindPaced makes n claims, one after each pause, and returns how long each took from the request
// that makes it to the news that it is Bound.
func (l *load) bindPaced(ctx context.Context, n int, pause time.Duration) (took []time.Duration, err error) {
	bound := make(chan string, n)
	seen := map[string]bool{}
	claims := informers.NewSharedInformerFactoryWithOptions(l.bed.Admin, 0, informers.WithNamespace(l.namespace)).Core().V1().PersistentVolumeClaims()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := follow(ctx, claims.Informer(), func(object any, _ bool) {
		claim, ok := object.(*v1.PersistentVolumeClaim)
		if ok && claim.Status.Phase == v1.ClaimBound && !seen[claim.Name] {
			seen[claim.Name] = true
			bound <- claim.Name
		}
	}); err != nil {
		return nil, err
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	made := map[string]time.Time{}
	for len(took) < n {
		due := tick.C
		if len(made) == n {
			due = nil
		}
		select {
		case <-due:
			claim := l.claim(len(made))
			made[claim.Name] = time.Now()
			if _, err := l.bed.Admin.CoreV1().PersistentVolumeClaims(l.namespace).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
				return nil, err
			}
		case name := <-bound:
			took = append(took, time.Since(made[name]))
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return took, nil
}

// create makes n claims, several at a time.
func (l *load) create(ctx context.Context, n int, fail func(error)) {
	names := make(chan int)
	defer close(names)
	for range creators {
		go func() {
			for i := range names {
				if _, err := l.bed.Admin.CoreV1().PersistentVolumeClaims(l.namespace).Create(ctx, l.claim(i), metav1.CreateOptions{}); err != nil {
					fail(err)
				}
			}
		}()
	}
	for i := range n {
		select {
		case names <- i:
		case <-ctx.Done():
			return
		}
	}
}

func (l *load) claim(i int) *v1.PersistentVolumeClaim {
	return &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("claim-%04d", i)},
		Spec: v1.PersistentVolumeClaimSpec{
			StorageClassName: &l.namespace,
			AccessModes:      []v1.PersistentVolumeAccessMode{v1.ReadWriteMany},
			Resources:        v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Mi")}},
		},
	}
}

// release deletes all claims and returns when their volumes are gone.
func (l *load) release(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	left := map[string]bool{}
	done := make(chan struct{})
	volumes := informers.NewSharedInformerFactory(l.bed.Admin, 0).Core().V1().PersistentVolumes()
	if err := follow(ctx, volumes.Informer(), func(object any, gone bool) {
		pv, ok := object.(*v1.PersistentVolume)
		switch {
		case !ok || pv.Spec.StorageClassName != l.namespace:
		case !gone:
			left[pv.Name] = true
		default:
			if delete(left, pv.Name); len(left) == 0 {
				close(done)
			}
		}
	}); err != nil {
		return err
	}
	err := l.bed.Admin.CoreV1().PersistentVolumeClaims(l.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	if err != nil {
		return err
	}
	return wait(ctx, done)
}

// follow runs the informer and hands every object to see, one at a time. It
// returns once those that exist were seen.
func follow(ctx context.Context, informer cache.SharedIndexInformer, see func(object any, gone bool)) error {
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { see(object, false) },
		UpdateFunc: func(_, object any) { see(object, false) },
		DeleteFunc: func(object any) { see(object, true) },
	})
	if err != nil {
		return err
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return context.Cause(ctx)
	}
	return nil
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
