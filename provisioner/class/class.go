// Package class parses the parameters of a StorageClass into a Class. This happens once, before any operation for a claim.
//
// Parse refuses every parameter that it does not understand, and reports all of them at once. A class is written by hand and cannot be
// edited later, so a silently ignored key or value would show only after data was deleted that should have been archived. Users read the
// texts of the errors in events on their claims.
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

// Existing says what happens if the directory of a new volume exists already and has no record.
type Existing string

// The answers to an existing directory.
const (
	Refuse Existing = "refuse" // the claim waits, with an event
	Adopt  Existing = "adopt"  // the volume takes it as it is, mode and owner untouched
)

// OverSize says what happens when a claim's directory holds more than the claim has requested.
type OverSize string

// The answers to a directory that holds too much.
const (
	Ignore OverSize = "ignore" // nothing
	Tell   OverSize = "tell"   // events and a condition on the claim
	Freeze OverSize = "freeze" // besides, new claims of its namespace and class wait
)

// DefaultMode is the mode of directories whose class names none.
const DefaultMode uint32 = 0o777

// Class holds the checked parameters of a StorageClass. Only Parse creates one.
type Class struct {
	Pattern  volpath.Pattern // path of the volumes
	OnDelete Policy
	// ArchiveRetention is how long an archive is kept; 0 means for ever.
	ArchiveRetention time.Duration
	OnExisting       Existing
	// Mode holds the permission bits of new directories as chmod(1) writes them, including setgid (02000) and sticky (01000). Go's
	// fs.FileMode has other bits for these two.
	Mode uint32
	// UID and GID are the owner of new directories; nil keeps the owner that the server sets. They are pointers so that the zero Class does
	// not mean root.
	UID, GID *uint32
	// Shares are the names of the shares on which volumes may lie. Empty means the only one. The caller checks that they exist.
	Shares []string
	// MinFree is how much must stay free on the share of a new volume.
	MinFree MinFree
	// Overcommit is how many times the share's size the volumes on it may request together; 0 means no limit.
	Overcommit float64
	OnOverSize OverSize
}

// Parse checks the parameters of a StorageClass and returns the Class they describe. It compares keys exactly, takes an empty value for the
// default, and ignores keys with a "/", which belong to other programs. The error joins all problems: those of the values in the order of
// Parameters, then the unknown keys in alphabetical order.
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
		MinFree:    note(&p, minFree, params),
		Overcommit: note(&p, overcommit, params),
		OnOverSize: note(&p, onOverSize, params),
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

// note reads one field of the Class and collects its error.
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
		if hint := ofCSIDriver(key); hint != "" {
			errs = append(errs, fmt.Errorf("unknown parameter %q: %s", key, hint))
			continue
		}
		errs = append(errs, fmt.Errorf("unknown parameter %q; allowed are %s", key, list(allowed)))
	}
	return errs
}

// fromMount says what claimdir has instead of csi-driver-nfs's parameters server and share.
const fromMount = `claimdir takes server and export from what is mounted into its pod: leave out "server" and "share"`

// ofCSIDriver returns what to do about a parameter that csi-driver-nfs has and claimdir does not. It
// returns an empty string for other parameters.
func ofCSIDriver(key string) string {
	switch key {
	case "server":
		return fromMount
	case "mountPermissions":
		return `it is called "mode" here, such as mode: "0755"`
	}
	return ""
}

// choose returns the allowed value that s spells in any letter case.
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
