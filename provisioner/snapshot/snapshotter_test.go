package snapshot

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/cluster/snapshots"
	"claimdir/provisioner/copies"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
)

func TestMakeAndRemove(t *testing.T) {
	w := newWorld(t)
	name := w.snapshot("now")
	content := w.ready("now", name)
	for path, want := range map[string]any{
		"spec.source.volumeHandle": "share-1/data#pvc-1", "spec.sourceVolumeMode": "Filesystem", "spec.volumeSnapshotRef.name": "now",
		"status.snapshotHandle": "share-1/" + name, "status.restoreSize": float64(1 << 30),
	} {
		if got := at(content, strings.Split(path, ".")...); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	w.wasTold("VolumeSnapshot team/now Normal SnapshotMade", "no pod used the source")
	w.delete("now", name)
	w.contentGone(name)
	if left := w.left("snapshots", "copies"); len(left) > 0 {
		t.Errorf("left on the share: %q", left)
	}
}

// Each write to the API server may be refused, or made although the answer says otherwise, and each process may end there.
func TestFaultsOfTheAPI(t *testing.T) {
	t.Parallel()
	for _, lose := range []bool{false, true} {
		for _, restart := range []bool{false, true} {
			for n := 1; n <= 4; n++ { // create, status, finalizer, and one more than there are
				t.Run(fmt.Sprintf("write %d, lose %v, restart %v", n, lose, restart), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					restart := restart // of this case alone
					writes, hit := 0, make(chan struct{})
					w.api.fault = func(string) (int, bool) {
						if writes++; writes != n {
							return 0, false
						}
						close(hit)
						if lose {
							return 0, true
						}
						return http.StatusInternalServerError, false
					}
					restarted := func() {
						if !restart {
							return
						}
						select {
						case <-hit:
							w.stop()
							w.begin()
							restart = false
						default:
						}
					}
					name := w.snapshot("now")
					w.eventually("the content is made", func() bool { restarted(); return w.api.get("volumesnapshotcontents", "", name) != nil })
					w.eventually("it is ready", func() bool {
						restarted()
						return at(w.api.get("volumesnapshotcontents", "", name), "status", "readyToUse") == true
					})
					w.ready("now", name)
					w.delete("now", name)
					w.eventually("it is gone", func() bool { restarted(); return w.api.get("volumesnapshotcontents", "", name) == nil })
					if left := w.left("snapshots", "copies"); len(left) > 0 {
						t.Errorf("left on the share: %q", left)
					}
					if trash := w.Trash(t); len(trash) != 1 || trash[0] != "pvc-1" {
						t.Errorf("the trash has %q", trash)
					}
				})
			}
		}
	}
}

// A copy that fails says why, and goes on when it can.
func TestCopyFails(t *testing.T) {
	w := newWorld(t)
	w.Hook(func(name string, call func() error) error {
		if name == "copy from" {
			return errTest
		}
		return call()
	})
	name := w.snapshot("now")
	w.eventually("the status says why", func() bool {
		text := fmt.Sprint(at(w.api.get("volumesnapshotcontents", "", name), "status", "error", "message"))
		return strings.Contains(text, errTest.Error()) && strings.Contains(text, "retried automatically")
	})
	w.wasTold("VolumeSnapshot team/now Warning SnapshotFailed", errTest.Error())
	w.Hook(nil)
	content := w.ready("now", name)
	if text := at(content, "status", "error"); text != nil {
		t.Errorf("the status still says %v", text)
	}
	w.wantWholeOf(name)
}

// wantWholeOf fails unless the data of a content is there.
func (w *world) wantWholeOf(content string) {
	w.t.Helper()
	text, err := os.ReadFile(w.Dir + "/" + ledger.SnapshotPath(w.own(content)) + "/file")
	if err != nil || string(text) != "content of data/file" {
		w.t.Errorf("the snapshot holds %q, %v", text, err)
	}
}

