package provisioner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

// These tests hold what package steps promises of calls that come late: a process that
// was suspended in the middle of an operation goes on when its path is another volume's,
// and that one loses nothing.

// errLease is what a process gets for each call after its lease is over.
var errLease = errors.New("the lease is over")

// suspension stops a process at its n-th call to the share, before the call is carried
// out or before its answer comes, until it is resumed.
type suspension struct {
	n       int
	after   bool
	refused bool // it makes no call any more once it is resumed

	at, resume chan struct{}

	mu    sync.Mutex
	made  int
	where string
	ended bool
}

func suspend(n int, after, refused bool) *suspension {
	return &suspension{n: n, after: after, refused: refused, at: make(chan struct{}), resume: make(chan struct{})}
}

func (s *suspension) call(name string, call func() error) error {
	s.mu.Lock()
	s.made++
	mine, ended := s.made == s.n, s.ended
	if mine {
		s.where = name
	}
	s.mu.Unlock()
	switch {
	case ended && s.refused:
		return errLease
	case !mine:
		return call()
	}
	if !s.after {
		s.stop()
		return call()
	}
	err := call()
	s.stop()
	return err
}

func (s *suspension) stop() {
	close(s.at)
	<-s.resume
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// scene is a share with the process that is suspended and the one that leads after it.
type scene struct {
	*world // the one that is suspended

	next  *world // leads after it
	owner *world // serves the claim that gets the path then
	held  *suspension
	pv    *v1.PersistentVolume // of the operation's volume, where the story has one
	late  *v1.PersistentVolume // what the suspended process returned
}

const (
	latePath = "team/data"
	lateFile = latePath + "/file-of-pvc-1"
)

// story is one operation on latePath.
type story struct {
	// policy of pvc-1, also for what becomes of its content in the end.
	policy string
	// set prepares the share.
	set func(t *testing.T, s *scene)
	// act is the operation.
	act func(t *testing.T, s *scene) error
	// finish is what the next leader does, after which the path is free.
	finish func(t *testing.T, s *scene)
	// sameOwner says that only a claim of the same cluster can get the path.
	sameOwner bool
	// asks is the archive that the next claim asks for.
	asks string
}

func (s *scene) class(policy string, more ...string) map[string]string {
	return at(latePath, append([]string{"onDelete", policy, "mode", "2750"}, more...)...)
}

func (s *scene) make(t *testing.T, policy string, more ...string) {
	t.Helper()
	s.pv = s.provision(t, options("ns/data", "pvc-1", s.class(policy, more...)))
}

// provisionLate is what the suspended process does, which may return a volume.
func (s *scene) provisionLate(t *testing.T, policy string, more ...string) error {
	pv, _, err := s.Provision(t.Context(), options("ns/data", "pvc-1", s.class(policy, more...)))
	if err == nil {
		s.late = pv
	}
	return err
}

// completes repeats the provision, and releases the volume with something in it.
func (s *scene) completes(t *testing.T, policy string, more ...string) {
	t.Helper()
	pv := s.next.provision(t, options("ns/data", "pvc-1", s.class(policy, more...)))
	s.Tree(t, lateFile)
	must(t, s.next.Delete(t.Context(), pv))
}

func (s *scene) released(t *testing.T) {
	t.Helper()
	must(t, s.next.Delete(t.Context(), s.pv))
}

// orphan removes what is left of pvc-1, as the sweep does.
func (w *world) removeOrphan(ctx context.Context, on steps.Share) error {
	return w.onPath(ctx, on, func(ctx context.Context, op steps.Op) error { return op.RemoveOrphan(ctx, onlyFirst) })
}

func (w *world) fixOrphan(ctx context.Context, on steps.Share) error {
	return w.onPath(ctx, on, func(ctx context.Context, op steps.Op) error {
		err := op.RemoveOrphan(ctx, onlyFirst)
		if errors.Is(err, steps.ErrOrphanKept) {
			_, err = op.ArchiveOrphan(ctx, onlyFirst)
		}
		return err
	})
}

func (w *world) onPath(ctx context.Context, on steps.Share, do func(ctx context.Context, op steps.Op) error) error {
	path, err := volpath.Parse(latePath)
	if err != nil {
		return err
	}
	return w.Steps.On(ctx, on, path, "work on "+latePath, do)
}

// onlyFirst lets nothing but pvc-1 go.
func onlyFirst(_ context.Context, r ledger.Record) error {
	if r.PV != "pvc-1" {
		return steps.ErrNoOrphan
	}
	return nil
}

func (w *world) noOrphanLeft(t *testing.T) {
	t.Helper()
	if err := w.removeOrphan(t.Context(), w.Keeper); err != nil && !errors.Is(err, steps.ErrNoOrphan) && !errors.Is(err, steps.ErrOrphanKept) {
		t.Fatal(err)
	}
}

func (s *scene) direct(t *testing.T) steps.Share {
	return steps.Direct{From: s.Keeper.Source(), Store: s.Store(t), Call: s.held.call}
}

const (
	lateArchive = "archived-ns-data-pvc-0"
	otherFile   = lateArchive + "/file-of-pvc-0"
)

// setArchive makes an archive of pvc-0.
func setArchive(t *testing.T, s *scene) {
	t.Helper()
	pv := s.provision(t, options("ns/data", "pvc-0", s.class("archive")))
	s.Tree(t, latePath+"/file-of-pvc-0")
	must(t, s.Delete(t.Context(), pv))
}

func (w *world) onArchive(ctx context.Context, on steps.Share, do func(ctx context.Context, op steps.Op) error) error {
	path, err := volpath.ParseRecorded(lateArchive)
	if err != nil {
		return err
	}
	err = w.Steps.On(ctx, on, path, "work on "+lateArchive, do)
	if errors.Is(err, steps.ErrNoArchive) {
		return nil
	}
	return err
}

func discard(ctx context.Context, op steps.Op) error {
	_, err := op.DiscardArchive(ctx, nil)
	return err
}

func expire(ctx context.Context, op steps.Op) error {
	return op.Expire(ctx, func(context.Context, ledger.Record) bool { return true })
}

// movedAway makes pvc-1 and moves its directory away, as a call that came late does.
func movedAway(in string) func(t *testing.T, s *scene) {
	return func(t *testing.T, s *scene) {
		t.Helper()
		s.make(t, "delete")
		s.Tree(t, lateFile)
		own := volpath.Trash("pvc-0", sharetest.Cluster, 1)
		must(t, os.MkdirAll(s.Dir+"/.claimdir/"+in+"/"+own, 0o700))
		must(t, os.Rename(s.Dir+"/"+latePath, s.Dir+"/.claimdir/"+in+"/"+own+"/volume"))
	}
}

func (w *world) lookAfter(ctx context.Context, pv string) error {
	return w.onPath(ctx, w.Keeper, func(ctx context.Context, op steps.Op) error { return op.LookAfter(ctx, pv) })
}

// emptyByCalls empties the trash as package trash does, through the keeper.
func (w *world) emptyByCalls(ctx context.Context) error {
	var names []string
	err := w.Keeper.Do(ctx, "list the trash", func(_ context.Context, store ledger.Store) (err error) {
		names, err = store.Records.ListTrash()
		return err
	})
	for _, name := range names {
		if err != nil {
			return err
		}
		_, _, err = w.Steps.EmptyTrash(ctx, ctx, w.Keeper, name, share.NewRemover(1, 0))
		if refused, ok := errors.AsType[*refusal.Refusal](err); errors.Is(err, steps.ErrNotTrash) || ok && refused.Reason() == refusal.ReasonBusy {
			err = nil
		}
	}
	return err
}

func orphaned(state ledger.State, more ...string) func(t *testing.T, s *scene) {
	return func(t *testing.T, s *scene) {
		t.Helper()
		s.make(t, "delete")
		if state != ledger.Active {
			r := s.Record(t, latePath)
			r.State, r.Directory = state, nil
			must(t, s.Store(t).Records.Update(sharetest.PathOf(t, latePath), r))
		}
		s.Tree(t, more...)
	}
}

func stories() map[string]story {
	release := func(t *testing.T, s *scene) error { return s.Delete(t.Context(), s.pv) }
	set := func(policy string, more ...string) func(t *testing.T, s *scene) {
		return func(t *testing.T, s *scene) {
			t.Helper()
			s.make(t, policy)
			s.Tree(t, more...)
		}
	}
	retained := func(t *testing.T, s *scene) {
		t.Helper()
		pv := s.provision(t, options("ns/data", "pvc-0", s.class("retain")))
		s.Tree(t, latePath+"/file-of-pvc-0")
		must(t, s.Delete(t.Context(), pv))
	}
	nothing := func(*testing.T, *scene) {}
	restore := func(t *testing.T, s *scene) error {
		pv, _, err := s.Provision(t.Context(), asks(options("ns/data", "pvc-1", s.class("delete")), "pvc-0"))
		if err == nil {
			s.late = pv
		}
		return err
	}
	return map[string]story{
		"provision, repeated": {policy: "delete", set: nothing,
			act:    func(t *testing.T, s *scene) error { return s.provisionLate(t, "delete") },
			finish: func(t *testing.T, s *scene) { s.completes(t, "delete") }},
		"provision, given up": {policy: "delete", set: nothing,
			act:    func(t *testing.T, s *scene) error { return s.provisionLate(t, "delete") },
			finish: func(t *testing.T, s *scene) { s.next.noOrphanLeft(t) }},
		"provision, taken up": {policy: "delete", set: nothing, sameOwner: true,
			act:    func(t *testing.T, s *scene) error { return s.provisionLate(t, "delete") },
			finish: func(t *testing.T, s *scene) { s.next.giveUpActive(t) }},
		"adopt": {policy: "delete", set: func(t *testing.T, s *scene) { s.Tree(t, latePath+"/of-an-administrator") },
			act:    func(t *testing.T, s *scene) error { return s.provisionLate(t, "delete", "onExisting", "adopt") },
			finish: func(t *testing.T, s *scene) { s.completes(t, "delete", "onExisting", "adopt") }},
		"take over": {policy: "delete", set: retained,
			act:    func(t *testing.T, s *scene) error { return s.provisionLate(t, "delete") },
			finish: func(t *testing.T, s *scene) { s.completes(t, "delete") }},
		"take over, retained again": {policy: "retain", set: retained, sameOwner: true,
			act:    func(t *testing.T, s *scene) error { return s.provisionLate(t, "retain") },
			finish: func(t *testing.T, s *scene) { s.completes(t, "retain") }},
		"delete":             {policy: "delete", set: set("delete", lateFile), act: release, finish: releasedBy},
		"delete of nothing":  {policy: "delete", set: set("delete"), act: release, finish: releasedBy},
		"archive":            {policy: "archive", set: set("archive", lateFile), act: release, finish: releasedBy},
		"archive of nothing": {policy: "archive", set: set("archive"), act: release, finish: releasedBy},
		"archive, restored":  {policy: "moved", set: set("archive", lateFile), act: release, finish: releasedBy, asks: "pvc-1", sameOwner: true},
		"retain":             {policy: "retain", set: set("retain", lateFile), act: release, finish: releasedBy, sameOwner: true},
		"retain, another's": {policy: "retain", set: set("retain", lateFile), act: release, finish: func(t *testing.T, s *scene) {
			s.released(t)
			must(t, os.Rename(s.Dir+"/"+latePath, s.Dir+"/kept"))
			must(t, s.next.onPath(t.Context(), s.next.Keeper, func(ctx context.Context, op steps.Op) error { return op.RemoveMissing(ctx, onlyFirst) }))
		}},
		"restore": {policy: "delete", set: setArchive, act: restore, finish: func(t *testing.T, s *scene) {
			pv := s.next.provision(t, asks(options("ns/data", "pvc-1", s.class("delete")), "pvc-0"))
			s.Tree(t, lateFile)
			must(t, s.next.Delete(t.Context(), pv))
		}},
		"restore, given up": {policy: "delete", set: setArchive, act: restore, finish: func(t *testing.T, s *scene) {
			s.next.noOrphanLeft(t)
			s.next.giveUpActive(t)
		}},
		"expire": {policy: "delete", set: setArchive, finish: func(t *testing.T, s *scene) {
			must(t, s.next.onArchive(t.Context(), s.next.Keeper, expire))
		}, act: func(t *testing.T, s *scene) error { return s.onArchive(t.Context(), s.Keeper, expire) }},
		"expire, restored": {policy: "delete", set: setArchive, finish: nothingButBack, asks: "pvc-0", sameOwner: true,
			act: func(t *testing.T, s *scene) error { return s.onArchive(t.Context(), s.Keeper, expire) }},
		"purge": {policy: "delete", set: setArchive, finish: func(t *testing.T, s *scene) {
			must(t, s.next.onArchive(t.Context(), s.next.Keeper, discard))
		}, act: func(t *testing.T, s *scene) error { return s.onArchive(t.Context(), s.direct(t), discard) }},
		"purge, restored": {policy: "delete", set: setArchive, finish: nothingButBack, asks: "pvc-0", sameOwner: true,
			act: func(t *testing.T, s *scene) error { return s.onArchive(t.Context(), s.direct(t), discard) }},
		"remove an orphan": {policy: "delete", set: orphaned(ledger.Active),
			act:    func(t *testing.T, s *scene) error { return s.removeOrphan(t.Context(), s.Keeper) },
			finish: func(t *testing.T, s *scene) { s.next.noOrphanLeft(t) }},
		"remove an unfinished orphan": {policy: "delete", set: orphaned(ledger.Creating),
			act:    func(t *testing.T, s *scene) error { return s.removeOrphan(t.Context(), s.Keeper) },
			finish: func(t *testing.T, s *scene) { s.next.noOrphanLeft(t) }},
		"remove an orphan, taken up": {policy: "delete", set: orphaned(ledger.Creating), sameOwner: true,
			act:    func(t *testing.T, s *scene) error { return s.removeOrphan(t.Context(), s.Keeper) },
			finish: nothing},
		"fix an orphan": {policy: "archive", set: orphaned(ledger.Active, lateFile),
			act: func(t *testing.T, s *scene) error { return s.fixOrphan(t.Context(), s.direct(t)) },
			finish: func(t *testing.T, s *scene) {
				if err := s.next.fixOrphan(t.Context(), s.next.Keeper); err != nil && !errors.Is(err, steps.ErrNoOrphan) {
					t.Fatal(err)
				}
			}},
		"empty the trash": {policy: "delete", set: func(t *testing.T, s *scene) {
			s.make(t, "delete")
			s.Tree(t, lateFile, latePath+"/tree/file")
			s.released(t)
		}, act: func(t *testing.T, s *scene) error { return s.emptyByCalls(t.Context()) }, finish: nothing},
		"look after, in the trash": {policy: "delete", set: movedAway(share.TrashDir), finish: releasedBy,
			act: func(t *testing.T, s *scene) error { return s.lookAfter(t.Context(), "pvc-1") }},
		"look after, set aside": {policy: "delete", set: movedAway(share.MovingDir), finish: releasedBy,
			act: func(t *testing.T, s *scene) error { return s.lookAfter(t.Context(), "pvc-1") }},
		"put back from the trash": {policy: "delete", set: movedAway(share.TrashDir), finish: releasedBy,
			act: func(t *testing.T, s *scene) error { return s.emptyByCalls(t.Context()) }},
		"bring back": {policy: "delete", set: movedAway(share.MovingDir), finish: releasedBy,
			act: func(t *testing.T, s *scene) error {
				_, err := s.Steps.BringBackAside(t.Context(), s.Keeper)
				return err
			}},
	}
}

func releasedBy(t *testing.T, s *scene) { s.released(t) }

// nothingButBack brings an archive back that lies in the trash or aside.
func nothingButBack(*testing.T, *scene) {}

// giveUpActive removes an empty volume that was completed for a claim that is gone.
func (w *world) giveUpActive(t *testing.T) {
	t.Helper()
	r, found, err := w.Store(t).Records.Lookup(sharetest.PathOf(t, latePath))
	must(t, err)
	if !found || r.State != ledger.Active {
		return
	}
	pv := w.provision(t, options("ns/data", "pvc-1", at(latePath, "onDelete", "delete", "mode", "2750")))
	must(t, w.Delete(t.Context(), pv))
}

// lateCase is one run of a story.
type lateCase struct {
	story

	n       int
	after   bool
	refused bool
	empty   bool   // the next volume gets no content
	owner   string // of the next volume
}

func (c lateCase) String() string {
	when, then, content := "before", "goes on", "content"
	if c.after {
		when = "after"
	}
	if c.refused {
		then = "ends"
	}
	if c.empty {
		content = "empty"
	}
	return fmt.Sprintf("%s call %d, %s, %s, %s", when, c.n, then, content, c.owner)
}

// ofItsOwn gives a process its own view of the cluster.
func (w *world) ofItsOwn(t *testing.T) *world {
	t.Helper()
	w.Seen = &sharetest.Seen{PVs: slices.Clone(w.Seen.PVs), Classes: maps.Clone(w.Seen.Classes)}
	w.restart(t)
	return w
}

// run reports whether the operation has the call.
func (c lateCase) run(t *testing.T, tally *lateTally) bool {
	s := &scene{world: newWorld(t), held: suspend(c.n, c.after, c.refused)}
	s.next = s.beside(t, sharetest.Cluster).ofItsOwn(t)
	c.set(t, s)
	s.Hook(s.held.call)
	done := make(chan error, 1)
	go func() { done <- c.act(t, s) }()
	select {
	case <-s.held.at:
	case err := <-done:
		must(t, err)
		return false
	}
	resume := sync.OnceFunc(func() { close(s.held.resume) })
	defer resume()
	c.finish(t, s)
	must(t, s.next.emptyByCalls(t.Context()))
	pv := c.nextVolume(t, s, resume)
	before := s.everything(t)
	resume()
	select {
	case err := <-done:
		c.mayEnd(t, s, err)
	case <-time.After(time.Minute):
		t.Fatal("the suspended operation does not end")
	}
	c.minute(t, s)
	tally.note(before, s.everything(t), t)
	c.isWhole(t, s, pv)
	c.endsWell(t, s, pv)
	if t.Failed() {
		t.Logf("suspended %s %q", c, s.held.where)
	}
	return true
}

// nextVolume provisions pvc-2 on the path and fills it. A file of a record that the
// suspended process has open stays as .nfs file where both use one NFS client, and keeps
// the path until that process ends: resume lets it go on.
func (c lateCase) nextVolume(t *testing.T, s *scene, resume func()) *v1.PersistentVolume {
	t.Helper()
	claim, policy := "ns/data", "archive"
	if c.empty {
		policy = "delete"
	}
	switch s.owner = s.next; c.owner {
	case "another provisioner":
		s.owner, claim = s.beside(t, sharetest.Cluster).ofItsOwn(t), "ns/other"
	case "another cluster":
		s.owner = s.beside(t, "cluster-2")
	}
	o := options(claim, "pvc-2", at(latePath, "onDelete", policy, "mode", "2770"))
	if c.asks != "" {
		pv, _, err := s.owner.Provision(t.Context(), asks(options(claim, "pvc-2", at(latePath, "onDelete", policy, "mode", "2770")), c.asks))
		if refused, ok := errors.AsType[*refusal.Refusal](err); !ok || refused.Reason() != refusal.ReasonArchive {
			must(t, err)
			return c.filled(t, s, pv)
		}
	}
	if open, err := filepath.Glob(s.Dir + "/.claimdir/records/team%2Fdata/.nfs*"); err != nil || len(open) > 0 {
		must(t, err)
		resume()
		s.noneOpen(t)
	}
	return c.filled(t, s, s.owner.provision(t, o))
}

// noneOpen waits until no file of a record that was removed is open any more.
func (s *scene) noneOpen(t *testing.T) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		open, err := filepath.Glob(s.Dir + "/.claimdir/records/team%2Fdata/.nfs*")
		must(t, err)
		if len(open) == 0 {
			return
		}
		if time.Since(start) > time.Minute {
			t.Fatalf("still open: %q", open)
		}
	}
}

