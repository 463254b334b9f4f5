package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/faultfs"
	"claimdir/hack/testbed"
)

// judged is how old a record is that claimdir doctor judges, with some time to spare. A
// volume that a late call moved is back at its path by then, too.
const judged = 65 * time.Second

// operation is what the old leader is in the middle of.
type operation int

const (
	release operation = iota
	provision
	restore
)

// lateCase is an operation of a leader that comes to its end on a path which belongs to
// another volume by then.
type lateCase struct {
	policy    string
	operation operation
	// given is what the process has just seen, or written, when it decides: its answer is
	// on its way.
	given []faultfs.Call
	// call is what it changes by the path's name: the call on its way.
	call []faultfs.Call
	// restores is for a next claim that asks for the archive, too.
	restores bool
	// empty is for a volume of the operation that nobody has written to, and bare for such
	// one of the next claim: a rename replaces an empty directory.
	empty, bare bool
	// other is for a next claim that another provisioner name serves on the same share.
	other bool
}

func lateCases() map[string]lateCase {
	seen := []faultfs.Call{faultfs.Lookup.Of("data")}
	rename := []faultfs.Call{faultfs.Rename.Of("data")}
	archived := []faultfs.Call{faultfs.Rename.Of(ofArchive)}
	taken := []faultfs.Call{faultfs.Rename} // a path is taken by the first
	return map[string]lateCase{
		"delete":  {policy: "delete", operation: release, given: seen, call: rename},
		"archive": {policy: "archive", operation: release, given: seen, call: rename},
		"retain": {
			policy: "retain", operation: release,
			given: seen, call: []faultfs.Call{faultfs.Rename.Of(ofRecord)},
		},
		"provision": {
			policy: "delete", operation: provision,
			given: taken, call: []faultfs.Call{faultfs.Mkdir.Of("data")},
		},
		"restore, and the next claim is new":                   {policy: "archive", operation: restore, given: taken, call: rename},
		"restore, and the next claim is new and empty":         {policy: "archive", operation: restore, given: taken, call: rename, bare: true},
		"restore, and the next claim restores":                 {policy: "archive", operation: restore, given: taken, call: rename, restores: true},
		"archive of an empty volume":                           {policy: "archive", operation: release, given: seen, call: rename, empty: true},
		"archive, the second move":                             {policy: "archive", operation: release, given: rename, call: archived},
		"restore, the first move":                              {policy: "archive", operation: restore, given: []faultfs.Call{faultfs.Lookup.Of(ofArchive)}, call: archived},
		"restore, the first move, and the next claim restores": {policy: "archive", operation: restore, given: []faultfs.Call{faultfs.Lookup.Of(ofArchive)}, call: archived, restores: true},
		"delete, and the next claim is of another provisioner name": {
			policy: "delete", operation: release, given: seen, call: rename, other: true,
		},
	}
}

// Names that stand for those that are known only when a case runs.
const (
	ofRecord  = "the record of the volume"
	ofArchive = "the archive of the volume"
)

// TestLateCalls: a leader is stopped in the middle of an operation, a standby takes the
// lease and completes it, and the path belongs to the next claim. What the old leader, or
// the server for it, then does by the path's name must not harm that claim.
func TestLateCalls(t *testing.T) {
	t.Parallel() // with a control plane of its own, and it waits for leases and claims
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	bed, err := testbed.Start(ctx, testbed.Options{Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	withoutClass(t, bed)
	var running sync.WaitGroup // all at once: what they do is wait for leases and minutes
	run := func(name string, test func(*testing.T)) {
		running.Go(func() { t.Run(name, test) })
	}
	for name, c := range lateCases() {
		run(name+": stopped before the call", func(t *testing.T) { newLateWorld(t, bed, c).story(false) })
		run(name+": the call is on its way", func(t *testing.T) { newLateWorld(t, bed, c).story(true) })
	}
	run("an idle leader", func(t *testing.T) { newLateWorld(t, bed, lateCase{policy: "delete"}).idle() })
	running.Wait()
}

// swept is in the metrics once a sweep has ended.
var swept = regexp.MustCompile(`(?m)^claimdir_orphans_last_look_timestamp_seconds\{.*\} [1-9]`)

// lateWorld has a share that the old leader sees through slow, and all others directly.
type lateWorld struct {
	*world
	lateCase
	slow *faultfs.FS
	old  *testbed.Process // the old leader
	next string           // the class of the next claim
	pv   string           // the volume of the operation, if there is one before it
}

// newLateWorld starts the old leader, alone, with one volume that stays.
func newLateWorld(t *testing.T, bed *testbed.Bed, c lateCase) *lateWorld {
	t.Helper()
	w := &lateWorld{world: newQuietWorld(t, bed), lateCase: c}
	w.next = w.Name
	mountpoint := t.TempDir()
	var err error
	w.slow, err = faultfs.Mount(w.share, mountpoint)
	w.Must(err)
	t.Cleanup(func() { w.Must(w.slow.Close()) })
	w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}", "onDelete", c.policy)
	direct := w.share
	w.share = mountpoint
	w.old = w.start("SHARE_TIMEOUT=60s", "SWEEP_INTERVAL=1h")
	w.share, w.process = direct, w.old
	t.Cleanup(func() { _ = w.old.Resume() }) // it may have ended
	w.Claim("stays")
	w.Bound("stays")
	w.put(w.Name+"/stays/file", "stays")
	w.Eventually("the old leader has swept the share", func() error { // then only the operation looks at its path
		text, err := w.old.Get(t.Context(), "/metrics")
		if err == nil && !swept.MatchString(text) {
			err = errors.New("not yet")
		}
		return err
	})
	if c.other {
		w.startOther()
	}
	return w
}

// startOther starts a claimdir with another name on the same share, and makes its class.
func (w *lateWorld) startOther() {
	w.T.Helper()
	w.next = w.Name + "-other"
	w.createClass(&storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: w.next}, Provisioner: w.provisioner + "-other",
		Parameters: map[string]string{"pathPattern": "${.PVC.namespace}/${.PVC.name}", "onDelete": "delete"},
	})
	other := *w.world
	other.provisioner += "-other"
	other.start("SWEEP_INTERVAL=5s")
}

