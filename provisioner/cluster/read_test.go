package cluster

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"claimdir/provisioner/cluster/pvs"
)

// An API server that can send no stream is read in pages, of the latest state, and of each page nothing
// is kept but what trimmed objects are: never the whole list.
func TestAListComesInPages(t *testing.T) {
	const volumes = 2*pageSize + 7
	pages := 0
	list := func(_ context.Context, o metav1.ListOptions) (runtime.Object, error) {
		if pages++; o.Limit != pageSize || o.ResourceVersion != "" {
			t.Errorf("page %d is asked for with %+v", pages, o)
		}
		from, _ := strconv.Atoi(o.Continue) // 0 without one
		page := &v1.PersistentVolumeList{ListMeta: metav1.ListMeta{ResourceVersion: "77"}}
		for n := from; n < min(from+pageSize, volumes); n++ {
			pv, _ := served(n, ours)
			page.Items = append(page.Items, *pv)
		}
		if from+pageSize < volumes {
			page.Continue = fmt.Sprint(from + pageSize)
		}
		return page, nil
	}
	read, err := paged(list, trimmer(pvs.Names{ours}))(t.Context(), metav1.ListOptions{ResourceVersion: "0", Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := meta.ExtractList(read)
	if err != nil || len(objects) != volumes || pages != 3 {
		t.Fatalf("%d objects in %d pages, %v", len(objects), pages, err)
	}
	if m, err := meta.ListAccessor(read); err != nil || m.GetResourceVersion() != "77" || m.GetContinue() != "" {
		t.Errorf("the list is %+v, %v", m, err)
	}
	for n, object := range objects {
		held, ok := object.(*heldVolume)
		if pv, _ := served(n, ours); !ok || held.name() != pv.Name {
			t.Fatalf("object %d is %v", n, object)
		}
	}
}

// The first thing that the informers ask for is a stream.
func TestTheFirstReadIsAStream(t *testing.T) {
	var mu sync.Mutex
	first := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if _, known := first[r.URL.Path]; !known {
			first[r.URL.Path] = r.URL.Query().Get("sendInitialEvents")
		}
		http.Error(w, "no", http.StatusServiceUnavailable)
	}))
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	i := NewInformers(client, ours)
	ctx, cancel := context.WithCancel(t.Context())
	i.Factory().StartWithContext(ctx)
	t.Cleanup(func() { cancel(); i.Factory().Shutdown() })
	asked := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return []string{first["/api/v1/persistentvolumes"], first["/api/v1/persistentvolumeclaims"]}
	}
	want := []string{"true", "true"}
	for began := time.Now(); !slices.Equal(asked(), want) && time.Since(began) < 10*time.Second; {
		time.Sleep(10 * time.Millisecond)
	}
	if got := asked(); !slices.Equal(got, want) {
		t.Errorf("sendInitialEvents is %q at first", got)
	}
}
