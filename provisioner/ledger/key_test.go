package ledger

import (
	"os"
	"strings"
	"testing"

	"claimdir/provisioner/volpath"
)

func volpathArchive(t *testing.T) string {
	t.Helper()
	return volpath.Archive("ns", "data", "pvc-1", 1).String()
}

func TestKeyIsReadable(t *testing.T) {
	for path, want := range map[string]string{
		"ns-data-pvc-1":     "ns-data-pvc-1",
		"team/app.1/data_x": "team%2Fapp.1%2Fdata_x",
		"a%2Fb":             "a%252Fb",
		"a b+c":             "a%20b%2Bc",
		"é":                 "%C3%A9",
		".hidden":           ".hidden",
	} {
		if got := key(pathOf(t, path)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestKeyOfALongPathIsHashed(t *testing.T) {
	limit := strings.Repeat("x", maxKey)
	if got := key(pathOf(t, limit)); got != limit {
		t.Errorf("a path of %d bytes is cut: %s", maxKey, got)
	}
	long := limit + "y"
	got := key(pathOf(t, long))
	if len(got) != maxKey || !strings.HasPrefix(got, strings.Repeat("x", 100)) || got == key(pathOf(t, limit+"z")) {
		t.Errorf("%s", got)
	}
}

// A tenant who knows the path of another one's volume may ask for the path
// that spells its hashed key.
func TestNoPathSpellsAHashedKey(t *testing.T) {
	long := pathOf(t, strings.Repeat("x", 250))
	hashed := key(long)
	for _, spelling := range []string{hashed, strings.TrimSuffix(hashed, hashedMark), volpath.Shorten(long.String(), maxKey)} {
		if got := key(pathOf(t, spelling)); got == hashed {
			t.Errorf("path %s has the key of a longer one", spelling)
		}
	}
}

func FuzzKey(f *testing.F) {
	long := strings.Repeat("long/", 60)
	for _, pair := range [][2]string{{"a/b", "a%2Fb"}, {"a", "A"}, {long + "a", long + "b"}, {"é", "e\u0301"}, {"a b", "a+b"}, {"x", "x"}, {"名前/" + long, "a"}} {
		f.Add(pair[0], pair[1])
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, a, b string) {
		p, err := volpath.Parse(a)
		if err != nil {
			return
		}
		name := strings.TrimPrefix(directoryOf(p), recordsDir+"/")
		if len(name) > maxKey || strings.ContainsAny(name, "/\x00") || name == "" {
			t.Fatalf("%q is no file name", name)
		}
		must(t, os.Mkdir(dir+"/"+name, 0o700))
		must(t, os.Remove(dir+"/"+name))
		if q, err := volpath.Parse(b); err == nil && (p == q) != (key(p) == key(q)) {
			t.Fatalf("paths %q and %q have keys %q and %q", a, b, key(p), key(q))
		}
	})
}

func TestFileOfIsWhereTheRecordIs(t *testing.T) {
	if got := FileOf(pathOf(t, "team/data")); got != ".claimdir/records/team%2Fdata" {
		t.Error(got)
	}
}