func (c lateCase) filled(t *testing.T, s *scene, pv *v1.PersistentVolume) *v1.PersistentVolume {
	t.Helper()
	pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: "ns", Name: "data", UID: "uid-pvc-2"}
	if c.owner == "another provisioner" {
		pv.Spec.ClaimRef.Name = "other"
	}
	if !c.empty {
		s.Tree(t, latePath+"/precious", latePath+"/tree/precious")
	}
	return pv
}

// mayEnd looks at what the operation said: that its volume may go only if it is gone.
func (c lateCase) mayEnd(t *testing.T, s *scene, err error) {
	t.Helper()
	if err == nil && c.policy == "delete" && len(s.find(t, "file-of-pvc-1")) > 0 {
		for _, name := range s.find(t, "file-of-pvc-1") {
			if !strings.HasPrefix(name, ".claimdir/trash/") {
				t.Errorf("it ended without an error, and the volume's content is at %s", name)
			}
		}
	}
}

// minute is what those who lead do within a minute.
func (c lateCase) minute(t *testing.T, s *scene) {
	t.Helper()
	for _, w := range slices.Compact([]*world{s.next, s.owner}) {
		must(t, w.emptyByCalls(t.Context()))
		_, err := w.Steps.BringBackAside(t.Context(), w.Keeper)
		must(t, err)
	}
	must(t, s.owner.lookAfter(t.Context(), "pvc-2"))
	if s.late != nil { // it is saved, and its claim is gone
		must(t, s.next.Delete(t.Context(), s.late))
	}
	s.next.noOrphanLeft(t)
	must(t, s.next.emptyByCalls(t.Context()))
}

