package sharetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

// Cluster is the cluster of a World, unless it is given another.
const Cluster = "cluster-1"

// World is a real share in a directory of its own, kept by a real keeper, with the steps
// of one process on it.
type World struct {
	Dir    string
	Keeper *access.Keeper
	Steps  *steps.Steps
	Seen   *Seen

	cluster string
	timeout time.Duration
	end     context.CancelFunc

	mu      sync.Mutex
	call    share.Call
	reports []Report
}

// Report is what the steps have told people.
type Report struct{ PV, Reason, Text string }

// NewWorld makes a share in TMPDIR, and the process that works on it.
func NewWorld(t *testing.T) *World {
	t.Helper()
	return NewWorldIn(t, t.TempDir())
}

// NewWorldIn makes the process that works on the share in a directory.
func NewWorldIn(t *testing.T, dir string) *World {
	t.Helper()
	w := &World{Dir: dir, Seen: NewSeen(), cluster: Cluster, timeout: time.Minute}
	w.Restart(t)
	return w
}

// Beside is another process, of a cluster, that works on the same share.
func (w *World) Beside(t *testing.T, cluster string) *World {
	t.Helper()
	other := &World{Dir: w.Dir, Seen: NewSeen(), cluster: cluster, timeout: w.timeout}
	if cluster == w.cluster {
		other.Seen = w.Seen
	}
	other.Restart(t)
	return other
}

// WithTimeout gives up calls to the share after that time, from the next Restart on.
func (w *World) WithTimeout(timeout time.Duration) { w.timeout = timeout }

// Restart puts a new process in the place of one that was killed.
func (w *World) Restart(t *testing.T) {
	t.Helper()
	w.End()
	w.Hook(nil)
	w.Keeper = access.New(access.Config{
		Mount:   share.Mount{Dir: w.Dir, Source: Source()},
		Known:   func() ([]volpath.Path, bool) { return nil, true },
		NewID:   "share-1",
		Timeout: w.timeout,
		Slots:   64,
		Changed: func() {},
		Call:    w.made,
	})
	ctx, end := context.WithCancel(t.Context())
	t.Cleanup(end)
	w.end = end
	go w.Keeper.Run(ctx)
	w.Steps = steps.New(steps.Config{Cluster: w.cluster, Objects: w.Seen, Namespace: w.namespace, Volume: w.Seen.Volume, Report: w.report})
	Must(t, w.Keeper.WaitReady(ctx))
}

// End ends the process: it looks at the share no more. A test that makes many worlds ends
// each.
func (w *World) End() {
	if w.end != nil {
		w.end()
	}
}

// Source is what PersistentVolumes name as server and exported path.
func Source() share.Source { return share.Source{Server: "nfs.example.com", Path: "/export"} }

// Hook lets call make each call of this process to the share from now on; nil makes them
// as they are.
func (w *World) Hook(call share.Call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.call = call
}

func (w *World) made(name string, do func() error) error {
	w.mu.Lock()
	call := w.call
	w.mu.Unlock()
	if call == nil {
		return do()
	}
	return call(name, do)
}

func (w *World) namespace(_ context.Context, claim ledger.Claim) (uid string, err error) {
	return w.Seen.Namespaces[claim.Namespace], w.Seen.Silent
}

func (w *World) report(_ context.Context, r ledger.Record, reason, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports = append(w.reports, Report{r.PV, reason, text})
}

// Reports returns what the steps have told people.
func (w *World) Reports() []Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.reports)
}

// Store is the share as somebody sees it who only looks, or sets something up.
func (w *World) Store(t *testing.T) ledger.Store {
	t.Helper()
	s, err := share.Open(w.Dir)
	Must(t, err)
	l, err := ledger.Open(s, "share-1")
	Must(t, err)
	return ledger.Store{Dirs: s, Records: l}
}

// Tree makes directories (names that end in "/") and files on the share.
func (w *World) Tree(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		full := w.Dir + "/" + name
		Must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		if strings.HasSuffix(name, "/") {
			Must(t, os.MkdirAll(full, 0o755))
			continue
		}
		Must(t, os.WriteFile(full, []byte("content of "+name), 0o640))
	}
}

// Holds fails the test unless the share has exactly these entries, and nothing that is
// staged, set aside or copied. A record is written "path = volume state".
func (w *World) Holds(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	Must(t, filepath.WalkDir(w.Dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == w.Dir {
			return err
		}
		if entry.Name() == ".claimdir" {
			return fs.SkipDir
		}
		got = append(got, strings.TrimPrefix(name, w.Dir+"/"))
		return nil
	}))
	got = append(got, w.Records(t)...)
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("the share holds\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	for _, in := range []string{"staged", "moving", "copies"} {
		if left, err := filepath.Glob(w.Dir + "/.claimdir/" + in + "/*"); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %q (%v)", in, left, err)
		}
	}
	if left, err := filepath.Glob(w.Dir + "/.claimdir/records/*/*.new"); err != nil || len(left) > 0 {
		t.Errorf("records half written: %q (%v)", left, err)
	}
}

// Records lists the records, as Holds writes them.
func (w *World) Records(t *testing.T) (all []string) {
	t.Helper()
	for r, err := range w.Store(t).Records.Records() {
		Must(t, err)
		all = append(all, fmt.Sprintf("%s = %s %s", r.Path, r.PV, r.State))
	}
	return all
}

// Record is the record of path, which must be there.
func (w *World) Record(t *testing.T, path string) ledger.Record {
	t.Helper()
	r, found, err := w.Store(t).Records.Lookup(PathOf(t, path))
	if err != nil || !found {
		t.Fatalf("record of %s: %v, %v", path, found, err)
	}
	return r
}

// Trash lists the volumes that have something in the trash, sorted: "volume" for a
// directory with its record, "volume alone" for one without.
func (w *World) Trash(t *testing.T) (found []string) {
	t.Helper()
	store := w.Store(t)
	names, err := store.Records.ListTrash()
	Must(t, err)
	for _, name := range names {
		data, err := os.ReadFile(w.Dir + "/.claimdir/trash/" + name + "/record.json")
		var r ledger.Record
		if err == nil {
			Must(t, json.Unmarshal(data, &r))
		}
		if _, err := os.Lstat(w.Dir + "/.claimdir/trash/" + name + "/volume"); err != nil {
			found = append(found, r.PV+" without a directory")
		} else if r.PV == "" {
			found = append(found, name+" alone")
		} else {
			found = append(found, r.PV)
		}
	}
	slices.Sort(found)
	return found
}

// EmptyTrash removes what is in the trash, as package trash does.
func (w *World) EmptyTrash(t *testing.T) {
	t.Helper()
	store := w.Store(t)
	names, err := store.Records.ListTrash()
	Must(t, err)
	for _, name := range names {
		_, _, err := w.Steps.EmptyTrash(t.Context(), t.Context(), w.Keeper, name, share.NewRemover(4, 0))
		refused, is := errors.AsType[*refusal.Refusal](err)
		if busy := is && refused.Reason() == refusal.ReasonBusy; !busy && !errors.Is(err, steps.ErrNotTrash) {
			Must(t, err)
		}
	}
}

// ModeOf is the mode of what is at a path.
func (w *World) ModeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(w.Dir + "/" + path)
	Must(t, err)
	return info.Mode()
}
