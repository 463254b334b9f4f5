package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// process is the ledger of another process: its own share, seen through a view whose calls
// are made through call.
func process(t *testing.T, dir string, call share.Call) *Ledger {
	t.Helper()
	l := reopen(t, dir)
	view := l.share.During(t.Context(), call)
	t.Cleanup(view.Release)
	return l.On(view)
}

// times is sharetest.Times, which imports this package.
func times(fast, slow int) int {
	if os.Getenv("CLAIMDIR_TEST_BRIEF") != "" {
		return slow
	}
	return fast
}

// rounds is how often two processes meet. On a share that syncs each takes long.
func rounds() int { return times(2000, 40) }

// Of two clusters that get one path at once, one has it, and the other is told so.
func TestOfTwoClustersOneGetsThePath(t *testing.T) {
	for name, c := range map[string]struct {
		before *Record // what the path has
		get    func(l *Ledger, p volpath.Path, old Record, r Record) (Record, error)
		want   State
	}{
		"a free path is taken": {nil, func(l *Ledger, p volpath.Path, _, r Record) (Record, error) {
			return l.Take(p, r, false)
		}, Creating},
		"a retained directory is adopted": {&Record{State: Retained}, func(l *Ledger, p volpath.Path, _, r Record) (Record, error) {
			return l.Take(p, r, true)
		}, Active},
		"a lost cluster's volume is taken over": {&Record{State: Active}, func(l *Ledger, p volpath.Path, old, r Record) (Record, error) {
			r.PV, r.State = old.PV, Active
			return l.TakeOver(p, old, r)
		}, Active},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, dir := open(t)
			shares := [2]*Ledger{reopen(t, dir), reopen(t, dir)}
			for round := range rounds() {
				m := meeting{p: pathOf(t, fmt.Sprint("team/data-", round)), want: c.want, get: c.get}
				if c.before != nil {
					m.old = of("ns/data", "pvc-0")
					m.old.Cluster, m.old.State, m.old.Path = "lost", c.before.State, m.p.String()
					put(t, l, m.p, m.old)
				}
				m.oneGetsIt(t, dir, shares)
				if t.Failed() {
					t.Fatalf("in round %d", round)
				}
			}
			for _, in := range []string{stagingDir, share.MovingDir} {
				if left, err := filepath.Glob(dir + "/.claimdir/" + in + "/*"); err != nil || len(left) > 0 {
					t.Errorf("%q is left", left)
				}
			}
		})
	}
}

// meeting is two clusters that want one path.
type meeting struct {
	p    volpath.Path
	old  Record
	want State
	get  func(l *Ledger, p volpath.Path, old, r Record) (Record, error)
}

func (m meeting) oneGetsIt(t *testing.T, dir string, shares [2]*Ledger) {
	t.Helper()
	p, want := m.p, m.want
	var asking, got [2]Record
	var errs [2]error
	var both sync.WaitGroup
	for i, l := range shares {
		asking[i] = of("ns/data", fmt.Sprint("pvc-", i+1))
		asking[i].Cluster = fmt.Sprint("c", i+1)
		both.Go(func() {
			view := l.share.During(t.Context(), nil)
			defer view.Release()
			got[i], errs[i] = m.get(l.On(view), p, m.old, asking[i])
		})
	}
	both.Wait()
	winner := 0
	if errs[0] != nil {
		winner = 1
	}
	if _, taken := errors.AsType[*TakenError](errs[1-winner]); errs[winner] != nil || !taken {
		t.Errorf("one has %v, the other %v", errs[0], errs[1])
	}
	all, err := shares[0].LookupAll(p)
	if err != nil || len(all) != 1 || all[0].Cluster != asking[winner].Cluster || all[0].State != want || !all[0].sameVolume(got[winner]) {
		t.Errorf("the records are %+v, %v; cluster %s has won", all, err, asking[winner].Cluster)
	}
	if names := recordsAt(t, dir, p); len(names) != 1 {
		t.Errorf("the files are %q", names)
	}
}

var errCut = errors.New("cut off")

// cut ends a process at one of its calls: an even n before the call, an odd one after it. No
// call is made behind that.
type cut struct {
	n, calls int
	done     bool
	at       string
}

