package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"claimdir/provisioner/class"
)

func TestWriteThenCompare(t *testing.T) {
	readme := filepath.Join(t.TempDir(), "README.md")
	begin, end := marks("parameters")
	also, ends := marks("snapshot parameters")
	if err := os.WriteFile(readme, []byte("# Title\n"+begin+"old\n"+end+"rest\n"+also+ends), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{readme}, false); err == nil {
		t.Fatal("an old table passes")
	}
	for range 2 { // writing twice changes nothing more
		if err := run([]string{readme}, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := run([]string{readme}, false); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	want := "# Title\n" + begin + "\n" + strings.TrimSpace(class.MarkdownTable()) + "\n\n" + end + "rest\n" +
		also + "\n" + strings.TrimSpace(class.SnapshotMarkdownTable()) + "\n\n" + ends
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
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
