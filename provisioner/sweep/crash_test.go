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
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// errKilled is the panic of a process that is killed.
var errKilled = errors.New("killed")

// killer kills the process before or after its n-th call that changes the share.
type killer struct {
	n   int
	hit string
}

func (k *killer) step(name string, do func() error) error {
	if k.n--; k.n == 0 {
		k.hit = "before " + name
		panic(errKilled)
	}
	err := do()
	if k.n--; k.n == 0 {
		k.hit = "after " + name
		panic(errKilled)
	}
	return err
}

type killedDirs struct {
	*share.Share
	*killer
}

func (d killedDirs) Create(p volpath.Path, a share.Attributes) (created bool, err error) {
	err = d.step("Create", func() error { created, err = d.Share.Create(p, a); return err })
	return created, err
}

func (d killedDirs) Discard(p volpath.Path, volume string) (name string, err error) {
	err = d.step("dirs.Discard", func() error { name, err = d.Share.Discard(p, volume); return err })
	return name, err
}

func (d killedDirs) RemoveEmpty(p volpath.Path) error {
	return d.step("RemoveEmpty", func() error { return d.Share.RemoveEmpty(p) })
}

func (d killedDirs) Rename(from, to volpath.Path) error {
	return d.step("Rename", func() error { return d.Share.Rename(from, to) })
}

type killedRecords struct {
	*ledger.Ledger
	*killer
}

func (l killedRecords) Claim(p volpath.Path, r ledger.Record, adopt bool) (owner ledger.Record, err error) {
	err = l.step("Claim", func() error { owner, err = l.Ledger.Claim(p, r, adopt); return err })
	return owner, err
}

func (l killedRecords) Activate(p volpath.Path, r ledger.Record) error {
	return l.step("Activate", func() error { return l.Ledger.Activate(p, r) })
}

func (l killedRecords) Retain(p volpath.Path, r ledger.Record) error {
	return l.step("Retain", func() error { return l.Ledger.Retain(p, r) })
}

func (l killedRecords) Archive(p volpath.Path, r ledger.Record) error {
	return l.step("Archive", func() error { return l.Ledger.Archive(p, r) })
}

func (l killedRecords) Discard(p volpath.Path, name string) error {
	return l.step("ledger.Discard", func() error { return l.Ledger.Discard(p, name) })
}

func (l killedRecords) Forget(p volpath.Path) error {
	return l.step("Forget", func() error { return l.Ledger.Forget(p) })
}

func (l killedRecords) ForgetIf(p volpath.Path, r ledger.Record) (forgotten bool, err error) {
	err = l.step("ForgetIf", func() error { forgotten, err = l.Ledger.ForgetIf(p, r); return err })
	return forgotten, err
}

// dying is the share of a process that is killed.
type dying struct {
	provisioner.Site
	files provisioner.Files
}

func (d dying) Do(ctx context.Context, _ string, work provisioner.Work) error {
	end, err := work(ctx, d.files, d.files)
	if end != nil {
		end(false)
	}
	return err
}