func (c *cut) call(name string, call func() error) error {
	if c.done {
		return errCut
	}
	c.calls++
	if c.calls-1 != c.n/2 {
		return call()
	}
	c.done, c.at = true, fmt.Sprintf("call %d, before %q", c.calls, name)
	if c.n%2 == 1 {
		c.at = fmt.Sprintf("call %d, after %q", c.calls, name)
		_ = call()
	}
	return errCut
}

// changes are all changes of a record. Each begins with the record of pvc-1, if it is in a
// state, and ends as want says.
func changes() map[string]change {
	id := &share.Identity{Number: 7}
	next := otherCluster(of("ns/data", "pvc-2"))
	return map[string]change{
		"take": {"", func(l *Ledger, p volpath.Path, _ Record) error {
			_, err := l.Take(p, of("ns/data", "pvc-1"), false)
			return err
		}, "pvc-1 creating"},
		"take again": {Creating, func(l *Ledger, p volpath.Path, _ Record) error {
			_, err := l.Take(p, of("ns/data", "pvc-2"), false)
			return err
		}, "pvc-2 creating"},
		"adopt": {Retained, func(l *Ledger, p volpath.Path, _ Record) error {
			_, err := l.Take(p, next, true)
			return err
		}, "pvc-2 active"},
		"take over": {Active, func(l *Ledger, p volpath.Path, r Record) error {
			to := otherCluster(r)
			_, err := l.TakeOver(p, r, to)
			return err
		}, "pvc-1 active"},
		"activate": {Creating, func(l *Ledger, p volpath.Path, r Record) error { return l.Activate(p, r, id) }, "pvc-1 active"},
		"retain":   {Active, func(l *Ledger, p volpath.Path, r Record) error { return l.Retain(p, r, id) }, "pvc-1 retained"},
		"archive":  {"", func(l *Ledger, p volpath.Path, _ Record) error { return l.Archive(p, of("ns/data", "pvc-1"), id) }, "pvc-1 archived"},
		"archive again": {Archived, func(l *Ledger, p volpath.Path, r Record) error {
			return l.Archive(p, r, id)
		}, "pvc-1 archived"},
		"remove":  {Active, func(l *Ledger, p volpath.Path, r Record) error { return l.Remove(p, r) }, ""},
		"discard": {Active, func(l *Ledger, p volpath.Path, r Record) error { return l.Discard(p, r, trashed) }, ""},
	}
}

type change struct {
	from State
	make func(l *Ledger, p volpath.Path, r Record) error
	want string
}

const trashed = "pvc-1-1"

// Each change is cut off at each of its calls, also where an earlier one had been cut off in
// the middle of a write. Whoever looks then sees the old record or the new one, whole; the
// repeat completes it; nothing is left that RemoveStale does not know; and once the record
// goes, the path is free.
func TestAChangeThatIsCutOffIsCompletedByItsRepeat(t *testing.T) {
	for name, c := range changes() {
		for _, before := range []string{"", ".new"} {
			t.Run(name+before, func(t *testing.T) {
				t.Parallel()
				for n := 0; cutOnce(t, c, before, n) && !t.Failed(); n += times(1, 23) { // odd: see cut
				}
			})
		}
	}
}

// cutOnce reports whether there was a call n.
func cutOnce(t *testing.T, c change, left string, n int) bool {
	t.Helper()
	l, dir := open(t)
	p := pathOf(t, "team/data")
	r := of("ns/data", "pvc-1")
	r.State, r.Path = c.from, p.String()
	if c.from != "" {
		put(t, l, p, r)
	}
	if left != "" && c.from != "" {
		must(t, os.WriteFile(dir+"/.claimdir/"+directoryOf(p)+"/"+fileOf(r)+left, []byte(`{"lay`), 0o600))
	}
	must(t, os.MkdirAll(dir+"/.claimdir/trash/"+trashed+"/volume", 0o700))
	end := &cut{n: n}
	if err := c.make(process(t, dir, end.call), p, r); (err != nil) != end.done {
		t.Fatalf("call %d: %v", n, err)
	}
	all, err := process(t, dir, nil).LookupAll(p)
	if err != nil || len(all) > 1 {
		t.Errorf("cut off at %s: %+v, %v", end.at, all, err)
	}
	is := ""
	for _, r := range all {
		is = r.PV + " " + string(r.State)
	}
	old := ""
	if c.from != "" {
		old = "pvc-1 " + string(c.from)
	}
	if is != old && is != c.want {
		t.Errorf("cut off at %s: it is %q, was %q and becomes %q", end.at, is, old, c.want)
	}
	must(t, c.make(process(t, dir, nil), p, r))
	completed(t, dir, p, c.want, end.at)
	return end.done
}

