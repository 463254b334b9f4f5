package provisioner

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/volume"
)

func TestAClaimIsACopy(t *testing.T) {
	w := newCopyWorld(t)
	w.hasBound(t)
	w.claims["source"].Status.Conditions = []v1.PersistentVolumeClaimCondition{{Type: v1.PersistentVolumeClaimUnused, Status: v1.ConditionTrue, LastTransitionTime: minute(5)}}
	pv, err := w.made(t, w.wants(t, "copy", "pvc-1", "mode", "2750"))
	must(t, err)
	must(t, w.sameAsSource(t, "team/copy"))
	w.Holds(t, with(sourceTree, "team", "team/copy", "team/copy/file", "team/copy/sub", "team/copy/sub/file", "team/copy = pvc-1 active")...)
	if text := pv.Annotations[volume.AnnotationCopied]; !strings.HasPrefix(text, "claim source, from ") || !strings.HasSuffix(text, ", no pod used the source") {
		t.Errorf("the volume says %q", text)
	}
	events := w.events()
	if len(events) == 0 || !strings.HasPrefix(events[len(events)-1], "copy Normal Copied the volume is a copy of claim source, from ") {
		t.Errorf("the events say %q", events)
	}
}

// What a claim is to be a copy of: the table of everything that may be in the way.
func TestTheSourceOfACopy(t *testing.T) {
	released := func(w *copyWorld, at metav1.Time) {
		delete(w.claims, "source")
		w.pvs["pvc-0"].Status.Phase, w.pvs["pvc-0"].Status.LastPhaseTransitionTime = v1.VolumeReleased, &at
	}
	for name, tt := range map[string]struct {
		set    func(w *copyWorld, claim *v1.PersistentVolumeClaim)
		reason string // empty: it is copied
		final  bool
		says   string
	}{
		"it is bound": {set: func(*copyWorld, *v1.PersistentVolumeClaim) {}},
		"it is absent": {func(w *copyWorld, _ *v1.PersistentVolumeClaim) {
			w.claims, w.pvs = map[string]*v1.PersistentVolumeClaim{}, map[string]*v1.PersistentVolume{}
		}, refusal.ReasonSource, false, `there is no claim "source" in namespace "ns"`},
		"nobody says": {func(w *copyWorld, _ *v1.PersistentVolumeClaim) { w.silent = errors.New("timeout") }, refusal.ReasonCluster, false, "timeout"},
		"it is unbound": {func(w *copyWorld, _ *v1.PersistentVolumeClaim) {
			w.claims["source"].Spec.VolumeName, w.claims["source"].Status.Phase = "", v1.ClaimPending
		}, refusal.ReasonSource, false, `claim "source" is Pending: it is copied when it is bound`},
		"it is lost":           {func(w *copyWorld, _ *v1.PersistentVolumeClaim) { w.claims["source"].Status.Phase = v1.ClaimLost }, refusal.ReasonSource, false, `claim "source" is Lost`},
		"it was being deleted": {func(w *copyWorld, _ *v1.PersistentVolumeClaim) { w.claims["source"].DeletionTimestamp = new(minute(9)) }, refusal.ReasonSource, false, `claim "source" is being deleted, and was when this claim was made`},
		"it is deleted later": {set: func(w *copyWorld, _ *v1.PersistentVolumeClaim) {
			w.claims["source"].DeletionTimestamp = new(minute(11))
		}},
		"its volume is gone":            {func(w *copyWorld, _ *v1.PersistentVolumeClaim) { delete(w.pvs, "pvc-0") }, refusal.ReasonSource, false, `PersistentVolume pvc-0 is not bound to claim "source"`},
		"its volume is another claim's": {func(w *copyWorld, _ *v1.PersistentVolumeClaim) { w.pvs["pvc-0"].Spec.ClaimRef.UID = "other" }, refusal.ReasonSource, false, `PersistentVolume pvc-0 is not bound to claim "source"`},
		"its volume is nobody's":        {func(w *copyWorld, _ *v1.PersistentVolumeClaim) { w.pvs["pvc-0"].Spec.ClaimRef = nil }, refusal.ReasonSource, false, `PersistentVolume pvc-0 is not bound to claim "source"`},
		"its volume is not ours": {func(w *copyWorld, _ *v1.PersistentVolumeClaim) {
			w.pvs["pvc-0"].Annotations["pv.kubernetes.io/provisioned-by"] = "other.example.com"
		}, refusal.ReasonSource, true, `claimdir has not made the volume of claim "source"`},
		"its volume is on no share of ours": {func(w *copyWorld, _ *v1.PersistentVolumeClaim) { w.pvs["pvc-0"].Spec.NFS.Server = "elsewhere" }, refusal.ReasonSource, true, `the volume of claim "source": `},
		"too little is requested":           {func(w *copyWorld, claim *v1.PersistentVolumeClaim) { claim.Spec.Resources.Requests = gib("1023Mi") }, refusal.ReasonSource, true, `spec.resources.requests.storage 1023Mi: claim "source", which is to be copied, has 1Gi`},
		"more is requested":                 {set: func(_ *copyWorld, claim *v1.PersistentVolumeClaim) { claim.Spec.Resources.Requests = gib("2Gi") }},
		"it was released later, and kept":   {set: func(w *copyWorld, _ *v1.PersistentVolumeClaim) { released(w, minute(10)) }},
		"it was released before":            {func(w *copyWorld, _ *v1.PersistentVolumeClaim) { released(w, minute(9)) }, refusal.ReasonSource, false, `there is no claim "source"`},
		"it was released, and nobody says when": {func(w *copyWorld, _ *v1.PersistentVolumeClaim) {
			released(w, minute(11))
			w.pvs["pvc-0"].Status.LastPhaseTransitionTime = nil
		}, refusal.ReasonSource, false, `there is no claim "source"`},
		"it was released, and a later claim has its name": {set: func(w *copyWorld, _ *v1.PersistentVolumeClaim) {
			namesake := w.claims["source"].DeepCopy()
			namesake.UID, namesake.CreationTimestamp, namesake.Spec.VolumeName = "later", minute(12), "pvc-9"
			released(w, minute(11))
			w.claims["source"] = namesake
		}},
		"it was released, and later claims of its name too": {set: func(w *copyWorld, _ *v1.PersistentVolumeClaim) {
			released(w, minute(11))
			for i := range 5 {
				later := w.pvs["pvc-0"].DeepCopy()
				later.Name, later.Status.LastPhaseTransitionTime = "pvc-later-"+strconv.Itoa(i), new(minute(12+i))
				later.Spec.NFS.Path += "-later"
				w.pvs[later.Name] = later
			}
		}},
		"a released one of another namespace": {func(w *copyWorld, _ *v1.PersistentVolumeClaim) {
			released(w, minute(11))
			w.pvs["pvc-0"].Spec.ClaimRef.Namespace = "other"
		}, refusal.ReasonSource, false, `there is no claim "source"`},
		// The namespace was deleted and made anew, and the volume seen as released only then.
		"a released one of an earlier namespace of the name": {func(w *copyWorld, _ *v1.PersistentVolumeClaim) {
			released(w, minute(11))
			w.Seen.Namespaces["ns"] = "ns-later"
		}, refusal.ReasonSource, true, `the volume of claim "source", which was to be copied, belongs to another namespace by now`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCopyWorld(t)
			w.hasBound(t)
			o := w.wants(t, "copy", "pvc-1")
			w.change(func() { tt.set(w, o.PVC) })
			_, err := w.made(t, o)
			if tt.reason == "" {
				must(t, err)
				must(t, w.sameAsSource(t, "team/copy"))
				return
			}
			refused(t, err, tt.reason, tt.final, tt.says)
			if found, err := filepath.Glob(w.Dir + "/.claimdir/copies/*/tree/*"); err != nil || len(found) > 0 {
				t.Errorf("copied was %q, %v", found, err)
			}
			must(t, w.sameAsSource(t, "source"))
		})
	}
}

