package class

import (
	"strings"
	"testing"
)

func TestEveryParameterOfTheTableIsRead(t *testing.T) {
	for _, p := range Parameters() {
		_, err := Parse(map[string]string{p.Name: "${nonsense}"})
		if err == nil || !strings.Contains(err.Error(), `parameter "`+p.Name+`": `) || strings.Contains(err.Error(), "unknown parameter") {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
}

func TestMarkdownTableHasARowForEveryParameter(t *testing.T) {
	table := MarkdownTable()
	rows := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	if len(rows) != len(Parameters())+2 {
		t.Fatalf("%d rows:\n%s", len(rows), table)
	}
	for i, p := range Parameters() {
		row := rows[i+2]
		if !strings.HasPrefix(row, "| `"+p.Name+"` | ") || !strings.Contains(row, p.Default) || strings.Count(row, "|") != 4 {
			t.Errorf("row of %s: %s", p.Name, row)
		}
		if !strings.HasSuffix(p.Meaning, ".") || strings.Contains(p.Meaning, "\n") {
			t.Errorf("meaning of %s is no line of sentences: %q", p.Name, p.Meaning)
		}
	}
}
