package copies

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/volpath"
)

// world is a share with a process that copies. Its time is that of synctest: what is slow takes no time.
type world struct {
	*sharetest.World
	*Copies

	t    *testing.T
	stop func() // ends the process

	mu  sync.Mutex
	did []string // what the hooks of all jobs were called for, as "job hook"
}

// inTime runs a test on a share in a time of its own.
func inTime(t *testing.T, config Config, test func(t *testing.T, w *world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{World: sharetest.NewWorldIn(t, dir), t: t}
		w.start(config)
		test(t, w)
		w.stop()
	})
}

// start lets jobs run, in the place of a process that was stopped.
func (w *world) start(config Config) {
	w.Copies = New(config)
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() { w.Run(ctx); close(ended) }()
	w.stop = func() { cancel(); <-ended }
	synctest.Wait()
}

func (w *world) note(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did = append(w.did, text)
}

// done returns what the hooks were called for, and forgets it.
func (w *world) done() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	did := w.did
	w.did = nil
	return did
}

// count returns how often a hook was called.
func (w *world) count(text string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, did := range w.did {
		if did == text {
			n++
		}
	}
	return n
}

// has waits, in the time of synctest, until a hook was called.
func (w *world) has(text string) {
	w.t.Helper()
	for range 100_000 {
		if w.count(text) > 0 {
			return
		}
		sleep(100)
	}
	w.t.Fatalf("not in time: %s; the hooks were called for %q", text, w.did)
}

// job copies a directory of the share. Its hooks note that they were called.
func (w *world) job(namespace, source string, change ...func(*Job)) Job {
	w.t.Helper()
	name := volpath.OwnAt("pvc-"+source, sharetest.Cluster, sharetest.PathOf(w.t, "to/"+source))
	j := Job{
		Name: name, Namespace: namespace, To: w.Keeper, From: w.Keeper,
		Find: func(context.Context, ledger.Store) (share.CopyFrom, error) {
			return share.CopyFrom{Path: sharetest.PathOf(w.t, source)}, nil
		},
		Wanted: func(context.Context) error { return nil },
		Begin: func(context.Context, share.Usage) error {
			w.note(source + " begins")
			return nil
		},
		Complete: func(context.Context, share.Copied) error {
			w.note(source + " is complete")
			return nil
		},
		Progress: func(text string) { w.note(source + ": " + text) },
		Ended: func(_ context.Context, err error) {
			if err != nil {
				w.note(source + " ends: " + err.Error())
				return
			}
			w.note(source + " ends")
		},
	}
	for _, c := range change {
		c(&j)
	}
	return j
}

// starts starts a job that must wait or run.
func (w *world) starts(j Job) {
	w.t.Helper()
	sharetest.Must(w.t, w.Start(j))
}

// did fails the test unless the hooks were called for exactly this since the last look.
func (w *world) was(want ...string) {
	w.t.Helper()
	if got := w.done(); !slices.Equal(got, want) {
		w.t.Errorf("the hooks were called for %q, want %q", got, want)
	}
}

// copied returns the files of the tree of a job.
func (w *world) copied(j Job) []string {
	w.t.Helper()
	entries, err := os.ReadDir(w.Dir + "/.claimdir/copies/" + j.Name + "/tree")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	sharetest.Must(w.t, err)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// files makes a directory with so many files, and returns their names.
func (w *world) files(dir string, n int) []string {
	w.t.Helper()
	var names []string
	for i := range n {
		names = append(names, strings.Repeat("f", 3)+string(rune('a'+i/26/26%26))+string(rune('a'+i/26%26))+string(rune('a'+i%26)))
		w.Tree(w.t, dir+"/"+names[i])
	}
	return names
}
