package class

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"claimdir/provisioner/volpath"
)

const (
	maxMode         = 0o3777     // all but setuid
	maxOwner uint64 = 4294967294 // the next number is -1 to the kernel, which keeps the owner
)

// pattern reads pathPattern or subDir, two spellings of the same parameter.
func pattern(params map[string]string) (volpath.Pattern, error) {
	path, sub := params["pathPattern"], params["subDir"]
	switch {
	case path != "" && sub != "":
		return volpath.Pattern{}, errors.New(`parameters "pathPattern" and "subDir" are two spellings of the same; only one of them is allowed`)
	case sub != "":
		p, err := volpath.ParseSubDir(sub)
		return p, wrap("subDir", err)
	case path == "":
		path = volpath.DefaultPattern
	}
	p, err := volpath.ParsePattern(path)
	return p, wrap("pathPattern", err)
}

// onDelete reads onDelete or, if that is not set, archiveOnDelete. A bad archiveOnDelete is an error even if onDelete wins, because its
// author meant something by it.
func onDelete(params map[string]string) (Policy, error) {
	older, olderErr := archiveOnDelete(params["archiveOnDelete"])
	s := params["onDelete"]
	if s == "" {
		return older, olderErr
	}
	policy, err := ParsePolicy(s)
	return policy, errors.Join(wrap("onDelete", err), olderErr)
}

// archiveOnDelete accepts everything that nfs-subdir-external-provisioner accepts, even "1" and "f", so that its classes keep their
// meaning.
func archiveOnDelete(s string) (Policy, error) {
	if s == "" {
		return Archive, nil
	}
	archive, err := strconv.ParseBool(strings.ToLower(s))
	switch {
	case err != nil:
		return "", wrap("archiveOnDelete", fmt.Errorf(`%q is not allowed; allowed are "true" (archive) and "false" (delete)`, s))
	case archive:
		return Archive, nil
	}
	return Delete, nil
}

func onExisting(params map[string]string) (Existing, error) {
	s := params["onExisting"]
	if s == "" {
		return Refuse, nil
	}
	existing, err := choose(s, Refuse, Adopt)
	return existing, wrap("onExisting", err)
}

func onOverSize(params map[string]string) (OverSize, error) {
	s := params["onOverSize"]
	if s == "" {
		return Ignore, nil
	}
	answer, err := choose(s, Ignore, Tell, Freeze)
	return answer, wrap("onOverSize", err)
}

func mode(params map[string]string) (uint32, error) {
	s := params["mode"]
	if s == "" {
		return DefaultMode, nil
	}
	bits, err := strconv.ParseUint(s, 8, 32)
	switch {
	case err != nil || len(strings.TrimPrefix(s, "0")) > 4:
		return 0, wrap("mode", fmt.Errorf(`%q is not a mode; allowed are octal digits up to 3777, such as "0770" or "2770"`, s))
	case bits > maxMode:
		return 0, wrap("mode", fmt.Errorf("%q has the setuid bit (4000), which means nothing on a directory; up to 3777 is allowed", s))
	}
	return uint32(bits), nil
}

// owner reads a user or group id.
func owner(name string) func(map[string]string) (*uint32, error) {
	return func(params map[string]string) (*uint32, error) {
		s := params[name]
		if s == "" {
			return nil, nil
		}
		id, err := strconv.ParseUint(s, 10, 32)
		if err != nil || id > maxOwner {
			return nil, wrap(name, fmt.Errorf("%q is not an id; a decimal number from 0 to %d is allowed", s, maxOwner))
		}
		n := uint32(id)
		return &n, nil
	}
}

// shares reads the names of one share or several, separated by commas.
func shares(params map[string]string) (names []string, err error) {
	if params["share"] == "" {
		return nil, nil
	}
	if strings.HasPrefix(params["share"], "/") { // as csi-driver-nfs has it
		return nil, wrap("share", fmt.Errorf(`%q is an exported path, and %s; with several shares mounted, "share" is the name of one, such as "fast"`, params["share"], fromMount))
	}
	for name := range strings.SplitSeq(params["share"], ",") {
		name = strings.TrimSpace(name)
		switch {
		case name == "" || strings.ContainsFunc(name, notInName):
			return nil, wrap("share", fmt.Errorf(`%q is no name of a share; allowed are names such as "fast", several separated by commas`, name))
		case slices.Contains(names, name):
			return nil, wrap("share", fmt.Errorf("%q is named twice", name))
		}
		names = append(names, name)
	}
	return names, nil
}

// notInName reports whether the name of a share must not contain the character.
func notInName(r rune) bool {
	isLetter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	return !isLetter && (r < '0' || r > '9') && !strings.ContainsRune("-._", r)
}

func wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("parameter %q: %w", name, err)
}

// PeerPolicy returns what nfs-subdir-external-provisioner does with a volume whose class has these parameters. That provisioner compares
// onDelete exactly and falls back to archiveOnDelete for unknown values. PeerPolicy differs for "archive", which it does not know: such a
// class must not lose data.
func PeerPolicy(params map[string]string) (Policy, error) {
	switch Policy(params["onDelete"]) {
	case Delete:
		return Delete, nil
	case Retain:
		return Retain, nil
	case Archive:
		return Archive, nil
	}
	return archiveOnDelete(params["archiveOnDelete"])
}