// A PersistentVolume is handed to a claim of another namespace while it is copied: what that writes is not the first one's.
func TestASourceThatIsHandedOverIsNotCopied(t *testing.T) {
	for name, seen := range map[string]bool{"the record follows": true, "the record does not know yet": false} {
		t.Run(name, func(t *testing.T) {
			w := newCopyWorld(t)
			w.hasBound(t)
			o := w.wants(t, "copy", "pvc-1")
			gate, reached := make(chan struct{}), make(chan struct{})
			w.holdCopy(reached, gate)
			_, _, err := w.Provision(t.Context(), o)
			if _, ignored := errors.AsType[*controller.IgnoredError](err); !ignored {
				t.Fatal(err)
			}
			<-reached
			w.change(func() {
				w.pvs["pvc-0"].Spec.ClaimRef = &v1.ObjectReference{Namespace: "other", Name: "source", UID: "uid-other"}
			})
			if seen {
				r := w.Record(t, "source")
				r.Claim = ledger.Claim{Namespace: "other", Name: "source", UID: "uid-other"}
				must(t, w.Store(t).Records.Update(sharetest.PathOf(t, "source"), r))
				w.change(func() { delete(w.pvs, "pvc-0") }) // also one that is gone by now
			}
			close(gate)
			<-w.asked
			_, err = w.made(t, o)
			refused(t, err, refusal.ReasonSource, true, "belongs to another namespace by now")
			if _, err := os.Lstat(w.Dir + "/team/copy"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the copy is there: %v", err)
			}
		})
	}
}