// A snapshot that is deleted while it is made leaves nothing.
func TestDeletedWhileMade(t *testing.T) {
	w := newWorld(t)
	held := make(chan struct{})
	w.Hook(func(name string, call func() error) error {
		if name == "copy from" {
			<-held
		}
		return call()
	})
	name := w.snapshot("now")
	w.eventually("the copy has begun", func() bool { return len(w.left("snapshots")) == 1 })
	w.delete("now", name)
	w.contentGone(name)
	close(held)
	w.eventually("nothing is left", func() bool { return len(w.left("snapshots", "copies")) == 0 })
}

// Without the API nothing is done, and nothing is lost when it goes and comes again.
func TestAPIComesAndGoes(t *testing.T) {
	w := newWorld(t)
	w.stop()
	w.api.serve(false)
	name := w.snapshot("now")
	w.begin() // looks at once, and then once a minute
	w.eventually("it looks", func() bool { return !w.config.Caches.Ready() })
	w.stop()
	w.api.serve(true)
	w.begin()
	w.ready("now", name)
	w.api.serve(false)
	w.eventually("it is noticed", func() bool { return !w.config.Caches.Ready() })
	seen := &sightings{map[string]time.Time{}, map[string]time.Time{}}
	sharetest.Must(t, w.look(t.Context(), w.lanes[0], seen))
	if len(seen.unnamed) > 0 {
		t.Error("without the API a snapshot counts as one that nothing names")
	}
	if _, _, err := w.Source(t.Context(), restoring("now", "1Gi")); err == nil || !strings.Contains(err.Error(), "does not serve VolumeSnapshots") {
		t.Errorf("a restore says %v", err)
	}
	w.wantWholeOf(name)
}

// restoring is a claim with a VolumeSnapshot as its data source.
func restoring(snapshot, size string) *v1.PersistentVolumeClaim {
	return &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "restored", CreationTimestamp: metav1.Now()},
		Spec: v1.PersistentVolumeClaimSpec{
			DataSource: &v1.TypedLocalObjectReference{APIGroup: new(snapshots.Group), Kind: snapshots.KindSnapshot, Name: snapshot},
			Resources:  v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse(size)}},
		},
	}
}

func TestSource(t *testing.T) {
	w := newWorld(t)
	name := w.snapshot("now")
	w.ready("now", name)
	on, from, err := w.Source(t.Context(), restoring("now", "2Gi"))
	if err != nil || on != w.Keeper || from.Kind != ledger.CopySnapshot || from.Path != w.own(name) || from.Claim.Name != "data" {
		t.Fatalf("the source is %+v on %v, %v", from, on, err)
	}
	w.snapshot("unready")
	w.api.set("volumesnapshots", "team", object{"metadata": object{"name": "stolen"}, "spec": object{"source": object{}}, "status": object{"boundVolumeSnapshotContentName": name, "readyToUse": true}})
	w.api.set("volumesnapshotcontents", "", object{"metadata": object{"name": "foreign"}, "spec": object{
		"driver": "somebody/else", "source": object{"snapshotHandle": "x"}, "volumeSnapshotRef": object{"namespace": "team", "name": "foreign", "uid": "uid-foreign"},
	}})
	w.api.set("volumesnapshots", "team", object{"metadata": object{"name": "foreign", "uid": "uid-foreign"}, "spec": object{"source": object{}}, "status": object{"boundVolumeSnapshotContentName": "foreign", "readyToUse": true}})
	for _, c := range []struct {
		claim *v1.PersistentVolumeClaim
		want  string
	}{
		{restoring("now", "1Mi"), "must request at least as much"},
		{restoring("nowhere", "1Gi"), "does not exist in namespace"},
		{restoring("unready", "1Gi"), "is not ready to use yet"},
		{restoring("stolen", "1Gi"), "is not bound to its VolumeSnapshotContent"},
		{restoring("foreign", "1Gi"), `is one of driver "somebody/else"`},
	} {
		if _, _, err := w.Source(t.Context(), c.claim); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a restore from %s says %v, want %q", c.claim.Spec.DataSource.Name, err, c.want)
		}
	}
	// One that is made again by force under the same name gets nothing of the earlier one.
	sharetest.Must(t, os.RemoveAll(w.Dir+"/"+ledger.SnapshotPath(w.own(name))))
	if _, _, err := w.Source(t.Context(), restoring("now", "1Gi")); err == nil || !strings.Contains(err.Error(), "the data of the snapshot is gone") {
		t.Errorf("a restore without data says %v", err)
	}
}

