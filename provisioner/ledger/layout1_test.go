package ledger_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/volpath"
)

// layout1 is what the records of each share of testdata/layout1 say, as "path = volume state".
func layout1() map[string][]string {
	const long = "long-long-long-long-long-long-long-long-long-long-long-x/longer-longer-longer-longer-longer-longer-longer-longer-y/" +
		"longest-longest-longest-longest-longest-longest-longest-z/end-end-end-end-end-end-end-end-end-end-end-end-1"
	return map[string][]string{
		"active-adopted":    {"team/data = pvc-1 active"},
		"active-attributes": {"data = pvc-1 active"},
		"active-default":    {"ns-data-pvc-1 = pvc-1 active"},
		"active-long":       {long + " = pvc-1 active"},
		"active-nested":     {"team/data = pvc-1 active", "team/deep/er/more = pvc-2 active"},
		"active-odd": {
			"~tilde,comma=is = pvc-3 active", "100%25 = pvc-2 active", "Größe 100%/a b = pvc-0 active",
			"plus+minus@home = pvc-1 active", "quote'and(brackets) = pvc-9 active",
		},
		"active-peer":                {"ns-data-pvc-old = pvc-old active"},
		"active-restored":            {"data = pvc-2 active"},
		"archive-cut-01":             {"team/data = pvc-1 active"},
		"archive-cut-02":             {"archived-ns-data-pvc-1 = pvc-1 archived", "team/data = pvc-1 active"},
		"archive-cut-03":             {"archived-ns-data-pvc-1 = pvc-1 archived", "team/data = pvc-1 active"},
		"archive-cut-04":             {"archived-ns-data-pvc-1 = pvc-1 archived"},
		"archive-cut-05":             {"archived-ns-data-pvc-1 = pvc-1 archived"},
		"archived-until":             {"archived-ns-data-pvc-1 = pvc-1 archived"},
		"archived":                   {"archived-ns-data-pvc-1 = pvc-1 archived"},
		"creating-adopted":           {"data = pvc-1 creating"},
		"creating-directory":         {"data = pvc-1 creating"},
		"creating-record":            {"data = pvc-1 creating"},
		"delete-cut-01":              {"team/data = pvc-1 active"},
		"delete-cut-02":              {"team/data = pvc-1 active"},
		"delete-cut-03":              {},
		"delete-cut-04":              {},
		"empty":                      {},
		"parent-left":                {},
		"parent-unfinished-recorded": {"team/data = pvc-1 creating"},
		"parent-unfinished":          {"team/data = pvc-1 creating"},
		"provision-cut-01":           {},
		"provision-cut-02":           {"team/data = pvc-1 creating"},
		"provision-cut-03":           {"team/data = pvc-1 creating"},
		"provision-cut-04":           {"team/data = pvc-1 creating"},
		"provision-cut-05":           {"team/data = pvc-1 creating"},
		"provision-cut-06":           {"team/data = pvc-1 creating"},
		"provision-cut-07":           {"team/data = pvc-1 creating"},
		"provision-cut-08":           {"team/data = pvc-1 creating"},
		"restore-cut-01":             {"archived-ns-data-pvc-1 = pvc-1 archived"},
		"restore-cut-02":             {"archived-ns-data-pvc-1 = pvc-1 archived", "team/data = pvc-2 creating"},
		"restore-cut-03":             {"archived-ns-data-pvc-1 = pvc-1 archived", "team/data = pvc-2 creating"},
		"restore-cut-04":             {"archived-ns-data-pvc-1 = pvc-1 archived", "team/data = pvc-2 creating"},
		"restore-cut-05":             {"archived-ns-data-pvc-1 = pvc-1 archived", "team/data = pvc-2 creating"},
		"restore-cut-06":             {"archived-ns-data-pvc-1 = pvc-1 archived", "team/data = pvc-2 creating"},
		"restore-cut-07":             {"archived-ns-data-pvc-1 = pvc-1 archived", "team/data = pvc-2 creating"},
		"restore-cut-08":             {"archived-ns-data-pvc-1 = pvc-1 archived", "team/data = pvc-2 active"},
		"retain-cut-01":              {"team/data = pvc-1 active"},
		"retain-cut-02":              {"team/data = pvc-1 retained"},
		"retained":                   {"team/data = pvc-1 retained"},
		"takeup-cut-01":              {"team/data = pvc-2 active"},
		"temporary":                  {"data = pvc-1 active"},
		"trash-directory":            {},
		"trash-record":               {},
		"trash":                      {},
		"two-clusters":               {"archived-ns-old-pvc-3 = pvc-3 archived", "kept = pvc-2 retained", "ours = pvc-4 active", "theirs = pvc-1 active"},
	}
}

