package ledger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
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
	must(t, err)
	want := layout1()
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, sharetest.Write(fsys, name, dir))
			s, err := share.Open(dir)
			must(t, err)
			l, err := OpenReadOnly(s)
			must(t, err)
			if l.ID() != "share-1" {
				t.Errorf("the share is %q", l.ID())
			}
			var got []string
			for r, err := range l.Records() {
				must(t, err)
				got = append(got, r.Path+" = "+r.PV+" "+string(r.State))
			}
			if known, listed := want[name]; !listed || !slices.Equal(got, known) {
				t.Errorf("the share has %q, want %q", got, known)
			}
			parentsAreRead(t, l, dir)
			trashIsRead(t, l, dir)
		})
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("there are no shares for %v", want)
	}
}

// parentsAreRead fails the test unless each parent on record that says which directory
// it is names the one that lies there.
func parentsAreRead(t *testing.T, l *Ledger, dir string) {
	t.Helper()
	files, err := filepath.Glob(dir + "/.claimdir/parents/*")
	must(t, err)
	n := 0
	for path, err := range l.Parents() {
		must(t, err)
		n++
		record, known, err := l.Parent(path)
		must(t, err)
		found, err := l.share.LookParent(path)
		if errors.Is(err, fs.ErrNotExist) { // removed, and the record had been next
			continue
		}
		if !known || err != nil || record.Directory != nil && !record.Directory.Same(found.ID) {
			t.Errorf("parent %s is %+v on record, and %+v, %v on the share", path, record, found, err)
		}
	}
	if n != len(files) {
		t.Errorf("%d parents are read of %q", n, files)
	}
}

// trashIsRead fails the test unless each record in the trash says whose it is.
func trashIsRead(t *testing.T, l *Ledger, dir string) {
	t.Helper()
	files, err := filepath.Glob(dir + "/.claimdir/trash/*.json")
	must(t, err)
	_, recorded, err := l.share.Trash()
	must(t, err)
	for _, name := range recorded {
		if r, readable := l.Discarded(name); !readable || r.PV != "pvc-1" {
			t.Errorf("%s in the trash is %+v, %v", name, r, readable)
		}
	}
	if len(recorded) != len(files) {
		t.Errorf("%q are read of %q", recorded, files)
	}
}
