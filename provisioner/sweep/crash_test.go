package sweep

import (
	"context"
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

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// killer kills the process before or after its n-th call that changes the share: before
// and after the others the share is the same.
type killer struct {
	n int

	mu   sync.Mutex
	hit  string
	dead bool
}

var errKilled = errors.New("killed")

// changing are the first words of the names of calls that change something.
var changing = []string{"make", "rename", "create", "write", "unlink", "rmdir", "link", "set", "remove", "mark"}

func (k *killer) call(name string, call func() error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	verb, _, _ := strings.Cut(name, " ")
	switch {
	case k.dead:
		return errKilled
	case !slices.Contains(changing, verb):
		return call()
	}
	if k.n--; k.n == 0 {
		k.hit, k.dead = "before "+name, true
		return errKilled
	}
	err := call()
	if k.n--; k.n == 0 {
		k.hit, k.dead = "after "+name, true
		return errKilled
	}
	return err
}

// killed runs an operation of a process that k kills.
func (w *world) killed(t *testing.T, k *killer, run func(p *provisioner.Provisioner) error) {
	t.Helper()
	w.start(t, 0)
	w.Hook(k.call)
	err := run(w.provisioner())
	if w.Hook(nil); k.hit == "" {
		must(t, err)
	}
}

// age makes all records two hours older.
func (w *world) age(t *testing.T) {
	t.Helper()
	for _, r := range w.readRecords(t) {
		r.Created = r.Created.Add(-2 * time.Hour)
		if r.Released != nil {
			r.Released = new(r.Released.Add(-2 * time.Hour))
		}
		w.writeRecord(t, r)
	}
}

// noneEmpty: each directory for the record of a path has one.
func (w *world) noneEmpty(t *testing.T) {
	t.Helper()
	keys, err := filepath.Glob(w.Dir + "/.claimdir/records/*")
	must(t, err)
	for _, key := range keys {
		if files, err := os.ReadDir(key); err != nil || len(files) == 0 {
			t.Errorf("%s holds nothing (%v)", key, err)
		}
	}
}

// accounted fails the test for each directory and record that nothing accounts for,
// and nobody was told of.
func (w *world) accounted(t *testing.T) {
	t.Helper()
	names := map[string]string{}
	for _, f := range w.findings {
		names[f.Object] = "told"
	}
	volumes, claims := map[string]string{}, map[string]bool{}
	for _, pv := range w.volumes() {
		path := pv.Annotations["claimdir/path"]
		volumes[pv.Name], names[path] = path, "a volume's"
	}
	list, err := w.client.CoreV1().PersistentVolumeClaims("").List(t.Context(), metav1.ListOptions{})
	must(t, err)
	for _, claim := range list.Items {
		claims[string(claim.UID)] = true
	}
	records, restoring := w.readRecords(t), map[string]bool{}
	for _, r := range records {
		restoring[r.RestoredFrom] = claims[r.Claim.UID]
	}
	for _, r := range records {
		_, err := os.Stat(w.Dir + "/" + r.Path)
		switch {
		case names[r.Path] == "told":
		case (r.State == ledger.Retained || r.State == ledger.Archived) && err == nil:
			names[r.Path] = "kept"
		case r.State == ledger.Archived && restoring[r.Path]:
		case volumes[r.PV] == r.Path && r.State != ledger.Archived:
		case volumes[r.PV] != "" && r.State == ledger.Archived: // its release goes on
		case claims[r.Claim.UID] && r.State != ledger.Archived:
			names[r.Path] = "a claim's"
		default:
			t.Errorf("nothing accounts for the record %s = %s %s", r.Path, r.PV, r.State)
		}
	}
	w.asideAccounted(t, records, names)
	w.noneEmpty(t)
	must(t, filepath.WalkDir(w.Dir, func(full string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(full, w.Dir+"/")
		switch {
		case err != nil || full == w.Dir || !entry.IsDir():
			return err
		case entry.Name() == ".claimdir" || names[name] != "":
			return fs.SkipDir
		}
		if _, err := os.Stat(full + "/by-hand"); err == nil && strings.HasPrefix(name, "archived-") {
			return fs.SkipDir // as a peer's archive it is in order
		}
		for other := range names {
			if strings.HasPrefix(other, name+"/") {
				return nil
			}
		}
		t.Errorf("nothing accounts for the directory %s", name)
		return nil
	}))
}

// asideAccounted is accounted for the directories that are set aside: the records of the
// volumes that they belong to are there.
func (w *world) asideAccounted(t *testing.T, records []ledger.Record, names map[string]string) {
	t.Helper()
	aside, err := filepath.Glob(w.Dir + "/.claimdir/moving/*/volume")
	must(t, err)
	for _, full := range aside {
		own := filepath.Base(filepath.Dir(full))
		if !slices.ContainsFunc(records, func(r ledger.Record) bool { return volpath.IsOwnOf(own, r.PV, r.Cluster) && names[r.Path] != "" }) {
			t.Errorf("nothing accounts for the directory that is set aside as %s", own)
		}
	}
}

// story is an operation that is killed, on a share and a cluster as set makes them.
type story struct {
	set func(t *testing.T, w *world)
	run func(t *testing.T, w *world, p *provisioner.Provisioner) error
	// gone is what of the cluster's is removed after the kill.
	gone []string
	// repeat: the library tries again after the restart.
	repeat bool
	// clean: whatever the kill, nothing is told and nothing left but these.
	clean []string
}

func provision(params ...string) func(t *testing.T, w *world, p *provisioner.Provisioner) error {
	return func(t *testing.T, _ *world, p *provisioner.Provisioner) error {
		m := map[string]string{"pathPattern": "data"}
		for pair := range slices.Chunk(params, 2) {
			m[pair[0]] = pair[1]
		}
		_, _, err := p.Provision(t.Context(), options("data", "pvc-1", m))
		return err
	}
}

// restore is a claim that asks for the archive of pvc-0.
func restore(t *testing.T, _ *world, p *provisioner.Provisioner) error {
	t.Helper()
	o := options("data", "pvc-1", map[string]string{"pathPattern": "team/data"})
	o.PVC.Annotations = map[string]string{volume.AnnotationRestore: "pvc-0"}
	_, _, err := p.Provision(t.Context(), o)
	return err
}

func release(t *testing.T, w *world, p *provisioner.Provisioner) error {
	t.Helper()
	pv := w.volumes()[0]
	return p.Delete(t.Context(), &pv)
}

// stories are every step of both lines, with and without what makes a repeat.
func stories() map[string]story {
	claimed := func(t *testing.T, w *world) { w.claim(t, "data", "pvc-1") }
	adoptable := func(t *testing.T, w *world) { claimed(t, w); w.Tree(t, "data/") }
	all := map[string]story{
		"provision":                      {set: claimed, run: provision()},
		"provision, the claim goes":      {set: claimed, run: provision(), gone: []string{"claim"}, clean: []string{}},
		"provision deep, the claim goes": {set: claimed, run: provision("pathPattern", "team/data"), gone: []string{"claim"}},
		"provision, tried again":         {set: claimed, run: provision(), repeat: true},
		"provision elsewhere, and again": {set: func(t *testing.T, w *world) {
			claimed(t, w)
			w.record(t, ledger.Creating, "pvc-1", "before")
			w.Tree(t, "before/")
			w.volume(t, "pvc-1", "data")
		}, run: provision(), repeat: true},
		"adopt":                 {set: adoptable, run: provision("onExisting", "adopt")},
		"adopt, the claim goes": {set: adoptable, run: provision("onExisting", "adopt"), gone: []string{"claim"}},
		"take up": {set: func(t *testing.T, w *world) {
			claimed(t, w)
			w.record(t, ledger.Retained, "pvc-0", "data")
			w.Tree(t, "data/file")
		}, run: provision()},
		"take up, the claim goes": {set: func(t *testing.T, w *world) {
			claimed(t, w)
			w.record(t, ledger.Retained, "pvc-0", "data")
			w.Tree(t, "data/file")
		}, run: provision(), gone: []string{"claim"}},
	}
	for name, files := range map[string]string{"restore": "archived-ns-data-pvc-0/file", "restore an empty directory": "archived-ns-data-pvc-0/"} {
		set := func(t *testing.T, w *world) {
			claimed(t, w)
			w.record(t, ledger.Archived, "pvc-0", "archived-ns-data-pvc-0", func(r *ledger.Record) { r.Origin = "before" })
			w.Tree(t, files)
		}
		all[name] = story{set: set, run: restore}
		all[name+", tried again"] = story{set: set, run: restore, repeat: true}
		all[name+", the claim goes"] = story{set: set, run: restore, gone: []string{"claim"}}
	}
	for _, policy := range []string{"delete", "archive", "retain"} {
		for name, files := range map[string][]string{"": {"data/file"}, " of an empty directory": {"data/"}, " without directory": nil} {
			set := func(t *testing.T, w *world) {
				w.volume(t, "pvc-1", "data")
				pv := w.volumes()[0]
				pv.Annotations["claimdir/on-delete"] = policy
				must(t, w.client.Tracker().Update(v1.SchemeGroupVersion.WithResource("persistentvolumes"), &pv, ""))
				w.record(t, ledger.Active, "pvc-1", "data")
				w.Tree(t, files...)
			}
			all[policy+name] = story{set: set, run: release}
			all[policy+name+", tried again"] = story{set: set, run: release, repeat: true, gone: []string{"volume"}}
			all[policy+name+", the volume goes by force"] = story{set: set, run: release, gone: []string{"volume"}}
			all[policy+name+", its archive's name taken"] = story{set: func(t *testing.T, w *world) { set(t, w); w.Tree(t, "archived-ns-data-pvc-1/by-hand") }, run: release}
		}
	}
	return all
}

// TestNothingIsLeftBehind kills every operation before and after each of its calls.
// After a start and a sweep each directory and record is a volume's, a claim's, kept,
// in the trash, or told of.
func TestNothingIsLeftBehind(t *testing.T) {
	for name, story := range stories() {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				k := &killer{n: n}
				w := newWorld(t, 0)
				story.set(t, w)
				w.identify(t)
				run := func(p *provisioner.Provisioner) error { return story.run(t, w, p) }
				w.killed(t, k, run)
				if story.repeat && k.hit != "" {
					w.killed(t, &killer{}, run)
				}
				w.lose(t, story.gone)
				w.age(t)
				w.start(t, 0)
				w.later(t)
				must(t, w.pass(t.Context()))
				w.accounted(t)
				if story.clean != nil {
					w.Holds(t, story.clean...)
					w.told(t)
				}
				if t.Failed() {
					t.Fatalf("killed %q: %s", k.hit, fmt.Sprint(w.findings))
				}
				if w.End(); k.hit == "" {
					break
				}
			}
		})
	}
}

