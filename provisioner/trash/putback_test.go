package trash

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
)

// late moves the directory of a volume into the trash as a call does that was for another
// volume, which had the path before, and came late.
func (w *world) late(t *testing.T, at, own string) {
	t.Helper()
	must(t, os.MkdirAll(w.dir+"/.claimdir/trash/"+own, 0o700))
	must(t, os.Rename(w.dir+"/"+at, w.dir+"/.claimdir/trash/"+own+"/volume"))
}

// A rename that comes late moves a living volume's directory into the trash. It goes back
// with all that is in it, and is never emptied.
func TestALivingVolumesDirectoryGoesBack(t *testing.T) {
	for name, set := range map[string]func(t *testing.T, w *world) (own string){
		"no record says whose it was": func(*testing.T, *world) string { return volpath.Trash("pvc-old", cluster, 1) },
		"the record of the volume that had the path": func(t *testing.T, w *world) string {
			t.Helper()
			own := volpath.Trash("pvc-old", cluster, 2)
			must(t, os.MkdirAll(w.dir+"/.claimdir/trash/"+own, 0o700))
			must(t, os.WriteFile(w.dir+"/.claimdir/trash/"+own+"/record.json", []byte(`{"layout": 2, "path": "team/data", "pv": "pvc-old", "state": "active", "directory": {"number": 1}}`), 0o600))
			return own
		},
		"an older volume's, of another cluster": func(*testing.T, *world) string { return volpath.Trash("pvc-live", "elsewhere", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			own := set(t, w)
			r := w.volume(t, "pvc-live", "team/data", cluster)
			must(t, os.WriteFile(w.dir+"/team/data/file", []byte("precious"), 0o600))
			w.late(t, "team/data", own)
			w.run(t, func() bool { return w.left(t) == 0 })
			if content, err := os.ReadFile(w.dir + "/team/data/file"); err != nil || string(content) != "precious" {
				t.Errorf("%q, %v", content, err)
			}
			if id, err := w.dirs.Identify(sharetest.PathOf(t, "team/data")); err != nil || id.Match(r.Directory) != share.Same {
				t.Errorf("it is %+v, want %+v; %v", id, r.Directory, err)
			}
			if len(w.putBack) != 1 || !strings.HasPrefix(w.putBack[0], steps.EventPutBack+" pvc-live: ") || len(w.reported()) > 0 {
				t.Errorf("told %q, failures %v", w.putBack, w.reported())
			}
		})
	}
}

// What others have to decide about stays as it is, and people are told.
func TestWhatMustNotBeEmptiedStays(t *testing.T) {
	own := volpath.Trash("pvc-old", cluster, 1)
	record := func(t *testing.T, w *world, text string) {
		t.Helper()
		must(t, os.MkdirAll(w.dir+"/.claimdir/trash/"+own, 0o700))
		must(t, os.WriteFile(w.dir+"/.claimdir/trash/"+own+"/record.json", []byte(text), 0o600))
	}
	for name, tt := range map[string]struct {
		set  func(t *testing.T, w *world)
		at   string // in the trash
		says string
	}{
		"another cluster's": {set: func(t *testing.T, w *world) {
			w.volume(t, "pvc-live", "team/data", "elsewhere")
			must(t, os.WriteFile(w.dir+"/team/data/file", nil, 0o600))
			w.late(t, "team/data", own)
		}, at: own + "/volume", says: "volume pvc-live of another cluster, whose claimdir puts it back"},
		"another directory than was released": {set: func(t *testing.T, w *world) {
			r := w.volume(t, "pvc-old", "data", cluster)
			w.late(t, "data", own)
			must(t, os.Rename(w.dir+"/.claimdir/trash/"+own+"/volume", w.dir+"/aside"))
			must(t, w.ledger.Discard(sharetest.PathOf(t, "data"), r, own))
			must(t, os.Mkdir(w.dir+"/.claimdir/trash/"+own+"/volume", 0o755))
			must(t, os.WriteFile(w.dir+"/.claimdir/trash/"+own+"/volume/file", nil, 0o600))
		}, at: own + "/volume", says: "another directory than the one that was released"},
		"of layout 1, and a volume's": {set: func(t *testing.T, w *world) {
			w.volume(t, "pvc-live", "team/data", cluster)
			must(t, os.WriteFile(w.dir+"/team/data/file", nil, 0o600))
			must(t, os.Rename(w.dir+"/team/data", w.dir+"/.claimdir/trash/pvc-old-1"))
		}, at: "pvc-old-1", says: `it is that of volume pvc-live; move it back to "team/data"`},
		"not all records can be read": {set: func(t *testing.T, w *world) {
			must(t, os.MkdirAll(w.dir+"/.claimdir/trash/"+own+"/volume", 0o755))
			must(t, os.WriteFile(w.dir+"/.claimdir/trash/"+own+"/volume/file", nil, 0o600))
			must(t, os.Mkdir(w.dir+"/.claimdir/records/bad", 0o700))
			must(t, os.WriteFile(w.dir+"/.claimdir/records/bad/x.json", []byte("{"), 0o600))
		}, at: own + "/volume", says: "not all records can be read"},
		"the record of its path cannot be read": {set: func(t *testing.T, w *world) {
			record(t, w, `{"layout": 2, "path": "team/data", "pv": "pvc-old", "state": "active"}`)
			must(t, os.Mkdir(w.dir+"/.claimdir/trash/"+own+"/volume", 0o755))
			must(t, os.WriteFile(w.dir+"/.claimdir/trash/"+own+"/volume/file", nil, 0o600))
			must(t, os.Mkdir(w.dir+"/.claimdir/records/team%2Fdata", 0o700))
			must(t, os.WriteFile(w.dir+"/.claimdir/records/team%2Fdata/x.json", []byte("{"), 0o600))
		}, at: own + "/volume", says: "damaged record"},
		"something is at its path": {set: func(t *testing.T, w *world) {
			w.volume(t, "pvc-live", "team/data", cluster)
			must(t, os.WriteFile(w.dir+"/team/data/file", nil, 0o600))
			w.late(t, "team/data", own)
			must(t, os.MkdirAll(w.dir+"/team/data/of-somebody", 0o755))
		}, at: own + "/volume", says: "put the directory of volume pvc-live back"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tt.set(t, w)
			w.run(t, func() bool { return len(w.reported()) > 1 }) // and tried again
			if _, err := os.Stat(w.dir + "/.claimdir/trash/" + tt.at + "/file"); err != nil {
				t.Errorf("it was touched: %v", err)
			}
			for _, f := range w.reported() {
				if !strings.Contains(f.Error(), tt.says) {
					t.Errorf("told %q, want %q", f, tt.says)
				}
			}
		})
	}
}