func completed(t *testing.T, dir string, p volpath.Path, want, at string) {
	t.Helper()
	l := process(t, dir, nil)
	all, err := l.LookupAll(p)
	switch {
	case want == "":
		if err != nil || len(all) > 0 || recordsAt(t, dir, p) != nil {
			t.Errorf("cut off at %s: %+v, %v; %q", at, all, err, recordsAt(t, dir, p))
		}
	case err != nil || len(all) != 1 || all[0].PV+" "+string(all[0].State) != want:
		t.Errorf("cut off at %s: %+v, %v; want %q", at, all, err, want)
	default:
		if own, found, err := l.Own(p, all[0].PV, all[0].Cluster); err != nil || !found || !reflect.DeepEqual(own, all[0]) {
			t.Errorf("cut off at %s: its owner finds %+v, %v, %v", at, own, found, err)
		}
		must(t, l.Remove(p, all[0]))
	}
	if names := recordsAt(t, dir, p); names != nil {
		t.Errorf("cut off at %s: %q is left", at, names)
	}
	if staged, err := filepath.Glob(dir + "/.claimdir/" + stagingDir + "/*"); err != nil || len(staged) > 0 {
		t.Errorf("cut off at %s: %q is left, %v", at, staged, err)
	}
	if _, err := process(t, dir, nil).Take(p, of("other/claim", "pvc-9"), false); err != nil {
		t.Errorf("cut off at %s: the path is not free: %v", at, err)
	}
}

// cutTakeOver cuts a take-over off behind the rename that decides it. The record of pvc-1
// has the name of pvc-2's then.
func cutTakeOver(t *testing.T, state State, adopt bool) (dir string, p volpath.Path, old, to Record) {
	t.Helper()
	l, dir := open(t)
	p, old, to = pathOf(t, "team/data"), of("ns/data", "pvc-1"), of("ns/data", "pvc-2")
	if adopt {
		to = otherCluster(to)
	}
	old.State, old.Path = state, p.String()
	put(t, l, p, old)
	ended := false
	_, err := process(t, dir, func(name string, call func() error) error {
		if ended {
			return errCut
		}
		if ended = name == "rename "+fileOf(old); ended {
			return errors.Join(call(), errCut)
		}
		return call()
	}).Take(p, to, adopt)
	if !errors.Is(err, errCut) || !strings.Contains(content1(t, dir, p, to), `"pvc-1"`) {
		t.Fatalf("it is not cut off there: %v", err)
	}
	return dir, p, old, to
}

// content1 is the text of the file of r's record.
func content1(t *testing.T, dir string, p volpath.Path, r Record) string {
	t.Helper()
	data, err := os.ReadFile(dir + "/.claimdir/" + directoryOf(p) + "/" + fileOf(r))
	must(t, err)
	return string(data)
}

// The rename decides: from then on the record is the new owner's for everybody, with what
// that was about to write.
func TestATakeOverThatIsCutOffIsTheNewOwners(t *testing.T) {
	for name, c := range map[string]struct {
		from  State
		adopt bool
		want  State
	}{"of a retained directory": {Retained, true, Active}, "of what an earlier claim began": {Creating, false, Creating}} {
		t.Run(name, func(t *testing.T) {
			dir, p, old, to := cutTakeOver(t, c.from, c.adopt)
			l := process(t, dir, nil)
			stands(t, l, p.String(), "pvc-2", c.want)
			for r, err := range l.Records() {
				if err != nil || !r.sameVolume(to) {
					t.Errorf("among all records it is %+v, %v", r, err)
				}
			}
			others := map[string]Record{"another cluster": {PV: "pvc-2", Cluster: "c3", Claim: old.Claim}, "another claim": of("ns/x", "pvc-3")}
			if c.adopt {
				others["the old owner"] = old
			}
			for act, asking := range others {
				if _, err := l.Take(p, asking, true); !isTakenBy(err, "pvc-2") {
					t.Errorf("%s gets %v", act, err)
				}
			}
			if _, err := l.TakeOver(p, old, Record{PV: "pvc-3", Cluster: "c3"}); !isTakenBy(err, "pvc-2") {
				t.Errorf("to take it over, too, gets %v", err)
			}
			if _, found, err := l.Own(p, old.PV, old.Cluster); found || err != nil {
				t.Errorf("the old owner finds it: %v", err)
			}
			must(t, l.Remove(p, old)) // late, and nothing of its own is there
			before := len(recordsAt(t, dir, p))
			if r, found, err := reopenReadOnly(t, dir).Own(p, to.PV, to.Cluster); err != nil || !found || !r.sameVolume(to) || len(recordsAt(t, dir, p)) != before {
				t.Errorf("a reader finds %+v, %v, %v", r, found, err)
			}
			if r, found, err := l.Own(p, to.PV, to.Cluster); err != nil || !found || !r.sameVolume(to) || r.State != c.want {
				t.Errorf("the new owner finds %+v, %v, %v", r, found, err)
			}
			if names := recordsAt(t, dir, p); len(names) != 1 || !strings.Contains(content(t, dir, p), `"pvc-2"`) {
				t.Errorf("the repeat left %q", names)
			}
		})
	}
}