// The process that led before completes the copy late, while this one's job still writes to the tree.
func TestATreeBecomesNoVolumeWhileAJobWritesToIt(t *testing.T) {
	w := newCopyWorld(t)
	w.hasBound(t)
	o := w.wants(t, "copy", "pvc-1")
	gate, reached := make(chan struct{}), make(chan struct{})
	w.holdCopy(reached, gate)
	_, _, _ = w.Provision(t.Context(), o)
	<-reached
	other := w.beside(t, "cluster-1")
	v := copyVolume(t, "pvc-1")
	must(t, other.copyTree(t, w.Record(t, "team/copy"), v))
	if !w.Record(t, "team/copy").CopyOf.Whole() {
		t.Fatal("the other process has not completed it")
	}
	_, _, err := w.Provision(t.Context(), o)
	if _, ignored := errors.AsType[*controller.IgnoredError](err); !ignored {
		t.Fatal(err)
	}
	source := o.PVC.Spec.DataSource
	o.PVC.Spec.DataSource = nil // a claim that asks for nothing any more gets the tree no sooner
	_, _, err = w.Provision(t.Context(), o)
	if _, ignored := errors.AsType[*controller.IgnoredError](err); !ignored {
		t.Fatal(err)
	}
	o.PVC.Spec.DataSource = source
	if _, err := os.Lstat(w.Dir + "/team/copy"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is at the path: %v", err)
	}
	close(gate)
	<-w.asked
	_, err = w.made(t, o)
	must(t, err)
	must(t, w.sameAsSource(t, "team/copy"))
}

// holdCopy holds the first call of the copying job that writes, until gate is closed.
func (w *copyWorld) holdCopy(reached, gate chan struct{}) {
	first := true
	w.Hook(func(name string, call func() error) error {
		if name == "copy to" && first {
			first = false
			close(reached)
			<-gate
		}
		return call()
	})
}

// The claim goes while it is copied: nothing is left but the trash.
func TestAClaimThatGoesWhileItIsCopiedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := copyWorldIn(t, dir)
		w.hasBound(t)
		gate, reached := make(chan struct{}), make(chan struct{})
		w.holdCopy(reached, gate)
		o := w.wants(t, "copy", "pvc-1")
		if _, _, err := w.Provision(t.Context(), o); err == nil {
			t.Fatal("it waited for the copy")
		}
		<-reached
		w.change(func() { delete(w.claims, "copy") })
		time.Sleep(5 * time.Second) // until the job has asked
		close(gate)
		<-w.asked
		w.Holds(t, sourceTree...)
		if got := w.Trash(t); !slices.Equal(got, []string{"pvc-1"}) {
			t.Errorf("in the trash: %q", got)
		}
		must(t, w.noTrash(t))
		must(t, w.sameAsSource(t, "source"))
	})
}

