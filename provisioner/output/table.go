package output

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	gap = 2 // blanks between two columns
	// maxPadded is the longest cell that makes its column wider. It is enough for
	// pvc-<UID> and most names; a longer cell is longer than its column.
	maxPadded = 64
	// minCut is the shortest width to which a column is cut.
	minCut = 16
)

// Table is a table for people. A name may have 253 characters and a path thousands, and must not
// make every row as wide:
//
//   - on a terminal, cells are cut in the middle, so that each row fits into one line;
//   - elsewhere, where a program may read the table, cells are whole, and one of more than
//     64 characters moves the rest of its own row alone.
type Table struct {
	// Width is the width of the terminal in characters; 0 means that there is none.
	Width int
	// Text says that the last column is text, which is never cut. The others then get at most
	// half of the terminal.
	Text bool

	rows [][]string
}

// Row adds a row. All rows of a table have the same number of cells.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = Cell(cell)
	}
	t.rows = append(t.rows, row)
}

// Write writes the table, and returns the error of w.
func (t *Table) Write(w io.Writer) error {
	if len(t.rows) == 0 {
		return nil
	}
	widths := t.widths()
	out := bufio.NewWriter(w)
	for _, row := range t.rows {
		for i, cell := range row {
			last := i == len(row)-1
			if t.Width > 0 && (!last || !t.Text) {
				cell = Cut(cell, widths[i])
			}
			_, _ = out.WriteString(cell) // Flush returns the error
			if !last {
				_, _ = out.WriteString(strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell))+gap))
			}
		}
		_ = out.WriteByte('\n')
	}
	return out.Flush()
}

// widths returns the width of each column.
func (t *Table) widths() []int {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			if n := utf8.RuneCountInString(cell); t.Width > 0 || n <= maxPadded {
				widths[i] = max(widths[i], n)
			}
		}
	}
	if t.Width == 0 {
		return widths
	}
	names, room := widths, t.Width-gap*(len(widths)-1)
	if t.Text {
		names, room = widths[:len(widths)-1], t.Width/2-gap*(len(widths)-1)
	}
	limit := limitOf(names, room)
	for i := range names {
		names[i] = min(names[i], limit)
	}
	return widths
}

// limitOf returns the largest width for columns with which they fit into the room: the widest are cut
// first. It is at least minCut.
func limitOf(widths []int, room int) (limit int) {
	for _, n := range widths {
		limit = max(limit, n)
	}
	for ; limit > minCut; limit-- {
		sum := 0
		for _, n := range widths {
			sum += min(n, limit)
		}
		if sum <= room {
			return limit
		}
	}
	return max(limit, minCut)
}

// Cut shortens a text to a width in characters by taking out its middle, because names differ at both ends.
func Cut(cell string, width int) string {
	runes := []rune(cell)
	if len(runes) <= width {
		return cell
	}
	begin := width / 2
	return string(runes[:begin]) + "…" + string(runes[len(runes)-(width-begin-1):])
}
