// Package class turns the parameters of a StorageClass into a Class, once, before anything is done for a claim.
//
// A class is written by hand and cannot be edited later. A key that is silently ignored, or a value that silently becomes the default,
// shows only when data has been deleted that was meant to be archived; so everything that is not understood is refused, and all of it at
// once. The texts of the errors reach users as events on their claims.
package class

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"claimdir/provisioner/volpath"
)

// Policy says what happens to the directory of a volume when the volume is released.
type Policy string

// The policies, as they are written on volumes and records.
const (
	Delete  Policy = "delete"  // removed, with all that is in it
	Archive Policy = "archive" // renamed aside and kept
	Retain  Policy = "retain"  // left where it is, for the next claim of the same namespace and name
)

// Existing says what happens if the directory of a new volume exists already and no record says whose it is.
type Existing string

// The answers to an existing directory.
const (
	Refuse Existing = "refuse" // the claim waits, with an event
	Adopt  Existing = "adopt"  // the volume takes it as it is, mode and owner untouched
)

// DefaultMode is the mode of directories whose class names none.
const DefaultMode uint32 = 0o777

// Class is what a StorageClass asks for, checked. Only Parse makes one.
type Class struct {
	Pattern  volpath.Pattern // where volumes lie
	OnDelete Policy
	// ArchiveRetention is how long an archive is kept; 0 means for ever.
	ArchiveRetention time.Duration
	OnExisting       Existing
	// Mode holds the permission bits of directories we make as chmod(1) writes them, setgid (02000) and sticky (01000) included. These
	// are not the bits of Go's fs.FileMode, which keeps setgid and sticky elsewhere.
	Mode uint32
	// UID and GID own directories we make; nil leaves the owner as the server set it. They are pointers so that a Class that was never
	// parsed does not mean root.
	UID, GID *uint32
	// Shares names the shares that volumes may lie on; empty means the only one. Whether they are there is for the caller to see.
	Shares []string
}

// Parse checks the parameters of a StorageClass and returns the Class they describe. Keys are compared exactly, an empty value means the
// default, and a key with a "/" in it belongs to somebody else and is ignored. The error joins all problems: those of the values in the
// order of Parameters, then the unknown keys in alphabetical order.
func Parse(params map[string]string) (Class, error) {
	var p problems
	c := Class{
		Pattern:    note(&p, pattern, params),
		OnDelete:   note(&p, onDelete, params),
		OnExisting: note(&p, onExisting, params),
		Mode:       note(&p, mode, params),
		UID:        note(&p, owner("uid"), params),
		GID:        note(&p, owner("gid"), params),
		Shares:     note(&p, shares, params),
	}
	c.ArchiveRetention = note(&p, c.archiveRetention, params)
	p = append(p, unknown(params)...)
	if len(p) > 0 {
		return Class{}, errors.Join(p...)
	}
	return c, nil
}

// ParsePolicy returns the policy that s names, in any letter case.
func ParsePolicy(s string) (Policy, error) {
	return choose(s, Delete, Archive, Retain)
}

type problems []error

// note reads one field of the Class and notes what is wrong with it.
func note[T any](p *problems, read func(map[string]string) (T, error), params map[string]string) T {
	value, err := read(params)
	if err != nil {
		*p = append(*p, err)
	}
	return value
}

func unknown(params map[string]string) []error {
	allowed := names()
	var bad []string
	for key := range params {
		if !strings.Contains(key, "/") && !slices.Contains(allowed, key) {
			bad = append(bad, key)
		}
	}
	slices.Sort(bad)
	var errs []error
	for _, key := range bad {
		errs = append(errs, fmt.Errorf("unknown parameter %q; allowed are %s", key, list(allowed)))
	}
	return errs
}

// choose returns the one of allowed that s spells in any letter case.
func choose[T ~string](s string, allowed ...T) (T, error) {
	for _, a := range allowed {
		if strings.EqualFold(s, string(a)) {
			return a, nil
		}
	}
	return "", fmt.Errorf("%q is not allowed; allowed are %s", s, list(allowed))
}

// list writes `"a", "b" and "c"`.
func list[T ~string](words []T) string {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, fmt.Sprintf("%q", string(w)))
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " and " + quoted[last]
}
