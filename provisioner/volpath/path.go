// Package volpath defines the paths of volumes, relative to their share, and the patterns that build them from a claim.
//
// A tenant chooses claim names, labels and annotations, so every text that becomes a path is hostile until it is checked. A constructor
// checks it once and returns a type: a Path that is not zero is never empty or absolute, has no ".." and no name that claimdir reserves.
// The constructors refuse a bad path; they never clean it.
//
// The package is pure: it knows neither files nor Kubernetes. A checked path may still lead over symbolic links on the share; package share
// refuses these.
package volpath

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxElement is how many bytes one element of a path may have: NAME_MAX of the file systems that are exported in practice.
	MaxElement = 255
	// MaxPath is how many bytes a whole path may have: PATH_MAX of Linux without its closing NUL.
	MaxPath = 4095
	// MaxLevels is how many elements the path of a new volume may have. Each element costs several calls to the share on create and on
	// release, so a tenant who may choose the path could keep a worker busy for minutes.
	MaxLevels = 64
)

const (
	recordsDir    = ".claimdir" // holds the records, at the root of the share
	archivePrefix = "archived-" // prefix of the archives, also at the root
	maxQuoted     = 300         // bytes of a text that an error quotes: an event holds 1,024
)

// Path is a checked path of a directory below the root of a share. It is comparable: two volumes have the same directory if their paths
// are equal. The zero value is not a path.
type Path struct{ s string }

// Parse checks s and returns it as a Path, unchanged. It refuses the empty and the absolute path, the elements "", "." and ".." (even with
// invisible characters, which some shares ignore), control characters, text that is not UTF-8, an element over MaxElement bytes and a path
// over MaxPath bytes. It also refuses the reserved names as the first element: ".claimdir" and all names that begin with "archived-", in
// any letter case because some shares ignore it.
func Parse(s string) (Path, error) {
	err := check(s)
	if err == nil && reserved(first(s)) {
		err = errReserved()
	}
	return checked(s, err)
}

// ParseRecorded is Parse for a path from a record or PersistentVolume: it also accepts the name of an archive, which is one element at the
// root. Use Parse for texts of tenants and classes.
func ParseRecorded(s string) (Path, error) {
	err := check(s)
	if err == nil && reserved(first(s)) && !archive(s) {
		err = errReserved()
	}
	return checked(s, err)
}

// String returns the path as it is written on the share, without a leading slash.
func (p Path) String() string { return p.s }

// MarshalText makes structured logs and JSON show the path as text.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.s), nil }

// Base returns the last element.
func (p Path) Base() string { return p.s[strings.LastIndexByte(p.s, '/')+1:] }

// Elements returns the elements from the root down; none for the zero Path.
func (p Path) Elements() []string {
	if p.s == "" {
		return nil
	}
	return strings.Split(p.s, "/")
}

// Ancestors returns the directories above p, nearest first and without the root of the share. That is the order in which empty parents
// are removed; they are created in the reverse one.
func (p Path) Ancestors() []Path {
	var above []Path
	for i := strings.LastIndexByte(p.s, '/'); i > 0; i = strings.LastIndexByte(p.s[:i], '/') {
		above = append(above, Path{p.s[:i]})
	}
	return above
}

// Contains reports whether other lies strictly below p. It compares whole elements: "a/b" does not contain "a/bc".
func (p Path) Contains(other Path) bool {
	return p.s != "" && strings.HasPrefix(other.s, p.s+"/")
}

func checked(s string, err error) (Path, error) {
	if err != nil {
		return Path{}, fmt.Errorf("path %s: %w", quote(s), err)
	}
	return Path{s}, nil
}

// check checks the rules for every path, including those of archives.
func check(s string) error {
	switch {
	case s == "":
		return errors.New(`empty; a path relative to the share is needed, such as "team/data"`)
	case s[0] == '/':
		return errors.New(`absolute; it must be relative to the share, without a leading "/"`)
	case len(s) > MaxPath:
		return fmt.Errorf("%d bytes long; at most %d are allowed", len(s), MaxPath)
	}
	if err := checkText(s); err != nil {
		return err
	}
	for e := range strings.SplitSeq(s, "/") {
		if err := checkElement(e); err != nil {
			return err
		}
	}
	return nil
}

func checkText(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("not valid UTF-8; only UTF-8 text is allowed")
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return fmt.Errorf("control character %U; only text without control characters is allowed", r)
		}
	}
	return nil
}

func checkElement(e string) error {
	switch {
	case e == "":
		return errors.New(`empty element; one "/" between two names is allowed, and none at the end`)
	case slices.Contains([]string{"", ".", ".."}, visible(e)):
		return fmt.Errorf(`element %q is not allowed; a path is written without "." and ".."`, e)
	case len(e) > MaxElement:
		return fmt.Errorf("element %s is %d bytes long; at most %d are allowed", quote(e), len(e), MaxElement)
	}
	return nil
}

func errReserved() error {
	return fmt.Errorf("reserved name; the first element may neither be %q nor begin with %q, where claimdir keeps its records and archives",
		recordsDir, archivePrefix)
}

// reserved compares like the most tolerant share: it ignores letter case, and the invisible characters that a case-folding ext4 or HFS+
// directory ignores in a lookup.
func reserved(element string) bool {
	seen := visible(element)
	return strings.EqualFold(seen, recordsDir) || reservedPrefix(seen)
}

// visible returns the element without these invisible characters.
func visible(element string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
			return -1
		}
		return r
	}, element)
}

func reservedPrefix(s string) bool {
	return len(s) >= len(archivePrefix) && strings.EqualFold(s[:len(archivePrefix)], archivePrefix)
}

// archive reports whether s has the form that Archive returns: one element with the lower-case prefix.
func archive(s string) bool {
	return strings.HasPrefix(s, archivePrefix) && !strings.Contains(s, "/")
}

func first(s string) string {
	e, _, _ := strings.Cut(s, "/")
	return e
}

// quote is %q for texts of any length. It cuts long texts, so that a value of a megabyte does not fill an event.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q… (%d bytes)", cut(s, maxQuoted), len(s))
}