func TestTheRoomForACopy(t *testing.T) {
	const mib = 1 << 20
	for name, tt := range map[string]struct {
		holds  int64  // the source
		free   uint64 // the share
		shares bool   // blocks
		says   string // empty: it has room
	}{
		"enough":                                {holds: 10 * mib, free: 20 * mib},
		"exactly as much as is free":            {holds: 20 * mib, free: 20 * mib},
		"more than is free":                     {holds: 21 * mib, free: 20 * mib, says: `claim "source" holds 21.0Mi, and the share has 20.0Mi free for volumes of StorageClass nfs: make room on the share`},
		"more than is requested":                {holds: 2 << 30, free: 4 << 30, says: `claim "source" holds 2.0Gi, and this claim requests 1.0Gi: delete this claim, and request at least as much`},
		"more than is free, with shared blocks": {holds: 21 * mib, free: 20 * mib, shares: true},
		"negative, which no server says":        {holds: -1, free: 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCopyWorld(t)
			w.hasBound(t)
			v := copyVolume(t, "pvc-1")
			r, err := w.create(t, v)
			mustBeCopying(t, err)
			w.hasRoom(tt.free)
			job := &copying{Pool: w.Pool, on: w.Keeper, path: v.Path, record: r, size: 1 << 30}
			shared, err := w.Store(t).Dirs.SharesBlocks("probe")
			must(t, err)
			if tt.shares != shared && (tt.shares || tt.says != "") { // what this file system does decides what can be shown
				if shared {
					tt.says = ""
				} else {
					tt.says = "make room on the share"
				}
			}
			err = job.checkRoom(t.Context(), share.Usage{Bytes: tt.holds})
			if tt.says == "" {
				must(t, err)
			} else {
				refused(t, err, refusal.ReasonRoom, false, tt.says)
			}
			if left, err := os.ReadDir(w.Dir + "/.claimdir/copies"); err != nil || len(left) > 0 {
				t.Errorf("left is %v, %v", left, err)
			}
		})
	}
}

func TestWhetherASourceWasUsed(t *testing.T) {
	const early, late = "2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"
	for _, tt := range []struct {
		before, now string
		want        ledger.Use
	}{
		{early, early, ledger.Unused},
		{early, late, ledger.Used}, // a pod came and went
		{early, volume.InUse, ledger.Used},
		{volume.InUse, early, ledger.Used},
		{volume.InUse, volume.InUse, ledger.Used},
		{"", "", ledger.UseUnknown},
		{"", early, ledger.UseUnknown},
		{early, "", ledger.UseUnknown}, // the claim is deleted
		{"", volume.InUse, ledger.Used},
		{volume.InUse, "", ledger.Used},
	} {
		if got := volume.UseBetween(tt.before, tt.now); got != tt.want {
			t.Errorf("%q, then %q: %q, want %q", tt.before, tt.now, got, tt.want)
		}
	}
}

func TestWhatIsSaidOfAFailedCopy(t *testing.T) {
	r := ledger.Record{CopyOf: &ledger.Copy{Kind: ledger.CopyClaim, Claim: ledger.Claim{Name: "source"}}}
	source := refusal.Refuse(refusal.ReasonSource, "gone")
	for name, tt := range map[string]struct {
		err    error
		reason string
		final  bool
		says   []string
	}{
		"a refusal":     {source, refusal.ReasonSource, true, []string{"gone"}},
		"the share":     {&access.Trouble{Kind: access.Stalled}, refusal.ReasonStalled, false, nil},
		"full":          {&os.PathError{Op: "write", Path: "a/b", Err: syscall.ENOSPC}, refusal.ReasonCopy, false, []string{`the copy of claim "source" failed: write a/b: no space left on device: `, "; this is retried automatically, and begins anew"}},
		"anything else": {errors.New("odd"), refusal.ReasonCopy, false, []string{`the copy of claim "source" failed: odd; this is retried automatically, and goes on where it was`}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, copyFailed(r, tt.err), tt.reason, tt.final, tt.says...) })
	}
}

