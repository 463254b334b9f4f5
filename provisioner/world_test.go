package provisioner

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
	"testing"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

const cluster = "cluster-1"

// world is a real share with a Provisioner on it.
type world struct {
	*Provisioner

	dir    string
	dirs   *faulty
	ledger *ledger.Ledger
	seen   *seen
}

// direct is a Site whose operations run as they are called.
type direct struct {
	source share.Source
	files  Files
}

func (direct) Name() string                    { return "" }
func (d direct) String() string                { return "the share " + d.source.Server + ":" + d.source.Path }
func (d direct) Source() share.Source          { return d.source }
func (direct) ID() string                      { return "share-1" }
func (direct) Ready() error                    { return nil }
func (direct) WaitReady(context.Context) error { return nil }
func (direct) Room() share.Room                { return share.Room{} }
func (d direct) Background(ctx context.Context, name string, work Work) error {
	return d.Do(ctx, name, work)
}
func (d direct) Do(ctx context.Context, _ string, work Work) error {
	end, err := work(ctx, d.files, d.files)
	if end != nil {
		end(false)
	}
	return err
}

// seen is what the API server's objects are in a test.
type seen struct {
	volumes []*v1.PersistentVolume
	classes map[string]*storage.StorageClass
}

func (s *seen) Volumes() []*v1.PersistentVolume { return s.volumes }

func (*seen) Synced() bool { return true }

// Overlapping takes all volumes for ours: see pvs.Names.Overlap.
func (s *seen) Overlapping(server, export string) (found []*v1.PersistentVolume) {
	for _, pv := range s.volumes {
		nfs := pv.Spec.NFS
		if nfs.Server == server && (pvs.Within(export, nfs.Path) || pvs.Within(nfs.Path, export)) {
			found = append(found, pv)
		}
	}
	return found
}

func (s *seen) Class(name string) (*storage.StorageClass, bool) {
	c, found := s.classes[name]
	return c, found
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), seen: &seen{classes: map[string]*storage.StorageClass{}}}
	w.restart(t)
	return w
}

// restart puts a new process in the place of one that was killed.
func (w *world) restart(t *testing.T) {
	t.Helper()
	s, err := share.Open(w.dir)
	must(t, err)
	l, err := ledger.Open(s, "share-1")
	must(t, err)
	w.dirs, w.ledger = &faulty{Share: s}, l
	w.use(Files{w.dirs, l})
}

func (*world) source() share.Source { return share.Source{Server: "nfs.example.com", Path: "/export"} }

// use makes the world's Provisioner work on the files.
func (w *world) use(files Files) {
	w.Provisioner = New(cluster, w.seen, direct{w.source(), files}).Provisioners()[0]
}

// faulty is a real share on which step, if set, runs in place of each call. It
// may run do, which is the call, or half, which leaves what a call leaves that
// is cut off.
type faulty struct {
	*share.Share

	step func(method string, do func() error, half func()) error
}

func (f *faulty) run(method string, do func() error, half func()) error {
	if f.step == nil {
		return do()
	}
	return f.step(method, do, half)
}

func (f *faulty) Exists(p volpath.Path) (found bool, err error) {
	err = f.run("Exists", func() error { found, err = f.Share.Exists(p); return err }, nil)
	return found, err
}

func (f *faulty) Create(p volpath.Path, a share.Attributes) (created bool, err error) {
	err = f.run("Create", func() error { created, err = f.Share.Create(p, a); return err },
		func() { _ = os.Mkdir(f.Dir()+"/"+p.String(), 0o700) })
	return created && err == nil, err
}

func (f *faulty) Remove(p volpath.Path) error {
	return f.run("Remove", func() error { return f.Share.Remove(p) }, func() { _ = os.Remove(f.Dir() + "/" + p.String() + "/file") })
}

func (f *faulty) Discard(p volpath.Path, volume string) (name string, err error) {
	err = f.run("Discard", func() error { name, err = f.Share.Discard(p, volume); return err }, nil)
	return name, err
}

func (f *faulty) RemoveEmpty(p volpath.Path) error {
	return f.run("RemoveEmpty", func() error { return f.Share.RemoveEmpty(p) }, nil)
}

func (f *faulty) Rename(from, to volpath.Path) error {
	return f.run("Rename", func() error { return f.Share.Rename(from, to) }, nil)
}

func (f *faulty) FinishedParents(p volpath.Path) (n int, err error) {
	err = f.run("FinishedParents", func() error { n, err = f.Share.FinishedParents(p); return err }, nil)
	return n, err
}

func (f *faulty) LookParent(p volpath.Path) (found share.Parent, err error) {
	err = f.run("LookParent", func() error { found, err = f.Share.LookParent(p); return err }, nil)
	return found, err
}

func (f *faulty) MakeParent(p volpath.Path) (id share.FileID, err error) {
	err = f.run("MakeParent", func() error { id, err = f.Share.MakeParent(p); return err }, nil)
	return id, err
}

func (f *faulty) FinishParent(p volpath.Path) error {
	return f.run("FinishParent", func() error { return f.Share.FinishParent(p) }, nil)
}

func (f *faulty) RemoveParent(p volpath.Path, id share.FileID) error {
	return f.run("RemoveParent", func() error { return f.Share.RemoveParent(p, id) }, nil)
}

