package sweep

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"claimdir/provisioner/ledger"
)

var (
	oldOwner = ledger.Claim{Namespace: "ns", Name: "data", UID: "uid-pvc-1"}
	newOwner = ledger.Claim{Namespace: "new", Name: "mine", UID: "uid-of-mine"}
)

// handOver makes volume pvc-1 one of newOwner's, in that phase.
func (w *world) handOver(t *testing.T, phase v1.PersistentVolumePhase) *v1.PersistentVolume {
	t.Helper()
	pv := w.volumes()[0]
	pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: "new", Name: "mine", UID: "uid-of-mine"}
	must(t, w.client.Tracker().Update(v1.SchemeGroupVersion.WithResource("persistentvolumes"), &pv, ""))
	w.phase(t, phase)
	pv = w.volumes()[0]
	return &pv
}

// phase is what Kubernetes calls the only volume from now on.
func (w *world) phase(t *testing.T, phase v1.PersistentVolumePhase) {
	t.Helper()
	pv := w.volumes()[0]
	pv.Status.Phase = phase
	must(t, w.client.Tracker().Update(v1.SchemeGroupVersion.WithResource("persistentvolumes"), &pv, ""))
}

func (w *world) ownerOf(t *testing.T, pv string) ledger.Claim {
	t.Helper()
	for _, r := range w.readRecords(t) {
		if r.PV == pv {
			return r.Claim
		}
	}
	t.Fatalf("no record of %s", pv)
	return ledger.Claim{}
}

// A pass makes the record say whose a bound volume is by now.
func TestAPassFollowsTheOwner(t *testing.T) {
	elsewhere := func(r *ledger.Record) { r.Cluster = "elsewhere" }
	for name, tt := range map[string]struct {
		phase  v1.PersistentVolumePhase
		state  ledger.State
		change func(*ledger.Record)
		want   ledger.Claim
	}{
		"bound":                    {phase: v1.VolumeBound, state: ledger.Active, want: newOwner},
		"released":                 {phase: v1.VolumeReleased, state: ledger.Active, want: oldOwner}, // the release does it
		"available":                {phase: v1.VolumeAvailable, state: ledger.Active, want: oldOwner},
		"another cluster's record": {phase: v1.VolumeBound, state: ledger.Active, change: elsewhere, want: oldOwner},
		"a retained directory":     {phase: v1.VolumeBound, state: ledger.Retained, want: oldOwner},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, time.Hour)
			w.volume(t, "pvc-1", "a")
			if tt.change == nil {
				tt.change = func(*ledger.Record) {}
			}
			w.record(t, tt.state, "pvc-1", "a", tt.change)
			w.Tree(t, "a/file")
			w.handOver(t, tt.phase)
			must(t, w.pass(t.Context()))
			if got := w.ownerOf(t, "pvc-1"); got != tt.want {
				t.Errorf("the record says %v", got)
			}
		})
	}
}

// A pass takes over what another provisioner made meanwhile and is bound.
func TestAPassTakesOverVolumesOfOthers(t *testing.T) {
	peers := func(phase v1.PersistentVolumePhase, provisioner string) string {
		w := newWorld(t, time.Hour)
		w.record(t, ledger.Active, "pvc-2", "other")
		w.volume(t, "pvc-2", "other")
		w.volume(t, "pvc-1", "a")
		w.Tree(t, "a/file", "other/")
		pv := w.volumes()[0]
		pv.Annotations = map[string]string{"pv.kubernetes.io/provisioned-by": provisioner}
		pv.Status.Phase = phase
		must(t, w.client.Tracker().Update(v1.SchemeGroupVersion.WithResource("persistentvolumes"), &pv, ""))
		if must(t, w.pass(t.Context())); len(w.Records(t)) != 1 {
			t.Errorf("the first pass leaves %q", w.Records(t))
		}
		must(t, w.pass(t.Context()))
		return strings.Join(w.Records(t), ", ")
	}
	const both, one = "a = pvc-1 active, other = pvc-2 active", "other = pvc-2 active"
	if got := peers(v1.VolumeBound, ours); got != both {
		t.Errorf("bound: %s", got)
	}
	if got := peers(v1.VolumeReleased, ours); got != one {
		t.Errorf("released: %s", got)
	}
	if got := peers(v1.VolumeBound, "somebody.else/nfs"); got != one {
		t.Errorf("somebody else's: %s", got)
	}
}