// data makes the claim and its volume, with a file if the case has one.
func (w *lateWorld) data() {
	w.T.Helper()
	w.Claim("data")
	if w.pv = w.Bound("data").Name; w.empty {
		return
	}
	w.put(w.Name+"/data/old", "of the old claim")
}

// prepare brings the share to where the operation begins.
func (w *lateWorld) prepare() {
	w.T.Helper()
	if w.operation == provision {
		return
	}
	w.data()
	if w.operation == restore {
		w.DeleteClaim("data")
		w.VolumeGone(w.pv)
	}
}

// begin has the old leader begin the operation.
func (w *lateWorld) begin() {
	w.T.Helper()
	switch w.operation {
	case release:
		w.DeleteClaim("data")
	case provision:
		w.Claim("data")
	case restore:
		w.Claim("data", clustertest.Annotated(annRestore, "latest"))
	}
}

// story runs the case: with the call on its way to the server when the old leader is
// stopped, or with its decision made and the call not begun.
func (w *lateWorld) story(onItsWay bool) {
	w.prepare()
	held := w.hold(onItsWay)
	w.T.Cleanup(held.Release)
	w.begin()
	select {
	case <-held.Caught():
	case <-time.After(patience):
		w.T.Fatalf("the old leader made no such call; it made %v", w.slow.Calls())
	}
	w.Must(w.old.Pause())
	if !onItsWay {
		held.Release() // the answer arrives, and is read when the leader goes on
	}
	w.process = w.start("SWEEP_INTERVAL=5s")
	w.takeOver()
	began := time.Now()
	before := w.tree()
	away := w.watchAway()

	changes := w.changes()
	if held.Release(); onItsWay {
		w.Eventually("the late call is carried out", func() error {
			if n := w.slow.Waiting(); n > 0 {
				return fmt.Errorf("%d calls hang", n)
			}
			return nil
		})
	}
	w.Must(w.old.Resume())
	w.ends(time.Now())
	if made := w.changes() - changes; made > 0 && !onItsWay {
		w.T.Errorf("the old leader, whose lease is over, asked the share for %d changes", made)
	}
	time.Sleep(time.Until(began.Add(judged)))
	w.T.Logf("the volume was away from its path for up to %v", away().Round(time.Millisecond))
	w.unharmed(before)
}

// watchAway looks, until longest is called, for how long the volume of the next claim is
// away from its path.
func (w *lateWorld) watchAway() (longest func() time.Duration) {
	stop, found := make(chan struct{}), make(chan time.Duration)
	go func() {
		var longest time.Duration
		for there := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			if _, err := os.Lstat(filepath.Join(w.share, w.Name, "data")); err == nil {
				there = time.Now()
			} else {
				longest = max(longest, time.Since(there))
			}
			select {
			case found <- longest:
				return
			case <-stop: // the test has failed
				return
			default:
			}
		}
	}()
	w.T.Cleanup(func() { close(stop) })
	return func() time.Duration { return <-found }
}

// hold has the call of the case hang, once it comes.
func (w *lateWorld) hold(onItsWay bool) *faultfs.Held {
	if onItsWay {
		return w.slow.HangOne(w.named(w.call)...)
	}
	return w.slow.HangOneAnswer(w.named(w.given)...)
}

// named puts the names of this world's record and archive in, which are called by its volume.
func (w *lateWorld) named(calls []faultfs.Call) (named []faultfs.Call) {
	names := strings.NewReplacer(ofRecord, w.own(w.pv)+".json", ofArchive, "archived-"+w.Name+"-data-"+w.pv)
	for _, call := range calls {
		named = append(named, faultfs.Call(names.Replace(string(call))))
	}
	return named
}