// What an older claimdir left, whole or cut off anywhere, is read by this one, and the
// test data hold each state that there is.
func TestSharesOfLayout1AreRead(t *testing.T) {
	fsys := os.DirFS("testdata/layout1")
	names, err := sharetest.Names(fsys)
	sharetest.Must(t, err)
	want := layout1()
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sharetest.Must(t, sharetest.Write(fsys, name, dir))
			s, err := share.Open(dir)
			sharetest.Must(t, err)
			l, err := ledger.OpenReadOnly(s)
			sharetest.Must(t, err)
			if l.ID() != "share-1" {
				t.Errorf("the share is %q", l.ID())
			}
			var got []string
			for r, err := range l.Records() {
				sharetest.Must(t, err)
				got = append(got, r.Path+" = "+r.PV+" "+string(r.State))
			}
			if known, listed := want[name]; !listed || !slices.Equal(got, known) {
				t.Errorf("the share has %q, want %q", got, known)
			}
			trashIsRead(t, l, dir)
			eachIsRead(t, l, got)
			nothingIsWritten(t, l, dir, got)
		})
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("there are no shares for %v", want)
	}
}

// eachIsRead fails the test unless the record of each path is found by the path and by the
// owner, and by no other.
func eachIsRead(t *testing.T, l *ledger.Ledger, want []string) {
	t.Helper()
	for r, err := range l.Records() {
		sharetest.Must(t, err)
		p, err := volpath.ParseRecorded(r.Path)
		sharetest.Must(t, err)
		found, err := l.LookupAll(p)
		if err != nil || len(found) != 1 || !reflect.DeepEqual(found[0], r) || !slices.Contains(want, r.Path+" = "+r.PV+" "+string(r.State)) {
			t.Errorf("the record of %s is %+v, %v", p, found, err)
		}
		if own, is, err := l.Own(p, r.PV, r.Cluster); err != nil || !is || !reflect.DeepEqual(own, r) {
			t.Errorf("its owner finds %+v, %v, %v", own, is, err)
		}
		if _, is, err := l.Own(p, r.PV, r.Cluster+"x"); err != nil || is {
			t.Errorf("another cluster owns %s: %v", p, err)
		}
		if _, is, err := l.Own(p, r.PV+"x", r.Cluster); err != nil || is {
			t.Errorf("another volume owns %s: %v", p, err)
		}
	}
}

// nothingIsWritten fails the test if a ledger that was opened read-only writes on a share of
// layout 1: an older claimdir may lead.
func nothingIsWritten(t *testing.T, l *ledger.Ledger, dir string, records []string) {
	t.Helper()
	before := tree(t, dir)
	fresh := sharetest.PathOf(t, "some/where/else")
	other := ledger.Record{State: ledger.Creating, PV: "pvc-x", Cluster: "cluster-1"}
	_, err := l.Take(fresh, other, false)
	for act, err := range map[string]error{
		"take": err, "activate": l.Activate(fresh, other, nil), "remove": l.Remove(fresh, other),
		"discard": l.Discard(fresh, other, "x-1"), "archive": l.Archive(fresh, other, nil), "convert": l.Convert(fresh),
	} {
		if !errors.Is(err, ledger.ErrFirstLayout) {
			t.Errorf("%s: %v", act, err)
		}
	}
	if err := l.EndFirst(); len(records) == 0 && !errors.Is(err, ledger.ErrFirstLayout) || len(records) > 0 && err != nil {
		t.Errorf("end: %v", err)
	}
	if after := tree(t, dir); !maps.Equal(before, after) {
		t.Errorf("the share became\n%v, was\n%v", after, before)
	}
}

// tree is what a share holds: the mode of each file and directory, and a file's content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	sharetest.Must(t, filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		all[name[len(dir)+1:]] = info.Mode().String()
		if entry.Type().IsRegular() {
			data, err := os.ReadFile(name)
			all[name[len(dir)+1:]] += " " + string(data)
			return err
		}
		return nil
	}))
	return all
}

// trashIsRead fails the test unless each record in the trash says whose it is.
func trashIsRead(t *testing.T, l *ledger.Ledger, dir string) {
	t.Helper()
	files, err := filepath.Glob(dir + "/.claimdir/trash/*.json")
	sharetest.Must(t, err)
	names, err := l.ListTrash()
	sharetest.Must(t, err)
	recorded := 0
	for _, name := range names {
		r, readable, err := l.Discarded(name)
		if err != nil {
			t.Error(err)
		}
		if readable {
			recorded++
		}
		if readable && r.PV != "pvc-1" {
			t.Errorf("%s in the trash is %+v", name, r)
		}
	}
	if recorded != len(files) {
		t.Errorf("%d are read of %q", recorded, files)
	}
}