// The data stays as long as a claim is restored from it.
func TestReadingProtects(t *testing.T) {
	w := newWorld(t)
	name := w.snapshot("now")
	w.ready("now", name)
	w.mu.Lock()
	w.reading = "restored"
	w.mu.Unlock()
	w.delete("now", name)
	w.wasTold("VolumeSnapshotContent /"+name, "SnapshotDeletionWaits", `when claim "restored" is restored from it`)
	w.wantWholeOf(name)
	w.mu.Lock()
	w.reading = ""
	w.mu.Unlock()
	w.contentGone(name)
}

// One that is kept has no readers: so whoever purges it takes it away from nobody.
func TestReadingProtectsWhatIsKept(t *testing.T) {
	w := newWorld(t)
	name := w.snapshot("now")
	w.ready("now", name)
	w.api.edit("volumesnapshotcontents", "", name, object{"spec": object{"deletionPolicy": "Retain"}})
	w.eventually("the policy is seen", func() bool {
		content, found := w.config.Caches.Content(name)
		return found && content.Spec.DeletionPolicy == snapshots.Retain
	})
	w.mu.Lock()
	w.reading = "restored"
	w.mu.Unlock()
	w.delete("now", name)
	w.wasTold("VolumeSnapshotContent /"+name, "SnapshotDeletionWaits", `it goes when claim "restored" is restored from it`)
	if r, found, err := w.Store(t).Records.Snapshot(name, sharetest.Cluster); err != nil || !found || r.Kept() {
		t.Errorf("the record says %+v, %t, %v", r, found, err)
	}
	w.mu.Lock()
	w.reading = ""
	w.mu.Unlock()
	w.contentGone(name)
	w.wantWholeOf(name)
	if r, found, err := w.Store(t).Records.Snapshot(name, sharetest.Cluster); err != nil || !found || !r.Kept() {
		t.Errorf("the record says %+v, %t, %v", r, found, err)
	}
}

// A content that goes by force leaves data that is kept, not removed; and that expires as its class said.
func TestUnnamed(t *testing.T) {
	w := newWorld(t)
	w.api.set("volumesnapshotclasses", "", object{"metadata": object{"name": "nfs"}, "driver": driver, "deletionPolicy": "Retain", "parameters": object{"retention": "30d"}})
	w.eventually("the class is seen", func() bool {
		c, found := w.config.Caches.Class("nfs")
		return found && c.DeletionPolicy == snapshots.Retain
	})
	name := w.snapshot("now")
	w.ready("now", name)
	w.api.remove("volumesnapshots", "team", "now")
	w.api.remove("volumesnapshotcontents", "", name)
	w.eventually("the cache has it no more", func() bool { _, found := w.config.Caches.Content(name); return !found })

	seen := &sightings{map[string]time.Time{}, map[string]time.Time{}}
	look := func(later time.Duration) (ledger.Snapshot, bool) {
		t.Helper()
		w.later.Add(int64(later))
		sharetest.Must(t, w.look(t.Context(), w.lanes[0], seen))
		r, found, err := w.Store(t).Records.Snapshot(name, sharetest.Cluster)
		sharetest.Must(t, err)
		return r, found
	}
	if r, _ := look(0); r.Kept() {
		t.Error("it is kept at once")
	}
	if r, _ := look(59 * time.Minute); r.Kept() {
		t.Error("it is kept too early")
	}
	r, _ := look(2 * time.Minute)
	if !r.Kept() || r.Until == nil {
		t.Fatalf("it is not kept: %+v", r)
	}
	if _, found := look(40 * 24 * time.Hour); !found {
		t.Error("our clock alone decides")
	}
	r.Until = new(time.Now().Add(-2 * time.Hour)) // by the server's clock, too, long ago
	sharetest.Must(t, w.Store(t).Records.UpdateSnapshot(r))
	seen.expired = map[string]time.Time{}
	if _, found := look(0); !found {
		t.Error("one that is found late goes at once")
	}
	if _, found := look(23 * time.Hour); !found {
		t.Error("one that is found late goes within a day")
	}
	if _, found := look(2 * time.Hour); found {
		t.Error("it does not go")
	}
}

