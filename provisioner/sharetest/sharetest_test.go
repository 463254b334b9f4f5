package sharetest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWriteMakesWhatTheTextSays(t *testing.T) {
	text := "# a comment\ndir 0755 team\ndir 2770 team/a b\ndir 1700 cut off\n" +
		"file 0640 team/a b/file\n\tone\n\t\ttwo, behind a tab\n\nfile 0600 90m old\nfile 0400 id\n\t{\"directory\": \"@cut off\"}\n"
	dir := t.TempDir()
	must(t, Write(fstest.MapFS{"one.txt": {Data: []byte(text)}}, "one", dir))
	var got []string
	must(t, filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		info, err := entry.Info()
		must(t, err)
		got = append(got, fmt.Sprint(strings.TrimPrefix(name, dir+"/"), " ", info.Mode()))
		return nil
	}))
	want := []string{"cut off dtrwx------", "id -r--------", "old -rw-------", "team drwxr-xr-x", "team/a b dgrwxrwx---", "team/a b/file -rw-r-----"}
	if !slices.Equal(got, want) {
		t.Errorf("it made %q, want %q", got, want)
	}
	content, err := os.ReadFile(dir + "/team/a b/file")
	must(t, err)
	if string(content) != "one\n\ttwo, behind a tab\n" {
		t.Errorf("the file holds %q", content)
	}
	old, err := os.Stat(dir + "/old")
	must(t, err)
	if age := time.Since(old.ModTime()).Round(time.Minute); age != 90*time.Minute || old.Size() != 0 {
		t.Errorf("the old file is %v old and has %d bytes", age, old.Size())
	}
	named, err := os.Stat(dir + "/cut off")
	must(t, err)
	stat, _ := named.Sys().(*syscall.Stat_t)
	id, err := os.ReadFile(dir + "/id")
	must(t, err)
	if start := fmt.Sprintf(`{"directory": {"number":%d,"uid":%d`, stat.Ino, stat.Uid); !strings.HasPrefix(string(id), start) {
		t.Errorf("the identity is %s, want one that begins with %s", id, start)
	}
}

func TestWriteRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for text, says := range map[string]string{
		"link 0777 a\n":              "neither",
		"dir 755 a\n":                "neither",
		"\tcontent of nothing\n":     "neither",
		"dir 0755 a\n\tcontent\n":    "neither",
		"file 0600 a/b\n":            "no such file",
		"file 0600 a\n\t\"@nobody\"": "identify",
	} {
		err := Write(fstest.MapFS{"bad.txt": {Data: []byte(text)}}, "bad", t.TempDir())
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "share bad") {
			t.Errorf("%q: %v, want one that says %q", text, err, says)
		}
	}
	if err := Write(fstest.MapFS{}, "absent", t.TempDir()); err == nil {
		t.Error("a share without a text was written")
	}
}