// Between the two renames of a release, of the directory and of its record, the living
// record still names what is in the trash: that goes on, so it is neither put back nor
// emptied nor told.
func TestAReleaseThatIsUnderWay(t *testing.T) {
	w := newWorld(t)
	w.every, w.first = 5*time.Millisecond, 5*time.Millisecond
	r := w.volume(t, "pvc-1", "data", cluster)
	must(t, os.WriteFile(w.dir+"/data/file", nil, 0o600))
	own := volpath.Trash("pvc-1", cluster, 1)
	must(t, w.dirs.SetAside(sharetest.PathOf(t, "data"), share.TrashDir, own, r.Directory))
	tries := make(chan struct{}, 1000)
	w.through(func(name string, call func() error) error {
		if name == "read record.json" {
			select {
			case tries <- struct{}{}:
			default:
			}
		}
		return call()
	})
	w.run(t, func() bool { return len(tries) > 5 })
	if _, err := os.Stat(w.dir + "/.claimdir/trash/" + own + "/volume/file"); err != nil {
		t.Errorf("it was touched: %v", err)
	}
	must(t, w.ledger.Discard(sharetest.PathOf(t, "data"), r, own))
	w.run(t, func() bool { return w.left(t) == 0 })
	if failures := w.reported(); len(failures) > 0 || len(w.putBack) > 0 {
		t.Errorf("failures %v, told %q", failures, w.putBack)
	}
}

// What was cut off before its directory came goes, and so does what has no record once no
// living record names it.
func TestWhatNoRecordNamesGoes(t *testing.T) {
	w := newWorld(t)
	w.volume(t, "pvc-live", "team/data", cluster)
	must(t, os.Mkdir(w.dir+"/.claimdir/trash/"+volpath.Trash("pvc-cut", cluster, 1), 0o700))
	must(t, os.MkdirAll(w.dir+"/.claimdir/trash/"+volpath.Trash("pvc-old", cluster, 1)+"/volume/sub", 0o755))
	w.run(t, func() bool { return w.left(t) == 0 })
	if failures := w.reported(); len(failures) > 0 || len(w.putBack) > 0 {
		t.Errorf("failures %v, told %q", failures, w.putBack)
	}
	if _, err := os.Stat(w.dir + "/team/data"); errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A PersistentVolume that was restored from a backup of the cluster may need what is in the trash:
// that stays, and people are told, until it is released again.
func TestWhatAPersistentVolumeNeedsAgainStays(t *testing.T) {
	w := newWorld(t)
	own := w.discard(t, "pvc-1", 3)
	w.discard(t, "pvc-2", 3)
	is := func(phase v1.PersistentVolumePhase) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.back = map[string]*v1.PersistentVolume{"pvc-1": {
			Spec: v1.PersistentVolumeSpec{
				PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
				PersistentVolumeSource:        v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nfs.example.com", Path: "/export/team-pvc-1"}},
			},
			Status: v1.PersistentVolumeStatus{Phase: phase},
		}}
	}
	is(v1.VolumeBound)
	w.run(t, func() bool { return len(w.reported()) > 1 && w.left(t) == 1 })
	for _, f := range w.reported() {
		if f.Record.PV != "pvc-1" || !strings.Contains(f.Error(), "the directory of the released volume pvc-1 (claim team/data, path \"team-pvc-1\") cannot be removed: ") ||
			!strings.Contains(f.Error(), "PersistentVolume pvc-1 exists again, and this may be all its data: claimdir doctor --fix puts it back") {
			t.Error(f)
		}
	}
	if _, err := os.Stat(w.dir + "/.claimdir/trash/" + own + "/volume/0/0"); err != nil {
		t.Errorf("it was touched: %v", err)
	}
	is(v1.VolumeReleased)
	w.run(t, func() bool { return w.left(t) == 0 })
}

// As long as the cluster does not say which PersistentVolumes there are, nothing is emptied. That is no
// failure of the directory.
func TestWithoutAnAnswerNothingIsEmptied(t *testing.T) {
	w := newWorld(t)
	w.first = 5 * time.Millisecond
	own := w.discard(t, "pvc-1", 3)
	asked := 0
	w.silent = func() error {
		asked++
		return errors.New("timeout")
	}
	w.run(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return asked > 3
	})
	if _, err := os.Stat(w.dir + "/.claimdir/trash/" + own + "/volume/0/0"); err != nil || len(w.reported()) > 0 {
		t.Errorf("it was touched: %v; failures %v", err, w.reported())
	}
	w.silent = nil
	w.run(t, func() bool { return w.left(t) == 0 })
}