// everything is what is on the share, by name; what the sweep removes is left out.
func (s *scene) everything(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, filepath.WalkDir(s.Dir, func(full string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(full, s.Dir+"/")
		info, err := entry.Info()
		if err != nil || slices.Contains([]string{".claimdir/moving", ".claimdir/trash", ".claimdir/staged"}, name) || full == s.Dir {
			return err
		}
		if strings.HasPrefix(name, ".claimdir/staged/") || strings.HasPrefix(entry.Name(), ".nfs") || strings.HasPrefix(name, ".claimdir/trash/"+volpath.Own("pvc-0", sharetest.Cluster)) ||
			strings.HasPrefix(name, ".claimdir/records/"+lateArchive+"/") || strings.HasSuffix(name, "/"+oldRecord+".new") {
			return nil
		}
		is := info.Mode().String()
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(full)
			if err != nil {
				return err
			}
			is += " " + recordTimes.ReplaceAllString(string(data), "")
		} else if left, err := os.ReadDir(full); err != nil || strings.HasPrefix(name, ".claimdir/") || len(left) == 0 && info.Mode().Perm() == 0o745 {
			return err
		}
		found[name] = is
		return nil
	}))
	return found
}

// oldRecord is the record of pvc-1. Where a kill leaves a new one that is half written, it is
// removed an hour later.
var oldRecord = volpath.Own("pvc-1", sharetest.Cluster) + ".json"