// killed runs an operation of a process that k kills, and reports whether it did.
func (w *world) killed(t *testing.T, k *killer, run func(p *provisioner.Provisioner) error) bool {
	t.Helper()
	s, err := share.Open(w.dir)
	must(t, err)
	l, err := ledger.Open(s, "share-1")
	must(t, err)
	site := dying{provisioner.SiteOf(w.config.Keeper), provisioner.Files{Dirs: killedDirs{s, k}, Records: killedRecords{l, k}}}
	defer func() {
		if r := recover(); r != nil && r != any(errKilled) {
			panic(r)
		}
	}()
	must(t, run(provisioner.New(clusterID, cached{w}, site).Provisioners()[0]))
	return false
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
		_, err := os.Stat(w.dir + "/" + r.Path)
		switch {
		case names[r.Path] == "told":
		case (r.State == ledger.Retained || r.State == ledger.Archived) && err == nil:
			names[r.Path] = "kept"
		case r.State == ledger.Archived && restoring[r.Path]:
		case volumes[r.PV] == r.Path && r.State != ledger.Archived:
		case claims[r.Claim.UID] && r.State != ledger.Archived:
			names[r.Path] = "a claim's"
		default:
			t.Errorf("nothing accounts for the record %s = %s %s", r.Path, r.PV, r.State)
		}
	}
	must(t, filepath.WalkDir(w.dir, func(full string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(full, w.dir+"/")
		switch {
		case err != nil || full == w.dir || !entry.IsDir():
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
	adoptable := func(t *testing.T, w *world) { claimed(t, w); w.tree(t, "data/") }
	all := map[string]story{
		"provision":                      {set: claimed, run: provision()},
		"provision, the claim goes":      {set: claimed, run: provision(), gone: []string{"claim"}, clean: []string{}},
		"provision deep, the claim goes": {set: claimed, run: provision("pathPattern", "team/data"), gone: []string{"claim"}},
		"provision, tried again":         {set: claimed, run: provision(), repeat: true},
		"provision elsewhere, and again": {set: func(t *testing.T, w *world) {
			claimed(t, w)
			w.record(t, ledger.Creating, "pvc-1", "before")
			w.tree(t, "before/")
			w.volume(t, "pvc-1", "data")
		}, run: provision(), repeat: true},
		"adopt":                 {set: adoptable, run: provision("onExisting", "adopt")},
		"adopt, the claim goes": {set: adoptable, run: provision("onExisting", "adopt"), gone: []string{"claim"}},
		"take up": {set: func(t *testing.T, w *world) {
			claimed(t, w)
			w.record(t, ledger.Retained, "pvc-0", "data")
			w.tree(t, "data/file")
		}, run: provision()},
		"take up, the claim goes": {set: func(t *testing.T, w *world) {
			claimed(t, w)
			w.record(t, ledger.Retained, "pvc-0", "data")
			w.tree(t, "data/file")
		}, run: provision(), gone: []string{"claim"}},
	}
	for name, files := range map[string]string{"restore": "archived-ns-data-pvc-0/file", "restore an empty directory": "archived-ns-data-pvc-0/"} {
		set := func(t *testing.T, w *world) {
			claimed(t, w)
			w.record(t, ledger.Archived, "pvc-0", "archived-ns-data-pvc-0", func(r *ledger.Record) { r.Origin = "before" })
			w.tree(t, files)
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
				w.tree(t, files...)
			}
			all[policy+name] = story{set: set, run: release}
			all[policy+name+", tried again"] = story{set: set, run: release, repeat: true, gone: []string{"volume"}}
			all[policy+name+", the volume goes by force"] = story{set: set, run: release, gone: []string{"volume"}}
			all[policy+name+", its archive's name taken"] = story{set: func(t *testing.T, w *world) { set(t, w); w.tree(t, "archived-ns-data-pvc-1/by-hand") }, run: release}
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
				run := func(p *provisioner.Provisioner) error { return story.run(t, w, p) }
				w.killed(t, k, run)
				if story.repeat && k.hit != "" {
					w.killed(t, &killer{}, run)
				}
				w.lose(t, story.gone)
				w.age(t)
				w.start(t, 0)
				must(t, w.pass(t.Context()))
				w.accounted(t)
				if story.clean != nil {
					w.holds(t, story.clean...)
					w.told(t)
				}
				if t.Failed() {
					t.Fatalf("killed %q: %s", k.hit, fmt.Sprint(w.findings))
				}
				if k.hit == "" {
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
	for n := 1; ; n++ {
		w := newWorld(t, 0)
		w.record(t, ledger.Creating, "pvc-1", "a")
		w.tree(t, "a/")
		k, removing := &killer{n: n}, w.Sweeper
		s, err := share.Open(w.dir)
		must(t, err)
		l, err := ledger.Open(s, "share-1")
		must(t, err)
		site := dying{provisioner.SiteOf(w.config.Keeper), provisioner.Files{Dirs: killedDirs{s, k}, Records: killedRecords{l, k}}}
		func() {
			defer func() { _ = recover() }()
			path, err := volpath.Parse("a")
			must(t, err)
			must(t, removing.config.Shares.RemoveOrphan(t.Context(), site, path, func(context.Context, ledger.Record) error { return nil }))
		}()
		w.start(t, 0)
		must(t, w.pass(t.Context()))
		w.holds(t)
		w.told(t)
		if k.hit == "" {
			return
		}
	}
}