// params are StorageClass parameters, as key, value, key, value.
func params(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// options are those of a claim "namespace/name" whose annotation "path" the
// pattern may use.
func options(claim, pv string, params map[string]string) controller.ProvisionOptions {
	namespace, name, _ := strings.Cut(claim, "/")
	return controller.ProvisionOptions{
		PVName:       pv,
		StorageClass: &storage.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "nfs"}, Parameters: params},
		PVC: &v1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + pv)},
			Spec: v1.PersistentVolumeClaimSpec{
				AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteMany},
				Resources:   v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")}},
			},
		},
	}
}

// at is a class whose volumes lie at path.
func at(path string, more ...string) map[string]string {
	return params(append([]string{"pathPattern", path}, more...)...)
}

// provision makes a volume as the library would save it.
func (w *world) provision(t *testing.T, o controller.ProvisionOptions) *v1.PersistentVolume {
	t.Helper()
	pv, state, err := w.Provision(t.Context(), o)
	must(t, err)
	if state != controller.ProvisioningFinished {
		t.Errorf("state %s", state)
	}
	pv.CreationTimestamp = metav1.Now()
	return pv
}

// refused fails the test unless err is a refusal of that kind that says words.
func refused(t *testing.T, err error, reason string, final bool, words ...string) {
	t.Helper()
	var refusing *refusal.Refusal
	if !errors.As(err, &refusing) {
		t.Fatalf("error %v, want a refusal", err)
	}
	if refusing.Reason() != reason || refusing.Final() != final {
		t.Errorf("reason %s, final %v, want %s, %v: %v", refusing.Reason(), refusing.Final(), reason, final, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

// tree makes directories (names that end in "/") and files on the share.
func (w *world) tree(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		full := w.dir + "/" + name
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		if !strings.HasSuffix(name, "/") {
			must(t, os.WriteFile(full, []byte("content of "+name), 0o640))
		}
	}
}

// holds fails the test unless the share has exactly these entries, and no
// temporary files. A record is written "path = volume state".
func (w *world) holds(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	must(t, filepath.WalkDir(w.dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == w.dir {
			return err
		}
		if entry.Name() == ".claimdir" {
			return fs.SkipDir
		}
		got = append(got, strings.TrimPrefix(name, w.dir+"/"))
		return nil
	}))
	got = append(got, w.records(t)...)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the share holds\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	if temp, err := filepath.Glob(w.dir + "/.claimdir/tmp*/*"); err != nil || len(temp) > 0 {
		t.Errorf("temporary files %q (%v)", temp, err)
	}
}

func (w *world) records(t *testing.T) []string {
	t.Helper()
	names, err := w.dirs.ListMeta("volumes")
	must(t, err)
	var records []string
	for _, name := range names {
		text, err := w.dirs.ReadMeta("volumes/" + name)
		must(t, err)
		var r ledger.Record
		must(t, json.Unmarshal(text, &r))
		records = append(records, fmt.Sprintf("%s = %s %s", r.Path, r.PV, r.State))
	}
	return records
}

// trash lists what is in the trash: directories, and "name = volume" for records.
func (w *world) trash(t *testing.T) (found []string) {
	t.Helper()
	directories, recorded, err := w.dirs.Trash()
	must(t, err)
	for _, name := range recorded {
		r, _ := w.ledger.Discarded(name)
		found = append(found, name+" = "+r.PV)
	}
	return append(directories, found...)
}

// emptyTrash removes what is in the trash, as package trash does.
func (w *world) emptyTrash(t *testing.T) {
	t.Helper()
	directories, recorded, err := w.dirs.Trash()
	must(t, err)
	for _, name := range directories {
		_, err := w.dirs.EmptyTrash(t.Context(), name, share.NewRemover(4, 0))
		must(t, err)
	}
	for _, name := range recorded {
		must(t, w.ledger.ForgetDiscarded(name))
	}
}

// record is the record of path, which must be there.
func (w *world) record(t *testing.T, path string) ledger.Record {
	t.Helper()
	p, err := volpath.ParseRecorded(path)
	must(t, err)
	r, found, err := w.ledger.Lookup(p)
	if err != nil || !found {
		t.Fatalf("record of %s: %v, %v", path, found, err)
	}
	return r
}

func (w *world) modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(w.dir + "/" + path)
	must(t, err)
	return info.Mode()
}

// snapshot lists everything on the share, records included, with content.
func (w *world) snapshot(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(w.dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), "tmp-") { // made when needed; what is in it counts
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v", name, info.Mode())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %v %q", info.ModTime().UnixNano(), data)
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}

func (w *world) untouched(t *testing.T, before string) {
	t.Helper()
	w.emptyTrash(t)
	if after := w.snapshot(t); after != before {
		t.Errorf("touched:\nbefore\n%safter\n%s", before, after)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// brief says that TMPDIR is on a slow share, a mounted export with a server that
// syncs: what is repeated on a fast one is repeated less there.
func brief() bool { return os.Getenv("CLAIMDIR_TEST_BRIEF") != "" }

// times is how often something is repeated, or how many there are of it.
func times(fast, slow int) int {
	if brief() {
		return slow
	}
	return fast
}