// takeOver has the new leader complete the operation, and the next claim take the path.
func (w *lateWorld) takeOver() {
	w.T.Helper()
	if w.operation == release {
		w.VolumeGone(w.pv)
	} else {
		uid := w.claim("data").UID
		w.DeleteClaim("data")
		w.claimGone("data", uid)
	}
	change := []func(*v1.PersistentVolumeClaim){clustertest.OfClass(w.next)}
	if w.restores {
		change = append(change, clustertest.Annotated(annRestore, "latest"))
	}
	w.Claim("data", change...)
	w.Bound("data")
	if !w.bare {
		w.put(w.Name+"/data/precious", "of the next claim")
	}
	w.Eventually("nothing is set aside", w.nothingAside)
}

func (w *lateWorld) claim(name string) *v1.PersistentVolumeClaim {
	w.T.Helper()
	claim, err := w.Admin.CoreV1().PersistentVolumeClaims(w.Name).Get(w.T.Context(), name, metav1.GetOptions{})
	w.Must(err)
	return claim
}

// ends waits until the old leader has ended, which it must do at once when it goes on.
func (w *lateWorld) ends(resumed time.Time) {
	w.T.Helper()
	select {
	case <-w.old.Ended():
		if took := time.Since(resumed); took > 5*time.Second {
			w.T.Errorf("the old leader, whose lease is over, went on for %v", took.Round(time.Millisecond))
		}
	case <-time.After(patience):
		w.T.Errorf("the old leader, whose lease is over, goes on")
	}
}

func (w *lateWorld) ended() bool {
	select {
	case <-w.old.Ended():
		return true
	default:
		return false
	}
}

// changes is how many changes of the share the old leader has asked for.
func (w *lateWorld) changes() (n int) {
	calls := w.slow.Calls()
	for _, call := range []faultfs.Call{
		faultfs.Setattr, faultfs.Mknod, faultfs.Mkdir, faultfs.Unlink, faultfs.Rmdir, faultfs.Rename, faultfs.Link, faultfs.Symlink, faultfs.Create, faultfs.Write,
	} {
		n += calls[call]
	}
	return n
}

// unharmed fails the test unless the next claim has all that it had, nothing else has
// changed either, and nothing is left of the late call.
func (w *lateWorld) unharmed(before string) {
	w.T.Helper()
	if after := w.tree(); after != before {
		w.T.Errorf("the share held\n%sand holds\n%srecords %q, trash %q", before, after, w.records(), w.entries(".claimdir/trash"))
	}
	if err := w.nothingAside(); err != nil {
		w.T.Error(err)
	}
	for _, name := range []string{"data", "stays"} {
		claim := w.claim(name)
		pv, err := w.Admin.CoreV1().PersistentVolumes().Get(w.T.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
		if err != nil || claim.Status.Phase != v1.ClaimBound || pv.Status.Phase != v1.VolumeBound {
			w.T.Errorf("claim %s is %s, its volume %s (%v)", name, claim.Status.Phase, pv.Status.Phase, err)
		}
	}
	out, err := w.bed.Run(w.T.Context(), testbed.Config{Share: w.share, Provisioner: w.provisioner}, "doctor")
	if err != nil || !strings.Contains(out, ": 0 findings.") {
		w.T.Errorf("doctor: %v\n%s", err, out)
	}
	pv := w.claim("data").Spec.VolumeName
	w.DeleteClaim("data")
	w.Patience = 30 * time.Second
	w.VolumeGone(pv) // and its own release is not refused
}

// nothingAside: the trash is empty, and nothing is on its way to an archive or from one.
func (w *lateWorld) nothingAside() error {
	for _, in := range []string{trashDir, ".claimdir/moving"} {
		left, err := os.ReadDir(filepath.Join(w.share, in))
		if errors.Is(err, fs.ErrNotExist) { // made when it is needed
			continue
		}
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%s holds %v", in, left)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tree lists all directories and files of the share with their content, but not claimdir's
// own.
func (w *lateWorld) tree() string {
	w.T.Helper()
	var list strings.Builder
	w.Must(filepath.WalkDir(w.share, func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || name == w.share {
			return nil
		}
		if err != nil {
			return err
		}
		if entry.Name() == ".claimdir" {
			return fs.SkipDir
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		var content []byte
		if !entry.IsDir() {
			if content, err = os.ReadFile(name); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintf(&list, "\t%s %v %q\n", strings.TrimPrefix(name, w.share+"/"), info.Mode(), content)
		return err
	}))
	return list.String()
}

// idle: a leader without anything to do is stopped for longer than its lease. It must
// begin nothing when it goes on, whatever there is to do by then.
func (w *lateWorld) idle() {
	w.Must(w.old.Pause())
	w.process = w.start("SWEEP_INTERVAL=5s")
	w.Claim("first")
	w.Bound("first")
	changes := w.changes()
	w.Must(w.old.Resume())
	resumed := time.Now()
	for n := 0; time.Since(resumed) < 15*time.Second && !w.ended(); n++ {
		w.Claim(fmt.Sprint("claim-", n))
		time.Sleep(200 * time.Millisecond)
	}
	w.ends(resumed)
	if made := w.changes() - changes; made > 0 {
		w.T.Errorf("the old leader, whose lease is over, asked the share for %d changes", made)
	}
}