func TestMaxSnapshots(t *testing.T) {
	w := newWorld(t)
	w.api.set("volumesnapshotclasses", "", object{"metadata": object{"name": "nfs"}, "driver": driver, "deletionPolicy": "Delete", "parameters": object{"maxSnapshots": "3"}})
	w.eventually("the class is seen", func() bool {
		c, found := w.config.Caches.Class("nfs")
		return found && c.Parameters["maxSnapshots"] == "3"
	})
	var contents []string
	for i := range 8 { // at once: the cache does not know what was just made
		contents = append(contents, w.snapshot(fmt.Sprint(i)))
	}
	made := func() (n int) {
		for _, name := range contents {
			if w.api.get("volumesnapshotcontents", "", name) != nil {
				n++
			}
		}
		return n
	}
	w.eventually("three are made", func() bool { return made() == 3 })
	w.wasTold("has 3 snapshots, which is as many as VolumeSnapshotClass nfs allows")
	for i, name := range contents {
		if w.api.get("volumesnapshotcontents", "", name) != nil {
			w.ready(fmt.Sprint(i), name)
			w.delete(fmt.Sprint(i), name)
			w.contentGone(name)
			break
		}
	}
	w.eventually("one more is made", func() bool { return made() == 3 })
}

// A share that is full is for others, too: what a snapshot has taken of it goes, and the snapshot begins anew when there is room.
func TestASnapshotThatFillsTheShareMakesRoom(t *testing.T) {
	for _, err := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		w := newWorld(t)
		w.Tree(t, "data/sub/second", "data/sub/third")
		var full atomic.Bool
		var calls atomic.Int64
		full.Store(true)
		w.Hook(func(name string, call func() error) error {
			if name == "copy to" && full.Load() && calls.Add(1)%10 == 0 {
				return err
			}
			return call()
		})
		began := time.Now()
		name := w.snapshot("now")
		w.wasTold("VolumeSnapshot team/now", "SnapshotFailed", "this is retried automatically, and begins anew")
		w.eventually("what was copied is in the trash", func() bool {
			_, found, err := w.Store(t).Records.Snapshot(name, sharetest.Cluster)
			sharetest.Must(t, err)
			return !found && len(w.left("copies", "snapshots")) == 0 && len(w.Trash(t)) > 0
		})
		full.Store(false)
		w.ready("now", name)
		w.wantWholeOf(name)
		if r, _, _ := w.Store(t).Records.Snapshot(name, sharetest.Cluster); r.CopyOf == nil || r.CopyOf.Began == nil || r.CopyOf.Began.Before(began) {
			t.Errorf("the record says %+v", r.CopyOf)
		}
		w.stop()
	}
}

