// Package volpath holds the paths of volumes, relative to their share, and the patterns that make them from a claim.
//
// A tenant chooses claim names, labels and annotations, so every text that becomes a path is hostile until it is checked. The check is
// made once, by a constructor, and its result is a type: whoever holds a Path that is not zero need not ask again whether it is empty,
// absolute, climbs out with "..", or reaches the names that claimdir keeps for itself. Nothing is ever cleaned into being acceptable.
//
// The package is pure: it knows neither files nor Kubernetes. A checked path still says nothing about symbolic links on the share;
// package share sees to these.
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
	// MaxElement is how many bytes one element of a path may have: NAME_MAX of every file system that is exported in practice.
	MaxElement = 255
	// MaxPath is how many bytes a whole path may have: PATH_MAX of Linux without its closing NUL.
	MaxPath = 4095
	// MaxLevels is how many elements the path of a new volume may have. Each costs several calls to the share when it is made and when it
	// is removed, and a tenant who may name the path could keep a worker busy for minutes.
	MaxLevels = 64
)

const (
	recordsDir    = ".claimdir" // where claimdir keeps its records, at the root of the share
	archivePrefix = "archived-" // how the archives begin, also at the root
	maxQuoted     = 300         // bytes of a text that an error repeats: an event holds 1,024
)

// Path is a checked path of a directory below the root of a share. It is comparable: two volumes have the same directory if their paths
// are equal. The zero value is not a path.
type Path struct{ s string }

// Parse checks s and returns it as a Path, unchanged. It refuses the empty and the absolute path, the elements "", "." and ".." (also with
// invisible characters in them, which some shares do not see), control
// characters, text that is not UTF-8, an element over MaxElement or a whole over MaxPath bytes, and, as the first element, the names that
// claimdir keeps for itself: ".claimdir" and all that begin with "archived-", in any letter case because some shares ignore it.
func Parse(s string) (Path, error) {
	err := check(s)
	if err == nil && reserved(first(s)) {
		err = errReserved()
	}
	return checked(s, err)
}

// ParseRecorded is Parse for a path that claimdir itself has written down: it accepts the name of an archive too, which is one element at
// the root. Texts of tenants and classes go through Parse.
func ParseRecorded(s string) (Path, error) {
	err := check(s)
	if err == nil && reserved(first(s)) && !archive(s) {
		err = errReserved()
	}
	return checked(s, err)
}

// String returns the path as it is written on the share, without a leading slash.
func (p Path) String() string { return p.s }

// MarshalText lets structured logs and JSON show the path as its text.
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

// check holds the rules that every path obeys, archives included.
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

// reserved compares as the most forgiving share would: without letter case, and without the invisible characters that a case-folding
// ext4 or HFS+ directory skips when it looks up a name.
func reserved(element string) bool {
	seen := visible(element)
	return strings.EqualFold(seen, recordsDir) || reservedPrefix(seen)
}

// visible is the element without what such a directory skips.
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

// archive reports whether s is written as Archive writes: one element, lower-case prefix.
func archive(s string) bool {
	return strings.HasPrefix(s, archivePrefix) && !strings.Contains(s, "/")
}

func first(s string) string {
	e, _, _ := strings.Cut(s, "/")
	return e
}

// quote is %q for texts of any length, so that a value of a megabyte does not become an event of one.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q… (%d bytes)", cut(s, maxQuoted), len(s))
}