// A share that is full is for others, too: what a copy has taken of it goes, and the copy begins anew when there is room.
func TestACopyThatFillsTheShareMakesRoom(t *testing.T) {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			w := copyWorldIn(t, dir)
			w.hasBound(t)
			w.hasRoom(1 << 30)
			var calls atomic.Int32 // a copy makes several calls at a time
			w.Hook(func(name string, call func() error) error {
				if name == "copy to" && calls.Add(1) == 10 {
					return full
				}
				return call()
			})
			o := w.wants(t, "copy", "pvc-1")
			_, err := w.made(t, o)
			refused(t, err, refusal.ReasonCopy, false, `the copy of claim "source" failed: `, "and begins anew")
			w.Holds(t, with(sourceTree, "team/copy = pvc-1 creating")...)
			if r := w.Record(t, "team/copy"); r.CopyOf.Began != nil || r.CopyOf.UnusedSince != "" {
				t.Errorf("the record says that the copy has begun: %+v", r.CopyOf)
			}
			must(t, w.noTrash(t))
			w.hasRoom(0)
			time.Sleep(time.Minute)
			_, err = w.made(t, o)
			refused(t, err, refusal.ReasonRoom, false, "make room on the share")
			w.hasRoom(1 << 30)
			time.Sleep(time.Minute)
			_, err = w.made(t, o)
			must(t, err)
			must(t, w.sameAsSource(t, "team/copy"))
		})
	}
}

// What a copy has taken of the room itself does not count against it when it goes on.
func TestACopyThatGoesOnHasItsRoom(t *testing.T) {
	w := newCopyWorld(t)
	w.hasBound(t)
	v := copyVolume(t, "pvc-1")
	r, err := w.create(t, v)
	mustBeCopying(t, err)
	w.hasRoom(10 << 20)
	job := &copying{Pool: w.Pool, on: w.Keeper, path: v.Path, record: r, claim: w.wants(t, "copy", "pvc-1").PVC, size: 1 << 30}
	must(t, job.begin(t.Context(), share.Usage{Bytes: 10 << 20}))
	w.hasRoom(1 << 20)
	must(t, job.begin(t.Context(), share.Usage{Bytes: 10 << 20}))
}

// A tenant changes an annotation of its claim again and again, which gives it another path each time: only one copy is made.
func TestAClaimWhosePathChangesIsCopiedOnce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := copyWorldIn(t, dir)
		w.hasBound(t)
		gate, reached := make(chan struct{}), make(chan struct{})
		w.holdCopy(reached, gate)
		first := w.wants(t, "copy", "pvc-1")
		if _, _, err := w.Provision(t.Context(), first); err == nil {
			t.Fatal("it waited for the copy")
		}
		<-reached
		second := first
		second.StorageClass = first.StorageClass.DeepCopy()
		second.StorageClass.Parameters["pathPattern"] = "another"
		if _, _, err := w.Provision(t.Context(), second); err == nil {
			t.Fatal("it waited for the copy")
		}
		time.Sleep(5 * time.Second)
		close(gate)
		_, err := w.made(t, second)
		must(t, err)
		must(t, w.sameAsSource(t, "another"))
		synctest.Wait()
		must(t, w.noTrash(t))
		w.Holds(t, with(sourceTree, "another", "another/file", "another/sub", "another/sub/file", "another = pvc-1 active")...)
	})
}

// A share that did not answer for a moment ended a copy, and answers again: nobody would tell the library so.
func TestACopyThatATroubleEndedIsAskedForAgain(t *testing.T) {
	err := copyFailed(ledger.Record{CopyOf: &ledger.Copy{Kind: "claim"}}, &access.Trouble{Kind: access.Stalled})
	refused, ok := errors.AsType[*refusal.Refusal](err)
	if !ok || refused.Waits() || refused.Final() || !strings.Contains(err.Error(), "has not answered since") {
		t.Errorf("%#v, %v", refused, err)
	}
}
