package page

import (
	"cmp"
	_ "embed" // the page and its style
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"claimdir/provisioner/output"
)

const (
	// Rows is how many volumes, and how many namespaces, the page shows.
	Rows = 20
	// Entries is how many refused claims, archives and findings it shows, and how many shares.
	Entries = 50
	// longestName and longestText are how many characters of a name and of a text it shows. A text has its
	// advice at the end, so it is cut only if it is longer than any event.
	longestName, longestText = 72, 1024
)

//go:embed page.css
var style string

//go:embed page.html
var source string

// pages is the template of the page.
var pages = template.Must(template.New("page").Funcs(template.FuncMap{ //nolint:gochecknoglobals // parsed once; never changed
	"bytes": bytesText[int64], "size": bytesText[uint64], "count": count, "name": name, "text": text,
	"ago": ago, "stamp": stamp, "clock": clock, "bar": bar, "bars": bars, "percent": percent, "less": func(a, b uint64) uint64 { return a - min(a, b) },
}).Parse(source))

// view is Data as the template reads it: with all lists cut, and those of the shares joined.
type view struct {
	Data

	Style      template.CSS
	Shares     List[Share]
	VolumesAt  int64 // the largest size in the table, in bytes
	SpacesAt   int64
	Several    bool // shares, so that their names are shown
	Used       bool // of some volume it is known
	Waiting    int
	Failing    int
	Archives   List[Archive]
	Forever    int
	Findings   List[Finding]
	Swept      time.Time // when the share whose sweep ended first was swept; zero if one was not swept
	LookedFor  bool      // archives of all shares
	ListedAll  bool      // trash of all shares
	InTrouble  int       // shares
	TrashOf    []Share   // those with something in it
	CopiesOf   []Share   // those with copies or snapshots
	Copying    int       // copies that run or wait
	Snapped    int       // snapshots
	CountedAll bool      // snapshots of all shares
}

// write writes the page, and returns the error of w.
func write(w io.Writer, d Data) error { return pages.Execute(w, newView(d)) }

func newView(d Data) view {
	v := view{Data: d, Style: template.CSS(style), Several: len(d.Shares) > 1, LookedFor: true, ListedAll: true, CountedAll: true} //nolint:gosec // our own
	v.Shares = List[Share]{Rows: d.Shares}.first(Entries)
	v.Volumes, v.Namespaces, v.Refused = d.Volumes.first(Rows), d.Namespaces.first(Rows), d.Refused.first(Entries)
	for _, volume := range v.Volumes.Rows {
		v.VolumesAt, v.Used = max(v.VolumesAt, volume.Requested, volume.Used), v.Used || volume.Known
	}
	for _, n := range v.Namespaces.Rows {
		v.SpacesAt, v.Used = max(v.SpacesAt, n.Requested, n.Used), v.Used || n.Known
	}
	for i, s := range d.Shares {
		v.join(s)
		if i == 0 || s.Findings.At.Before(v.Swept) {
			v.Swept = s.Findings.At
		}
	}
	slices.SortStableFunc(v.Archives.Rows, func(a, b Archive) int { return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.Path, b.Path)) })
	v.Archives, v.Findings = v.Archives.first(Entries), v.Findings.first(Entries)
	return v
}

// join adds what is known of one share to what is known of all.
func (v *view) join(s Share) {
	if s.Trouble != "" && !s.Starting {
		v.InTrouble++
	}
	v.Waiting, v.Failing = v.Waiting+s.Trash.Waiting, v.Failing+s.Trash.Failing
	if s.Trash.Waiting > 0 && len(v.TrashOf) < Entries {
		v.TrashOf = append(v.TrashOf, s)
	}
	copying := s.Copies.Running + s.Copies.Waiting
	v.Copying, v.Snapped, v.CountedAll = v.Copying+copying, v.Snapped+s.Snapshots.Count, v.CountedAll && !s.Snapshots.At.IsZero()
	if copying+s.Snapshots.Count > 0 && len(v.CopiesOf) < Entries {
		v.CopiesOf = append(v.CopiesOf, s)
	}
	v.ListedAll, v.LookedFor = v.ListedAll && s.Trash.Known, v.LookedFor && !s.Archives.At.IsZero()
	v.Forever += s.Archives.Forever
	v.Archives = joined(v.Archives, s.Archives.Ending)
	v.Findings = joined(v.Findings, s.Findings.List)
}

func joined[T any](a, b List[T]) List[T] {
	return List[T]{Rows: slices.Concat(a.Rows, b.Rows), Total: a.Total + max(b.Total, len(b.Rows)), AtLeast: a.AtLeast || b.AtLeast}
}

// name returns a name in one printable line that is not too long.
func name(s string) string { return output.Cut(output.Cell(head(s)), longestName) }

// text is name for a text for people.
func text(s string) string { return output.Cut(output.Cell(head(s)), longestText) }

// head bounds the work on a string of any length: what comes after this would be cut out anyway.
func head(s string) string {
	const most = 16 << 10
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// nbsp is a blank at which no line is broken.
const nbsp = "\u00a0"

// bytesText writes a number of bytes, such as 1.5 GiB.
func bytesText[T int64 | uint64](n T) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	value, unit := float64(n), 0
	for ; math.Abs(value) >= 1024 && unit < len(units)-1; unit++ {
		value /= 1024
	}
	if unit == 0 || value == math.Trunc(value) || math.Abs(value) >= 100 {
		return fmt.Sprintf("%.0f"+nbsp+"%s", value, units[unit])
	}
	return fmt.Sprintf("%.1f"+nbsp+"%s", value, units[unit])
}

// count writes a number with its thousands apart.
func count(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// bar returns how many hundredths of all the part is, as the width of a bar. Of what is more than nothing, one
// hundredth can be seen.
func bar(part, all any) float64 {
	p, a := number(part), number(all)
	if a <= 0 || p <= 0 {
		return 0
	}
	return math.Round(10*min(100, max(1, 100*p/a))) / 10
}

// widths are the widths of two bars, one over the other.
type widths struct{ Used, Requested float64 }

func bars(s Size, all int64) widths {
	w := widths{Requested: bar(s.Requested, all)}
	if s.Known {
		w.Used = bar(s.Used, all)
	}
	return w
}

// percent is bar for people.
func percent(part, all uint64) string {
	if all == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f"+nbsp+"%%", 100*float64(part)/float64(all))
}

func number(n any) float64 {
	switch n := n.(type) {
	case int64:
		return float64(n)
	case uint64:
		return float64(n)
	default:
		return 0
	}
}

// stamp writes a time for programs, and clock for people.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// ago writes how far a time is from now, such as "3 days ago" or "in 2 hours".
func ago(t, now time.Time) string {
	d := now.Sub(t)
	span := max(d, -d)
	units := []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}}
	for _, unit := range units {
		n := int(span / unit.of)
		if n == 0 {
			continue
		}
		words := count(n) + " " + unit.name
		if n > 1 {
			words += "s"
		}
		if d < 0 {
			return "in " + words
		}
		return words + " ago"
	}
	return "now"
}