// What a snapshot has taken of the room itself does not count against it when it goes on.
func TestASnapshotThatGoesOnHasItsRoom(t *testing.T) {
	w := newWorld(t)
	began := time.Now()
	for _, begun := range []*time.Time{nil, &began} {
		m := &making{Snapshotter: w.Snapshotter, lane: w.lanes[0], content: &snapshots.VolumeSnapshotContent{}, record: ledger.Snapshot{Record: ledger.Record{CopyOf: &ledger.Copy{Began: begun}}}}
		err := m.checkRoom(t.Context(), share.Usage{Bytes: 1 << 62})
		shares, tryErr := copies.SharesBlocks(t.Context(), w.Keeper, "probe")
		sharetest.Must(t, tryErr)
		if (err == nil) != (begun != nil || shares) {
			t.Errorf("begun at %v: %v", begun, err)
		}
	}
}

// A snapshot of a cluster that is lost is found by its handle, in the namespace of the same name, and stays whatever becomes of the object.
func TestAnotherClustersSnapshot(t *testing.T) {
	w := newWorld(t)
	r := ledger.Snapshot{Content: "snapcontent-lost", Name: "then", Record: ledger.Record{
		PV: "pvc-9", Path: "data9", Cluster: "lost", Size: "2Gi", CopyOf: &ledger.Copy{Kind: ledger.CopyClaim, Began: new(time.Now())},
		Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "uid-9", NamespaceUID: "ns-of-team-there"},
	}}
	records := w.Store(t).Records
	sharetest.Must(t, records.BeginSnapshot(r))
	w.Tree(t, ledger.SnapshotPath(r.Own())+"/file")
	var err error
	r.Directory, err = w.Store(t).Dirs.Snapshot(r.Own())
	sharetest.Must(t, err)
	sharetest.Must(t, records.UpdateSnapshot(r))
	before := w.Snapshot(t)
	add := func(name, namespace, handle string) {
		t.Helper()
		w.api.set("volumesnapshotcontents", "", object{"metadata": object{"name": name, "finalizers": []any{snapshots.Finalizer}}, "spec": object{
			"driver": driver, "deletionPolicy": "Delete", "source": object{"snapshotHandle": handle}, "volumeSnapshotRef": object{"namespace": namespace, "name": name, "uid": "uid-" + name},
		}})
		w.api.set("volumesnapshots", namespace, object{"metadata": object{"name": name, "uid": "uid-" + name}, "spec": object{"source": object{"volumeSnapshotContentName": name}}})
	}
	for name, c := range map[string]struct{ namespace, handle, want string }{
		"nobodys":   {"team", "share-1/snapcontent-lost", "namespace team has no snapshot of handle"},
		"others":    {"other", "share-1/snapcontent-lost@lost", "namespace other has no snapshot of handle"},
		"elsewhere": {"team", "share-1/snapcontent-lost@elsewhere", "namespace team has no snapshot of handle"},
		"ours":      {"team", "share-1/snapcontent-lost@" + sharetest.Cluster, "the snapshot is of this cluster, so leave out @"},
		"hostile":   {"team", "share-1/snapcontent-lost@../x", "names no share that this claimdir serves"},
	} {
		add(name, c.namespace, c.handle)
		w.eventually(name+" is refused", func() bool {
			text := fmt.Sprint(at(w.api.get("volumesnapshotcontents", "", name), "status", "error", "message"))
			return strings.Contains(text, c.want)
		})
	}
	add("then", "team", "share-1/snapcontent-lost@lost")
	content := w.ready("then", "then")
	if handle, size := at(content, "status", "snapshotHandle"), at(content, "status", "restoreSize"); handle != "share-1/snapcontent-lost@lost" || size != float64(2<<30) {
		t.Errorf("the status says %v, %v", handle, size)
	}
	on, from, err := w.Source(t.Context(), restoring("then", "2Gi"))
	if err != nil || on != w.Keeper || from.Path != r.Own() || from.Cluster != "lost" {
		t.Errorf("the source is %+v, %v", from, err)
	}
	if _, err := steps.SnapshotTree(w.Store(t), from); err != nil {
		t.Error(err)
	}
	w.delete("then", "then")
	w.contentGone("then")
	if after := w.Snapshot(t); after != before {
		t.Errorf("it was\n%sand is\n%s", before, after)
	}
}