// recordTimes are the lines of a record that a repeat of an archiving writes anew.
var recordTimes = regexp.MustCompile(`"(released|until)": "[^"]*",?\n`)

func (s *scene) find(t *testing.T, base string) (names []string) {
	t.Helper()
	must(t, filepath.WalkDir(s.Dir, func(full string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == base {
			names = append(names, strings.TrimPrefix(full, s.Dir+"/"))
		}
		return err
	}))
	return names
}

// isWhole fails the test unless the path is pvc-2's and its directory is there.
func (c lateCase) isWhole(t *testing.T, s *scene, pv *v1.PersistentVolume) {
	t.Helper()
	r := s.Record(t, latePath)
	id, err := s.Store(t).Dirs.Identify(sharetest.PathOf(t, latePath))
	if r.PV != pv.Name || r.State != ledger.Active || err != nil || r.Directory.Match(id) != share.Same {
		t.Errorf("the path is %s's (%s), and has directory %+v (%v), on record is %+v", r.PV, r.State, id, err, r.Directory)
	}
	for _, name := range s.find(t, "file-of-pvc-1") {
		switch {
		case c.policy == "archive" && strings.HasPrefix(name, "archived-ns-data-pvc-1"), c.policy == "retain" && !strings.HasPrefix(name, "archived-"), c.policy == "moved":
		default:
			t.Errorf("pvc-1 was to be released with %s, and its content is at %s", c.policy, name)
		}
	}
}

