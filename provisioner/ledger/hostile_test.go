package ledger

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"claimdir/provisioner/volpath"
)

// FuzzRecordDirectories makes the directories of two paths' records in a real directory,
// exclusively. Two paths, those of archives too, never have one, and each is one entry of
// that directory and of no other.
func FuzzRecordDirectories(f *testing.F) {
	long := strings.Repeat("long/", 60)
	longKey := func(s string) string { return strings.ReplaceAll(s, "/", "%2F") }
	for _, pair := range [][2]string{
		{"a/b", "a%2Fb"}, {"a%2Fb", "a%252Fb"}, {"a", "a+"}, {"a", "a.json"}, {"a.json", "a.json.json"}, {"a/b", "a%2fb"}, {"a b", "a+b"}, {"a", "A"},
		{"é", "e\u0301"}, {"\u212b", "Å"}, {"a\u200b", "a"}, {"...", "....json"}, {".hidden", "%2Ehidden"}, {".json", "x"}, {"a\\b", "a/b"}, {"．．", "‥"},
		{long + "a", long + "b"}, {long + "a", longKey(long + "a")}, {long + "a", volpath.Shorten(longKey(long+"a"), maxKey)},
		{long + "a", volpath.Shorten(longKey(long+"a"), maxKey-1) + "+"}, {strings.Repeat("x", 200), strings.Repeat("x", 201)},
		{strings.Repeat("%", 66) + "xx", strings.Repeat("%", 67)}, {strings.Repeat("名", 85), strings.Repeat("名", 84)}, {strings.Repeat("x/", 2047) + "x", "x"},
		{"archived-ns-data-pvc-1", "archived-ns-data-pvc-1-2"}, {"archived-" + strings.Repeat("x", 246), "archived-" + strings.Repeat("x", 245)},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		p, errP := volpath.ParseRecorded(a)
		q, errQ := volpath.ParseRecorded(b)
		if errP != nil || errQ != nil {
			return
		}
		dir := t.TempDir()
		must(t, os.MkdirAll(dir+"/"+recordsDir+"/%2F", 0o700)) // what a careless reader of names could reach
		makeRecord(t, dir, p)
		if err := os.Mkdir(dir+"/"+directoryOf(q), 0o700); p == q != errors.Is(err, fs.ErrExist) {
			t.Errorf("paths %q and %q have %q and %q: %v", p, q, directoryOf(p), directoryOf(q), err)
		}
	})
}

func makeRecord(t *testing.T, dir string, p volpath.Path) {
	t.Helper()
	must(t, os.Mkdir(dir+"/"+directoryOf(p), 0o700))
	name := path.Base(directoryOf(p))
	if len(name) > volpath.MaxElement || directoryOf(p) != recordsDir+"/"+name {
		t.Errorf("path %q has %q", p, directoryOf(p))
	}
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(p.String(), ".") {
		t.Errorf("path %q has the hidden %q", p, name)
	}
	entries, err := os.ReadDir(dir + "/" + recordsDir)
	must(t, err)
	if len(entries) != 2 || entries[0].Name() != name && entries[1].Name() != name {
		t.Errorf("path %q has the entries %v, want %q", p, entries, name)
	}
	if others, err := os.ReadDir(dir); err != nil || len(others) != 1 {
		t.Errorf("path %q made entries elsewhere: %v, %v", p, others, err)
	}
}
