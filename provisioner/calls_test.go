package provisioner

import (
	"errors"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Each of these is a round trip to the file server, which a volume costs. A change that
// adds one shows it in review.
func TestCallsToTheShareAreTheGoldenFile(t *testing.T) {
	w := newWorld(t)
	var all strings.Builder
	record := func(title string, run func()) {
		all.WriteString("# " + title + "\n")
		for _, name := range w.callsOnEachServer(run) {
			all.WriteString(name + "\n")
		}
		all.WriteByte('\n')
	}
	class := params("onDelete", "delete")
	first := w.provision(t, options("ns/first", "pvc-0", class)) // what the first volume of all costs is not asked
	must(t, w.Delete(t.Context(), first))
	w.EmptyTrash(t)

	record("provision", func() { w.provision(t, options("ns/data", "pvc-1", class)) })
	record("a repeat", func() { w.provision(t, options("ns/data", "pvc-1", class)) })
	pv := w.provision(t, options("ns/data", "pvc-1", class))
	w.Tree(t, "ns-data-pvc-1/file")
	record("release", func() { must(t, w.Delete(t.Context(), pv)) })
	record("a repeat", func() { must(t, w.Delete(t.Context(), pv)) })
	names, err := w.Store(t).Records.ListTrash()
	must(t, err)
	if len(names) != 1 {
		t.Fatalf("in the trash: %q", names)
	}
	record("empty", func() {
		_, _, err := w.Steps.EmptyTrash(t.Context(), t.Context(), w.Keeper, names[0], share.NewRemover(1, 0))
		must(t, err)
	})
	w.Holds(t)

	const golden = "testdata/calls.txt"
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(golden, []byte(all.String()), 0o644))
	}
	data, err := os.ReadFile(golden)
	must(t, err)
	// FUSE gives no handles. A directory that arrived is looked for in a list on NFS alone, for
	// which it is opened.
	got, want := all.String(), string(data)
	if w.givesNoHandles(t) {
		want = regexp.MustCompile(`(?m)^identify .*\n`).ReplaceAllString(want, "")
	}
	if onNFS(t, w.Dir) {
		lists := regexp.MustCompile(`(?m)^open \.\n`)
		got, want = lists.ReplaceAllString(got, ""), lists.ReplaceAllString(want, "")
	}
	if got != want {
		t.Errorf("other calls than in %s; if that is wanted, run make update. They are:\n%s", golden, all.String())
	}
}

func onNFS(t *testing.T, dir string) bool {
	t.Helper()
	var stat unix.Statfs_t
	must(t, unix.Statfs(dir, &stat))
	return stat.Type == unix.NFS_SUPER_MAGIC
}

// givesNoHandles reports whether the file system of the test gives no handles, as FUSE.
func (w *world) givesNoHandles(t *testing.T) bool {
	t.Helper()
	must(t, os.Mkdir(w.Dir+"/some", 0o755))
	id, err := w.Store(t).Dirs.Identify(sharetest.PathOf(t, "some"))
	must(t, errors.Join(err, os.Remove(w.Dir+"/some")))
	return id.Handle == ""
}

// callsOnEachServer is calls without those that are made only because NFS has no exclusive
// rename: the one that is refused, and the look that stands for it.
func (w *world) callsOnEachServer(run func()) (names []string) {
	refused := false
	w.Hook(func(name string, do func() error) error {
		err := do()
		after := refused
		refused = strings.HasPrefix(name, "rename ") && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS))
		if !refused && !after {
			names = append(names, name)
		}
		return err
	})
	defer w.Hook(nil)
	run()
	return names
}
