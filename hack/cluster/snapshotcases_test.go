package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/hack/testbed"
)

func (w *world) withoutCancel() context.Context { return context.WithoutCancel(w.T.Context()) }

// Without the CRDs and our rights claimdir works as ever, and finds them when they come.
func testSnapshotsLate(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class()
	w.Claim("data")
	w.write("data", "first")
	w.Must(bed.AddSnapshots(t.Context()))
	w.snapshotClass(w.Name, "Delete", nil, nil)
	w.snapshot("late", "data", w.Name)
	begin := time.Now()
	_, content := w.ready("late") // claimdir looks once a minute
	t.Logf("ready after %v", time.Since(begin).Round(time.Millisecond))
	w.wantFile(w.treeOf(content.GetName())+"/file", "first")
	w.healthy()
}

func testSnapshot(t *testing.T, bed *testbed.Bed) {
	w := newSnapshotWorld(t, bed, "Delete", nil)
	w.logged("VolumeSnapshots are served")
	pv := w.Bound("data")
	dir := w.dirOf("data")
	w.Must(os.MkdirAll(filepath.Join(w.share, dir, "deep/er"), 0o755))
	w.put(dir+"/deep/er/file", "below")
	before := time.Now()
	w.unused("data", true)
	snapshot := w.snapshot("now", "data", w.Name)
	ready, content := w.ready("now")
	t.Logf("ready after %v", time.Since(before).Round(time.Millisecond))
	for path, want := range map[string]string{
		"spec.source.volumeHandle":     w.shareID() + "/" + dir + "#" + pv.Name,
		"spec.sourceVolumeMode":        "Filesystem",
		"spec.volumeSnapshotClassName": w.Name,
		"spec.deletionPolicy":          "Delete",
		"spec.driver":                  w.provisioner,
		"spec.volumeSnapshotRef.uid":   string(snapshot.GetUID()),
		"spec.volumeSnapshotRef.kind":  "VolumeSnapshot",
		"status.snapshotHandle":        w.shareID() + "/snapcontent-" + string(snapshot.GetUID()),
		"status.restoreSize":           "1048576",
		"status.readyToUse":            "true",
		"status.error":                 "",
	} {
		if got := field(content, strings.Split(path, ".")...); got != want {
			t.Errorf("%s of the content is %q, want %q", path, got, want)
		}
	}
	if content.GetName() != "snapcontent-"+string(snapshot.GetUID()) {
		t.Errorf("the content is %s", content.GetName())
	}
	if size := field(ready, "status", "restoreSize"); size != "1Mi" {
		t.Errorf("restoreSize is %s", size)
	}
	began, err := time.Parse(time.RFC3339, field(ready, "status", "creationTime"))
	if err != nil || began.Before(before.Add(-time.Second)) || began.After(time.Now()) {
		t.Errorf("creationTime is %v, %v; the snapshot was asked for at %v", began, err, before)
	}
	w.put(dir+"/file", "second") // a later change is not in it
	w.wantFile(w.treeOf(content.GetName())+"/file", "first")
	w.wantFile(w.treeOf(content.GetName())+"/deep/er/file", "below")
	w.EventOfAnyType(w.Name, "now", "SnapshotMade: the snapshot is a copy of claim data, from .* to .*, no pod used the source")
	for _, warning := range w.Warnings(w.Name, "now") { // the snapshot-controller may be the faster one
		if !strings.Contains(warning, "cannot find CSI PersistentVolumeSource") {
			t.Errorf("the snapshot has the event %s", warning)
		}
	}
	if left := w.entries(".claimdir/copies"); len(left) > 0 {
		t.Errorf("left of the copy: %q", left)
	}
	// The snapshot outlives its claim.
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)
	w.wantFile(w.treeOf(content.GetName())+"/file", "first")
	w.deleteSnapshot("now")
	w.snapshotGone("now")
	w.healthy()
}