// lose removes the claim or the volume.
func (w *world) lose(t *testing.T, what []string) {
	t.Helper()
	for _, kind := range what {
		var err error
		if kind == "claim" {
			err = w.client.CoreV1().PersistentVolumeClaims("ns").Delete(t.Context(), "data", metav1.DeleteOptions{})
		} else {
			err = w.client.CoreV1().PersistentVolumes().Delete(t.Context(), "pvc-1", metav1.DeleteOptions{})
		}
		must(t, err)
	}
}

// The removal itself is killed too, and goes on with the next pass.
func TestARemovalThatIsKilled(t *testing.T) {
	for name, state := range map[string]ledger.State{"never completed": ledger.Creating, "complete": ledger.Active} {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				w := newWorld(t, 0)
				w.record(t, state, "pvc-1", "a")
				w.Tree(t, "a/")
				w.identify(t)
				k := &killer{n: n}
				w.Hook(k.call)
				err := w.steps.On(t.Context(), w.Keeper, sharetest.PathOf(t, "a"), "remove", func(ctx context.Context, op steps.Op) error {
					return op.RemoveOrphan(ctx, func(context.Context, ledger.Record) error { return nil })
				})
				w.start(t, 0)
				w.later(t)
				must(t, w.pass(t.Context()))
				w.Holds(t)
				w.told(t)
				if w.End(); k.hit == "" {
					must(t, err)
					return
				}
			}
		})
	}
}
