package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"claimdir/hack/clustertest"
)

// TestNamespacesTakeTurns: whatever one namespace asks for, another namespace's claim has its volume
// after at most twice the time that it takes on an idle share, and one second. On the share each call
// takes 0.5 ms. The time runs from when Kubernetes has handed the claim to claimdir, because
// Kubernetes itself serves claims in the order in which they come.
func TestNamespacesTakeTurns(t *testing.T) {
	claims := 200
	if text := os.Getenv("CLAIMDIR_TEST_CLAIMS"); text != "" {
		var err error
		if claims, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	bed := begin(t)
	w := newSharesWorld(t, bed)
	w.slow.Delay(500 * time.Microsecond)
	watcher := w.watchTurns()
	victim := clustertest.New(t, bed.Admin, patience, 50*time.Millisecond, nil)
	t.Cleanup(func() {
		if t.Failed() {
			text, err := w.process.Get(context.WithoutCancel(t.Context()), "/metrics")
			t.Logf("of claimdir's operations %q (%v)", regexp.MustCompile(`(?m)^claimdir_operations_\w+\{.*$`).FindAllString(text, -1), err)
		}
	})
	served := func(name string) time.Duration {
		victim.Claim(name, clustertest.OfClass(w.Name+"-slow"))
		return watcher.took(victim, name)
	}
	var idle time.Duration
	for i := range 5 {
		idle = max(idle, served(fmt.Sprintf("idle-%d", i)))
	}
	check := func(name, what string) {
		var took []time.Duration
		for i := range 5 {
			took = append(took, served(fmt.Sprintf("%s-%d", name, i)))
		}
		slices.Sort(took)
		t.Logf("beside %s of another namespace: %v; on an idle share at most %v", what, took, idle)
		if median := took[len(took)/2]; median > 2*idle+time.Second { // one may meet whatever else the machine does
			t.Errorf("beside %s a claim waits for %v", what, median)
		}
	}

	w.makeArchives(2000)
	for i := range 200 {
		w.Claim(fmt.Sprintf("wish-%03d", i), clustertest.OfClass(w.Name+"-slow"), clustertest.Annotated(annRestore, "no-such-volume"))
	}
	watcher.handedOver(w.Namespace, "wish-199")
	check("wishes", "200 wishes for archives")

	for i := range claims {
		w.Claim(fmt.Sprintf("many-%04d", i), clustertest.OfClass(w.Name+"-slow"))
	}
	watcher.handedOver(w.Namespace, fmt.Sprintf("many-%04d", min(claims, 100)-1))
	check("claims", fmt.Sprintf("%d claims", claims))
	for i := range claims {
		w.Bound(fmt.Sprintf("many-%04d", i))
	}
	w.Must(bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	check("releases", fmt.Sprintf("%d releases", claims))
}

// makeArchives writes the records and directories of archives of the world's namespace. They are
// copies of a real one.
func (w *sharesWorld) makeArchives(n int) {
	w.T.Helper()
	w.shareClass("archive", "slow", "onDelete", "archive")
	w.claimOf("archive", "first")
	pv := w.Bound("first").Name
	w.DeleteClaim("first")
	w.VolumeGone(pv)
	backing := *w.world
	backing.share = w.backing
	first := "archived-" + w.Name + "-first-" + pv
	for i := range n {
		name := fmt.Sprintf("pvc-archive-%04d", i)
		path := "archived-" + w.Name + "-first-" + name
		backing.copyRecord(first, path, map[string]any{"pv": name})
		w.Must(os.Mkdir(filepath.Join(w.backing, path), 0o700))
	}
}

// turnWatch notes when each claim was handed to claimdir, and when its volume was saved.
type turnWatch struct {
	mu             sync.Mutex
	handed, volume map[string]time.Time // by namespace/name
}

func (w *sharesWorld) watchTurns() *turnWatch {
	w.T.Helper()
	t := &turnWatch{handed: map[string]time.Time{}, volume: map[string]time.Time{}}
	core := w.bed.Admin.CoreV1()
	claims, err := core.PersistentVolumeClaims(v1.NamespaceAll).Watch(w.T.Context(), metav1.ListOptions{})
	w.Must(err)
	volumes, err := core.PersistentVolumes().Watch(w.T.Context(), metav1.ListOptions{})
	w.Must(err)
	go t.note(claims.ResultChan(), func(object any) (at map[string]time.Time, key string) {
		claim, ok := object.(*v1.PersistentVolumeClaim)
		if !ok || claim.Annotations["volume.kubernetes.io/storage-provisioner"] == "" {
			return nil, ""
		}
		return t.handed, claim.Namespace + "/" + claim.Name
	})
	go t.note(volumes.ResultChan(), func(object any) (at map[string]time.Time, key string) {
		pv, ok := object.(*v1.PersistentVolume)
		if !ok || pv.Spec.ClaimRef == nil {
			return nil, ""
		}
		return t.volume, pv.Spec.ClaimRef.Namespace + "/" + pv.Spec.ClaimRef.Name
	})
	return t
}

// note notes when an object first is in the state that of looks for.
func (t *turnWatch) note(events <-chan watch.Event, of func(object any) (at map[string]time.Time, key string)) {
	for e := range events {
		t.mu.Lock()
		if at, key := of(e.Object); at != nil {
			if _, known := at[key]; !known {
				at[key] = time.Now()
			}
		}
		t.mu.Unlock()
	}
}

// handedOver waits until Kubernetes has handed the claim to claimdir.
func (t *turnWatch) handedOver(n *clustertest.Namespace, name string) {
	n.T.Helper()
	n.Eventually("claim "+name+" is handed to claimdir", func() error {
		if handed, _ := t.snapshot(); handed[n.Name+"/"+name].IsZero() {
			return errors.New("it is not")
		}
		return nil
	})
}

func (t *turnWatch) snapshot() (handed, volume map[string]time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.handed), maps.Clone(t.volume)
}

// took waits for the claim's volume and returns how long claimdir took.
func (t *turnWatch) took(n *clustertest.Namespace, name string) (took time.Duration) {
	n.T.Helper()
	key := n.Name + "/" + name
	n.Eventually("claim "+name+" has a volume", func() error {
		handed, volume := t.snapshot()
		if handed[key].IsZero() || volume[key].IsZero() {
			return fmt.Errorf("handed over: %v, events: %q", !handed[key].IsZero(), n.Warnings(n.Name, name))
		}
		took = max(0, volume[key].Sub(handed[key]))
		return nil
	})
	return took
}