func testSnapshotDeleted(t *testing.T, bed *testbed.Bed) {
	w := newSnapshotWorld(t, bed, "Delete", nil)
	w.snapshotClass(w.Name+"-retain", "Retain", map[string]any{"retention": "30d"}, nil)
	w.snapshot("goes", "data", w.Name)
	w.snapshot("stays", "data", w.Name+"-retain")
	_, goes := w.ready("goes")
	_, stays := w.ready("stays")

	w.deleteSnapshot("goes")
	w.snapshotGone("goes")
	w.contentGone(goes.GetName())
	if slices.Contains(w.snapshotsOnShare(), w.own(goes.GetName())) {
		t.Errorf("the data of a deleted snapshot is on the share: %q", w.snapshotsOnShare())
	}
	w.Eventually("the trash is empty", func() error {
		if left := w.entries(trashDir); len(left) > 0 {
			return fmt.Errorf("it has %q", left)
		}
		return nil
	})

	// Retain: the content stays, and its data; then the object goes, and the data is kept.
	w.deleteSnapshot("stays")
	w.snapshotGone("stays")
	if _, err := w.getContent(stays.GetName()); err != nil {
		t.Fatal(err)
	}
	handle := field(stays, "status", "snapshotHandle")
	w.deleteContent(stays.GetName())
	w.contentGone(stays.GetName())
	w.wantFile(w.treeOf(stays.GetName())+"/file", "first")
	record := w.snapshotRecord(stays.GetName())
	until, err := time.Parse(time.RFC3339, fmt.Sprint(record["until"]))
	if err != nil || until.Before(time.Now().Add(29*24*time.Hour)) || until.After(time.Now().Add(31*24*time.Hour)) {
		t.Errorf("the kept snapshot's record says until %v, %v", record["until"], err)
	}

	// It is found again by its handle, and is deleted with its new object.
	w.makeContent(w.Name+"-again", v1.ObjectReference{Namespace: w.Name, Name: "again"}, map[string]any{"snapshotHandle": handle}, "Delete")
	w.snapshotOf("again", map[string]any{"volumeSnapshotContentName": w.Name + "-again"}, "")
	again, _ := w.ready("again")
	if size := field(again, "status", "restoreSize"); size != "1Mi" {
		t.Errorf("restoreSize is %s", size)
	}
	if record := w.snapshotRecord(stays.GetName()); record["until"] != nil {
		t.Errorf("a snapshot that an object names again still expires: %v", record["until"])
	}
	w.deleteSnapshot("again")
	w.snapshotGone("again")
	w.contentGone(w.Name + "-again")
	if left := w.snapshotsOnShare(); len(left) > 0 {
		t.Errorf("left on the share: %q", left)
	}
	w.healthy()
}

func testSnapshotDefaultClass(t *testing.T, bed *testbed.Bed) {
	w := newSnapshotWorld(t, bed, "Delete", nil)
	w.snapshot("plain", "data", "")
	w.Event(w.Name, "plain", "SetDefaultSnapshotClassFailed") // says the snapshot-controller
	w.snapshotClass(w.Name+"-default", "Delete", nil, map[string]any{"snapshot.storage.kubernetes.io/is-default-class": "true"})
	snapshot, _ := w.ready("plain")
	if class := field(snapshot, "spec", "volumeSnapshotClassName"); class != w.Name+"-default" {
		t.Errorf("it has the class %q", class)
	}
	if text := field(snapshot, "status", "error"); text != "" {
		t.Errorf("it still has the error %s", text)
	}
	w.snapshotClass(w.Name+"-other", "Delete", nil, map[string]any{"snapshot.storage.kubernetes.io/is-default-class": "true"})
	w.snapshot("ambiguous", "data", "")
	w.Event(w.Name, "ambiguous", "2 VolumeSnapshotClasses of claimdir are marked as the default one")
	w.healthy()
}

func testSnapshotRefused(t *testing.T, bed *testbed.Bed) {
	w := newSnapshotWorld(t, bed, "Delete", map[string]any{"maxSnapshots": "2"})
	w.snapshotClass(w.Name+"-wrong", "Delete", map[string]any{"retention": "30d", "color": "red"}, nil)
	w.snapshot("wrong", "data", w.Name+"-wrong")
	w.Event(w.Name, "wrong", `SnapshotRefused: VolumeSnapshotClass \S+-wrong: .*retention.*unknown parameter "color"; allowed are "retention" and "maxSnapshots"`)

	// A claim of somebody else's volume.
	foreign := handPV(w.Name+"-foreign", testbed.Server, testbed.Export+"/foreign")
	foreign.Spec.ClaimRef = &v1.ObjectReference{Namespace: w.Name, Name: "foreign"}
	foreign.Spec.StorageClassName = ""
	_, err := bed.Admin.CoreV1().PersistentVolumes().Create(t.Context(), foreign, metav1.CreateOptions{})
	w.Must(err)
	w.Claim("foreign", func(c *v1.PersistentVolumeClaim) {
		c.Spec.StorageClassName, c.Spec.VolumeName = new(""), foreign.Name
		c.Spec.AccessModes, c.Spec.Resources.Requests = foreign.Spec.AccessModes, foreign.Spec.Capacity
	})
	w.Bound("foreign")
	w.snapshot("foreign", "foreign", w.Name)
	w.Event(w.Name, "foreign", `SnapshotRefused: .*the volume of claim "foreign" is none of claimdir's`)

	for _, name := range []string{"one", "two"} {
		w.snapshot(name, "data", w.Name)
		w.ready(name)
	}
	w.snapshot("three", "data", w.Name)
	w.Event(w.Name, "three", `SnapshotRefused: claim "data" has 2 snapshots, which is as many as VolumeSnapshotClass \S+ allows`)
	if n := len(w.snapshotsOnShare()); n != 2 {
		t.Errorf("%d snapshots are on the share", n)
	}
	w.deleteSnapshot("one")
	w.ready("three")
	w.healthy()
}

