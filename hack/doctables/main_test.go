package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWriteThenCompare(t *testing.T) {
	docs := t.TempDir()
	for _, d := range documents {
		begin, end := marks(d.name)
		if err := os.WriteFile(filepath.Join(docs, d.file), []byte("# Title\n"+begin+"old\n"+end+"rest\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := run([]string{docs}, false); err == nil {
		t.Fatal("an old table passes")
	}
	for range 2 { // writing twice changes nothing more
		if err := run([]string{docs}, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := run([]string{docs}, false); err != nil {
		t.Fatal(err)
	}
	for _, d := range documents {
		got, err := os.ReadFile(filepath.Join(docs, d.file))
		if err != nil {
			t.Fatal(err)
		}
		begin, end := marks(d.name)
		if want := "# Title\n" + begin + "\n" + strings.TrimSpace(d.table) + "\n\n" + end + "rest\n"; string(got) != want {
			t.Errorf("%s: got\n%s\nwant\n%s", d.file, got, want)
		}
	}
}

func TestAMissingMarkIsNamed(t *testing.T) {
	begin, end := marks("parameters")
	for text, mark := range map[string]string{"": "begin", begin: "end", end + begin: "end"} {
		if _, err := replace(text, "parameters", "table"); err == nil || !strings.Contains(err.Error(), "parameters: "+mark) {
			t.Errorf("%q: got %v, want an error naming the %s mark", text, err, mark)
		}
	}
}