// NewOwner does not wait for the next pass.
func TestTheRecordFollowsWhenTheVolumeIsHandedOver(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.volume(t, "pvc-1", "a")
	w.record(t, ledger.Active, "pvc-1", "a")
	w.Tree(t, "a/file")
	go w.Run(t.Context())
	for start := time.Now(); testutil.ToFloat64(w.metrics.ended) == 0; time.Sleep(time.Millisecond) { // it is not what is tested
		if time.Since(start) > 10*time.Second {
			t.Fatal("the first pass does not end")
		}
	}
	w.NewOwner(w.handOver(t, v1.VolumeBound))
	for start := time.Now(); w.ownerOf(t, "pvc-1") != newOwner; time.Sleep(time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("the record says %v", w.ownerOf(t, "pvc-1"))
		}
	}
}

// A pass completes the records of volumes in use, as an earlier version left them, with the UIDs of
// their claims' namespaces, and no others: of these nobody can say it any more.
func TestAPassRecordsTheNamespaces(t *testing.T) {
	for name, tt := range map[string]struct {
		phase  v1.PersistentVolumePhase
		state  ledger.State
		change func(*ledger.Record)
		gone   bool // the claim
		want   string
	}{
		"bound":                {phase: v1.VolumeBound, state: ledger.Active, want: "n-1"},
		"on record already":    {phase: v1.VolumeBound, state: ledger.Active, change: func(r *ledger.Record) { r.Claim.NamespaceUID = "n-0" }, want: "n-0"},
		"of another cluster":   {phase: v1.VolumeBound, state: ledger.Active, change: func(r *ledger.Record) { r.Cluster = "elsewhere" }},
		"of another claim":     {phase: v1.VolumeBound, state: ledger.Active, change: func(r *ledger.Record) { r.Claim.UID, r.Claim.NamespaceUID = "uid-0", "n-0" }, want: "n-1"},
		"a claim that is gone": {phase: v1.VolumeBound, state: ledger.Active, gone: true},
		"released":             {phase: v1.VolumeReleased, state: ledger.Active},
		"retained":             {phase: v1.VolumeBound, state: ledger.Retained},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, time.Hour)
			must(t, w.client.Tracker().Add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns", UID: "n-1"}}))
			w.volume(t, "pvc-1", "a")
			w.phase(t, tt.phase)
			if !tt.gone {
				w.claim(t, "data", "pvc-1")
			}
			if tt.change == nil {
				tt.change = func(*ledger.Record) {}
			}
			w.record(t, tt.state, "pvc-1", "a", tt.change)
			w.Tree(t, "a/file")
			must(t, w.pass(t.Context()))
			if got := w.ownerOf(t, "pvc-1").NamespaceUID; got != tt.want {
				t.Errorf("the record says %q", got)
			}
		})
	}
}

// What claimdir may not know it does not ask for each record.
func TestAPassThatMayNotReadNamespacesAsksOnce(t *testing.T) {
	w := newWorld(t, time.Hour)
	asked := 0
	w.client.PrependReactor("get", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
		asked++
		return true, nil, apierrors.NewForbidden(v1.Resource("namespaces"), "ns", errors.New("no"))
	})
	for _, path := range []string{"a", "b", "c"} {
		w.volume(t, "pvc-"+path, path)
		w.record(t, ledger.Active, "pvc-"+path, path)
		w.Tree(t, path+"/file")
	}
	must(t, w.pass(t.Context()))
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// A record that was written while its volume was expanded gets the volume's size.
func TestAPassRecordsTheSize(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.volume(t, "pvc-1", "a")
	w.phase(t, v1.VolumeBound)
	w.record(t, ledger.Active, "pvc-1", "a", func(r *ledger.Record) { r.Size, r.Claim = "1Gi", oldOwner })
	pv := w.volumes()[0]
	for _, size := range []string{"5Gi", "2Gi"} { // it never becomes smaller
		pv.Spec.Capacity = v1.ResourceList{v1.ResourceStorage: resource.MustParse(size)}
		must(t, w.client.Tracker().Update(v1.SchemeGroupVersion.WithResource("persistentvolumes"), &pv, ""))
		must(t, w.pass(t.Context()))
		if records := w.readRecords(t); len(records) != 1 || records[0].Size != "5Gi" {
			t.Errorf("the records are %+v", records)
		}
	}
}