// Whoever may make VolumeSnapshotContents gets no other namespace's data by them, and no other data is removed with them.
func testSnapshotHostile(t *testing.T, bed *testbed.Bed) {
	w := newSnapshotWorld(t, bed, "Retain", nil)
	victim, pv := w.dirOf("data"), w.Bound("data").Name
	w.snapshot("good", "data", w.Name)
	_, good := w.ready("good")
	handle := field(good, "status", "snapshotHandle")

	other := w.newNamespace()
	cases := map[string]map[string]any{
		"their-snapshot":   {"snapshotHandle": handle},
		"no-such-snapshot": {"snapshotHandle": w.shareID() + "/snapcontent-0"},
		"dots":             {"snapshotHandle": w.shareID() + "/../../" + victim},
		"other-share":      {"snapshotHandle": "elsewhere/" + good.GetName()},
		"their-volume":     {"volumeHandle": w.shareID() + "/" + victim + "#" + pv},
		"volume-dots":      {"volumeHandle": w.shareID() + "/../secret#" + pv},
		"volume-meta":      {"volumeHandle": w.shareID() + "/.claimdir/records#" + pv},
		"volume-wrong":     {"volumeHandle": w.shareID() + "/elsewhere#" + pv},
		"no-volume":        {"volumeHandle": w.shareID() + "/" + victim + "#nobody"},
		"garbage":          {"volumeHandle": "#/"},
	}
	for name, source := range cases {
		ref := v1.ObjectReference{Namespace: other, Name: name}
		content := w.Name + "-" + name
		if source["volumeHandle"] != nil { // one is made only for a VolumeSnapshot that is there
			ref.UID = types.UID("11111111-2222-3333-4444-" + strings.Repeat("0", 12))
		}
		w.makeContent(content, ref, source, "Delete")
	}
	for name := range cases {
		content := w.Name + "-" + name
		w.Event("default", content, "SnapshotRefused: ")
		w.Eventually("the status says so", func() error {
			got, err := w.getContent(content)
			if err == nil && (field(got, "status", "readyToUse") == "true" || field(got, "status", "error", "message") == "") {
				err = fmt.Errorf("%v", got.Object["status"])
			}
			return err
		})
	}
	// The owner of a namespace makes a VolumeSnapshot in it that names such a content.
	w.snapshotIn(other, "their-snapshot", w.Name+"-their-snapshot")
	for name := range cases {
		if name != "their-snapshot" { // that one goes with its VolumeSnapshot
			w.deleteContent(w.Name + "-" + name)
		}
	}
	for name := range cases {
		w.contentGone(w.Name + "-" + name)
	}
	w.wantFile(w.treeOf(good.GetName())+"/file", "first")
	w.wantFile(victim+"/file", "first")
	if n := len(w.snapshotsOnShare()); n != 1 {
		t.Errorf("the share has %d snapshots: %q", n, w.snapshotsOnShare())
	}

	// Foreign objects are left alone.
	w.provisioner = "somebody.else/" + w.Name
	w.makeContent(w.Name+"-foreign", v1.ObjectReference{Namespace: w.Name, Name: "foreign"}, map[string]any{"snapshotHandle": handle}, "Retain")
	w.snapshotClass(w.Name+"-foreign", "Delete", nil, nil)
	w.snapshot("not-ours", "data", w.Name+"-foreign")
	w.Event(w.Name, "not-ours", "cannot find CSI PersistentVolumeSource")
	if got, err := w.getContent(w.Name + "-foreign"); err != nil || got.Object["status"] != nil {
		t.Errorf("a foreign content has the status %v, %v", got.Object["status"], err)
	}
	w.healthy()
}