// endsWell releases pvc-2, after which the path is another volume's again.
func (c lateCase) endsWell(t *testing.T, s *scene, pv *v1.PersistentVolume) {
	t.Helper()
	must(t, s.owner.Delete(t.Context(), pv))
	must(t, s.owner.emptyByCalls(t.Context()))
	want := 1
	if c.empty {
		want = 0
	}
	if found := s.find(t, "precious"); len(found) != 2*want || want > 0 && !strings.HasPrefix(found[0], "archived-ns-") {
		t.Errorf("after its release pvc-2 has %q", found)
	}
	if left := s.find(t, oldRecord+".new"); c.refused && len(left) > 0 {
		must(t, os.Remove(s.Dir+"/"+left[0]))
	}
	s.next.provision(t, options("ns/third", "pvc-3", at(latePath)))
}

// lateTally counts what was tried and lost.
type lateTally struct{ cases, bytes atomic.Int64 }

func (l *lateTally) note(before, after map[string]string, t *testing.T) {
	t.Helper()
	l.cases.Add(1)
	for name, was := range before {
		if is, there := after[name]; is != was {
			t.Errorf("%s was %q, is %q (%v)", name, was, is, there)
			if strings.HasPrefix(name, latePath+"/") || strings.HasPrefix(name, "archived-") || strings.HasPrefix(name, "kept/") {
				l.bytes.Add(int64(len(was)))
			}
		}
	}
	for name, is := range after {
		if _, there := before[name]; !there {
			t.Errorf("%s is new: %q", name, is)
		}
	}
}