func reopenReadOnly(t *testing.T, dir string) *Ledger {
	t.Helper()
	s, err := share.Open(dir)
	must(t, err)
	l, err := OpenReadOnly(s)
	must(t, err)
	return l
}

func isTakenBy(err error, pv string) bool {
	taken, is := errors.AsType[*TakenError](err)
	return is && taken.Owner.PV == pv
}

// Where nothing says what the record is to hold, the new owner's repeat says it. For others
// the path is taken, and people are told of the file.
func TestATakeOverOfWhichOnlyTheNameIsLeft(t *testing.T) {
	for name, again := range map[string]func(l *Ledger, p volpath.Path, old, to Record) (Record, error){
		"the claim comes again":     func(l *Ledger, p volpath.Path, _, to Record) (Record, error) { return l.Take(p, to, true) },
		"without adopt":             func(l *Ledger, p volpath.Path, _, to Record) (Record, error) { return l.Take(p, to, false) },
		"the take-over is repeated": func(l *Ledger, p volpath.Path, old, to Record) (Record, error) { return l.TakeOver(p, old, to) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, p, old, to := cutTakeOver(t, Retained, true)
			must(t, os.Remove(dir+"/.claimdir/"+directoryOf(p)+"/"+share.Handed(fileOf(to))))
			l := process(t, dir, nil)
			before := content(t, dir, p)
			_, _, lookup := l.Lookup(p)
			_, _, own := l.Own(p, to.PV, to.Cluster)
			_, take := l.Take(p, of("ns/x", "pvc-3"), true)
			_, late := l.Take(p, old, true)
			_, over := l.TakeOver(p, old, of("ns/x", "pvc-3"))
			var listed error
			for _, err := range l.Records() {
				listed = errors.Join(listed, err)
			}
			for act, err := range map[string]error{"lookup": lookup, "own": own, "take": take, "the old owner": late, "take over": over, "records": listed, "above": l.CheckAbove(pathOf(t, "team/data/x"), old)} {
				if !isTakenBy(err, "pvc-1") || !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), fileNamed(key(p), fileOf(to))) {
					t.Errorf("%s: %v", act, err)
				}
			}
			if content(t, dir, p) != before {
				t.Error("it was touched")
			}
			to.State = Active
			if r, err := again(l, p, old, to); err != nil || !r.sameVolume(to) || r.State != Active {
				t.Errorf("%+v, %v", r, err)
			}
			stands(t, process(t, dir, nil), p.String(), "pvc-2", Active)
		})
	}
}

// What a kill left of a record's next version goes with the record, and the path is free.
func TestARecordGoesWithWhatAWriteLeft(t *testing.T) {
	for name, end := range map[string]func(l *Ledger, p volpath.Path, r Record) error{
		"remove":  func(l *Ledger, p volpath.Path, r Record) error { return l.Remove(p, r) },
		"discard": func(l *Ledger, p volpath.Path, r Record) error { return l.Discard(p, r, trashed) },
	} {
		t.Run(name, func(t *testing.T) {
			l, dir := open(t)
			must(t, os.MkdirAll(dir+"/.claimdir/trash/"+trashed, 0o700))
			p := pathOf(t, "data")
			r, err := l.Take(p, of("ns/data", "pvc-1"), false)
			must(t, err)
			ended := false
			err = process(t, dir, func(name string, call func() error) error {
				if ended {
					return errCut
				}
				ended = strings.HasPrefix(name, "write ")
				return errors.Join(call(), map[bool]error{true: errCut}[ended])
			}).Activate(p, r, nil)
			if names := recordsAt(t, dir, p); !errors.Is(err, errCut) || len(names) != 2 {
				t.Fatalf("it is not cut off there: %v, %q", err, names)
			}
			must(t, end(process(t, dir, nil), p, r))
			if names := recordsAt(t, dir, p); names != nil {
				t.Errorf("%q is left", names)
			}
			_, err = process(t, dir, nil).Take(p, of("ns/other", "pvc-2"), false)
			must(t, err)
		})
	}
}