// Whatever is cut off is completed by the next process.
func testSnapshotKilled(t *testing.T, bed *testbed.Bed) {
	w := newSnapshotWorld(t, bed, "Delete", map[string]any{"maxSnapshots": "100"})
	dir := w.dirOf("data")
	for i := range 300 {
		w.put(fmt.Sprintf("%s/%03d", dir, i), strings.Repeat("x", 1000))
	}
	const rounds = 8
	for i := range rounds {
		w.snapshot(fmt.Sprintf("killed-%d", i), "data", w.Name)
		time.Sleep(time.Duration(i*40) * time.Millisecond) // a kill at another point each time
		w.process.Kill()
		if i%2 == 1 { // deleted while nobody runs
			w.deleteSnapshot(fmt.Sprintf("killed-%d", i))
		}
		w.process = w.start()
	}
	for i := range rounds {
		name := fmt.Sprintf("killed-%d", i)
		if i%2 == 1 {
			w.snapshotGone(name)
			continue
		}
		_, content := w.ready(name)
		if n := len(w.entries(w.treeOf(content.GetName()))); n != 301 {
			t.Errorf("snapshot %s has %d files", name, n)
		}
	}
	w.Eventually("nothing else is left on the share", func() error {
		if n := len(w.snapshotsOnShare()); n != rounds/2 {
			return fmt.Errorf("there are %d snapshots: %q", n, w.snapshotsOnShare())
		}
		if left := w.entries(".claimdir/copies"); len(left) > 0 {
			return fmt.Errorf("there are copies: %q", left)
		}
		if left := w.entries(trashDir); len(left) > 0 {
			return fmt.Errorf("the trash has %q", left)
		}
		return nil
	})
	w.healthy()
}

func testSnapshotMany(t *testing.T, bed *testbed.Bed) {
	const many = 200
	w := newSnapshotWorld(t, bed, "Delete", map[string]any{"maxSnapshots": "1000"})
	begin := time.Now()
	for i := range many {
		w.snapshot(fmt.Sprintf("s-%03d", i), "data", w.Name)
	}
	made := time.Now()
	var ready []time.Duration
	snapshots := map[string]string{} // the content of each
	for i := range many {
		snapshot, content := w.ready(fmt.Sprintf("s-%03d", i))
		snapshots[w.Name+"/"+snapshot.GetName()] = "/" + content.GetName()
		ready = append(ready, time.Since(begin))
	}
	created := w.createdAt()
	var took []time.Duration
	for snapshot, content := range snapshots {
		took = append(took, created[content].Sub(created[snapshot]))
	}
	slices.Sort(took)
	warned := 0
	for i := range many {
		warned += min(1, len(w.Warnings(w.Name, fmt.Sprintf("s-%03d", i))))
	}
	t.Logf("%d snapshots asked for in %v, all ready after %v; from snapshot to content: median %v, 95 %% %v, most %v; %d have a warning event",
		many, made.Sub(begin).Round(time.Millisecond), slices.Max(ready).Round(time.Millisecond),
		took[many/2].Round(time.Millisecond), took[many*95/100].Round(time.Millisecond), took[many-1].Round(time.Millisecond), warned)
	if warned > many/4 { // a few, on a busy machine: the snapshot-controller may be the faster one
		t.Errorf("%d of %d snapshots have a warning event", warned, many)
	}
	for i := range many {
		w.deleteSnapshot(fmt.Sprintf("s-%03d", i))
	}
	for i := range many {
		w.snapshotGone(fmt.Sprintf("s-%03d", i))
	}
	if left := w.snapshotsOnShare(); len(left) > 0 {
		t.Errorf("left on the share: %q", left)
	}
	w.healthy()
}

// A snapshot that is deleted while a claim is to be restored from it goes when the claim has its data.
func testSnapshotDeletedWhileRestored(t *testing.T, bed *testbed.Bed) {
	w := newSnapshotWorld(t, bed, "Delete", nil)
	w.snapshot("now", "data", w.Name)
	_, content := w.ready("now")
	w.process.Kill()
	w.Claim("restored", restoredFrom("now"))
	w.deleteSnapshot("now")
	w.deleteContent(content.GetName()) // by force, past the protection of the snapshot-controller
	w.process = w.start()
	w.wantFile(w.dirOf("restored")+"/file", "first")
	w.snapshotGone("now")
	w.contentGone(content.GetName())
	if left := w.snapshotsOnShare(); len(left) > 0 {
		t.Errorf("left on the share: %q", left)
	}
}