// A process stops at any call of any operation, and goes on when its path is the next
// volume's: nothing of that is lost, nothing else is touched, and its release works.
func TestACallThatComesLateHarmsNoLaterVolume(t *testing.T) {
	tally := &lateTally{}
	t.Cleanup(func() { t.Logf("%d combinations, %d bytes lost", tally.cases.Load(), tally.bytes.Load()) })
	for name, tt := range stories() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, c := range variants(tt) {
				step := times(c.step(), sharetest.BriefStep(4))
				for c.n = 1 + step/2; ; c.n += step {
					there := false
					t.Run(c.String(), func(t *testing.T) { there = c.run(t, tally) })
					if !there {
						break
					}
				}
				if c.n < 4 {
					t.Errorf("%s: the operation makes %d calls", c, c.n-1)
				}
			}
		})
	}
}

// step is at how many of the calls the operation is suspended: who gets the path makes
// little difference, so at some only for another provisioner and cluster.
func (c lateCase) step() int {
	if c.owner != "itself" {
		return 3
	}
	return 1
}

// variants are the ways in which an operation can come late. A slow share has those in which the process
// goes on, on the path of a claim beside it: the others differ in what claimdir does, not in what a share does.
func variants(of story) (all []lateCase) {
	owners := []string{"itself", "another provisioner", "another cluster"}
	if of.sameOwner || brief() {
		owners = owners[:1]
	}
	for _, owner := range owners {
		for i := range times(8, 2) {
			all = append(all, lateCase{story: of, after: i&1 > 0, refused: i&2 > 0, empty: i&4 > 0, owner: owner})
		}
	}
	return all
}