// An NFS client that exchanges a record which it has open leaves no record for a moment.
// Nobody takes that for absence.
func TestARecordThatIsBeingExchangedIsNotAbsent(t *testing.T) {
	for name, beside := range map[string]string{"its next version": "", "what the client moved away": ".nfs000000000000a1b200000001"} {
		t.Run(name, func(t *testing.T) {
			l, dir := open(t)
			p := pathOf(t, "data")
			r, err := l.Take(p, of("ns/data", "pvc-1"), false)
			must(t, err)
			in := dir + "/.claimdir/" + directoryOf(p) + "/"
			if beside == "" {
				beside = fileOf(r) + ".new"
			}
			must(t, os.Rename(in+fileOf(r), in+beside))
			if _, found, err := l.Own(p, r.PV, r.Cluster); found || !errors.Is(err, errUnsettled) {
				t.Errorf("in between: %v, %v", found, err)
			}
			if _, err := l.Take(p, of("ns/other", "pvc-2"), false); err == nil {
				t.Error("another volume got the path")
			}
			if names := recordsAt(t, dir, p); len(names) != 1 || names[0] != beside {
				t.Errorf("%q is left", names)
			}
			// It comes in the middle of the look.
			looks := 0
			late := process(t, dir, func(name string, call func() error) error {
				err := call()
				if name == "read "+fileOf(r) {
					if looks++; looks == 1 {
						must(t, os.Rename(in+beside, in+fileOf(r)))
					}
				}
				return err
			})
			if got, found, err := late.Own(p, r.PV, r.Cluster); err != nil || !found || !got.sameVolume(r) {
				t.Errorf("%+v, %v, %v", got, found, err)
			}
			must(t, os.Rename(in+fileOf(r), in+beside))
			stranger, found, err := l.Own(p, "pvc-9", "c1")
			if wantErr := strings.HasPrefix(beside, ".nfs"); found || (err != nil) != wantErr {
				t.Errorf("another volume finds %+v, %v, %v", stranger, found, err)
			}
		})
	}
}

// What a client that died left in the directory of a path keeps the path for an hour, not
// for ever.
func TestWhatADeadClientLeftDoesNotKeepThePath(t *testing.T) {
	l, dir := open(t)
	p, r := pathOf(t, "data"), of("ns/data", "pvc-1")
	in := dir + "/.claimdir/" + directoryOf(p)
	must(t, os.Mkdir(in, 0o700))
	for _, name := range []string{".nfs000000000000a1b200000001", fileOf(r) + ".new", fileOf(of("ns/x", "pvc-9")) + ".new"} {
		must(t, os.WriteFile(in+"/"+name, []byte("{"), 0o600))
	}
	if _, err := l.Take(p, r, false); err == nil || len(recordsAt(t, dir, p)) != 3 {
		t.Fatalf("a minute later: %v, %q", err, recordsAt(t, dir, p))
	}
	// The time of change cannot be set, so the probe that tells the server's time is.
	later := time.Now().Add(2 * time.Hour)
	aged := process(t, dir, func(name string, call func() error) error {
		err := call()
		if strings.HasPrefix(name, "write probe.") {
			must(t, os.Chtimes(in+"/"+strings.TrimPrefix(name, "write "), later, later))
		}
		return err
	})
	if _, found, err := aged.Own(p, r.PV, r.Cluster); found || !errors.Is(err, errUnsettled) {
		t.Errorf("an hour later: %v, %v", found, err)
	}
	if _, found, err := aged.Own(p, r.PV, r.Cluster); found || err != nil {
		t.Errorf("then: %v, %v", found, err)
	}
	_, err := process(t, dir, nil).Take(p, r, false)
	must(t, err)
}
