package output

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func written(t *testing.T, table Table, rows ...[]string) []string {
	t.Helper()
	for _, row := range rows {
		table.Row(row...)
	}
	var out bytes.Buffer
	if err := table.Write(&out); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

// One name of 253 characters makes no other row wider.
func TestALongNameWidensItsOwnRowAlone(t *testing.T) {
	long := strings.Repeat("n", 250) + "end"
	rows := [][]string{{"CLAIM", "SIZE", "PATH"}, {"team/data", "1Gi", "a"}, {long, "2Gi", "b"}, {"é/x", "3Gi", long}}
	got := written(t, Table{}, rows...)
	want := []string{"CLAIM      SIZE  PATH", "team/data  1Gi   a", long + "  2Gi   b", "é/x        3Gi   " + long}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("without a terminal:\n%s", strings.Join(got, "\n"))
	}
	for _, width := range []int{40, 80, 120, 200} {
		got := written(t, Table{Width: width}, rows...)
		for _, line := range got {
			if n := utf8.RuneCountInString(line); n > max(width, 2*minCut+4+2*gap) {
				t.Errorf("of %d columns it takes %d: %s", width, n, line)
			}
		}
		if !strings.HasPrefix(got[1], "team/data ") || !strings.HasSuffix(got[1], "1Gi   a") || !strings.HasPrefix(got[2], "nnn") || !strings.Contains(got[2], "…") || !strings.Contains(got[2], "nend  2Gi   b") {
			t.Errorf("at %d:\n%s", width, strings.Join(got, "\n"))
		}
	}
	if got := written(t, Table{Width: 600}, rows...); strings.Contains(strings.Join(got, ""), "…") {
		t.Errorf("it cuts what has room:\n%s", strings.Join(got, "\n"))
	}
}

// Remedies hold command lines, which people copy.
func TestTextIsNeverCut(t *testing.T) {
	long, text := strings.Repeat("o", 253), strings.Repeat("kubectl ", 30)+"end"
	for _, width := range []int{0, 20, 80} {
		got := written(t, Table{Width: width, Text: true}, []string{"KIND", "OBJECT", "TEXT"}, []string{"volume", "pvc-1", "short"}, []string{"record", long, text})
		if !strings.HasSuffix(got[2], text) || strings.Contains(got[2], "…") != (width > 0) {
			t.Errorf("at %d:\n%s", width, strings.Join(got, "\n"))
		}
		if begin := strings.Index(got[1], "short"); begin > max(width/2, len("record")+2*gap+minCut) {
			t.Errorf("at %d the text begins at %d", width, begin)
		}
	}
}

func TestATableShowsNoControlCharacters(t *testing.T) {
	if got := written(t, Table{}, []string{"a\x1b[31m", "b\nc"}); len(got) != 1 || got[0] != "a?[31m  b?c" {
		t.Errorf("%q", got)
	}
	var out bytes.Buffer
	if err := (&Table{}).Write(&out); err != nil || out.Len() > 0 {
		t.Errorf("a table without rows: %q, %v", &out, err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestATableReturnsTheErrorOfItsWriter(t *testing.T) {
	var table Table
	table.Row("a")
	if err := table.Write(full{}); err == nil {
		t.Error("it says nothing")
	}
}

func TestCount(t *testing.T) {
	for want, got := range map[string]string{
		"1 volume": Count(1, "volume"), "0 volumes": Count(0, "volume"), "2 directories": Count(int64(2), "directory"), "3 classes": Count(3, "class"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
