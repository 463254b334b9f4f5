package share

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// ErrSpelling says that the share has the name in another spelling: it takes
// upper and lower case, or two ways to write one letter, for the same. The
// directory may be another volume's.
var ErrSpelling = errors.New("is on the share in another spelling")

// checkSpellings looks at every element of p, whose parent is open; if it goes
// meanwhile, that is fs.ErrNotExist.
func (s *Share) checkSpellings(p volpath.Path, parent *dir) error {
	if err := s.checkParentSpellings(p); err != nil {
		return err
	}
	return lookSpelled(parent, p.Base())
}

// checkParentSpellings looks at the elements above p.
func (s *Share) checkParentSpellings(p volpath.Path) error {
	elements := p.Elements()
	if len(elements) == 1 {
		return nil
	}
	current, err := s.openRoot()
	if err != nil {
		return err
	}
	defer func() { s.done(current) }()
	for _, element := range elements[:len(elements)-1] {
		if err := lookSpelled(current, element); err != nil {
			return err
		}
		next, err := current.open(element, asPlace)
		if err != nil {
			return err
		}
		s.done(current)
		current = next
	}
	return nil
}

// lookSpelled makes sure that parent has the entry name, by that very name.
func lookSpelled(parent *dir, name string) error {
	found, err := parent.look(name)
	if err != nil {
		return err
	}
	err = checkSpelling(parent, name, found)
	if errors.Is(err, ErrSpelling) { // or it has gone since, and was not listed for that
		if _, gone := parent.look(name); errors.Is(gone, fs.ErrNotExist) {
			return gone
		}
	}
	return err
}

// checkSpelling refuses name if parent has the entry that was found by it under
// another one. Nothing is listed unless the share shows that it may take two
// names for one: an ASCII name is looked up in the other case first.
func checkSpelling(parent *dir, name string, found unix.Stat_t) error {
	if plainASCII(name) {
		other := swapCase(name)
		if other == name {
			return nil
		}
		stat, err := parent.look(other)
		if err != nil || stat.Dev != found.Dev || stat.Ino != found.Ino {
			return nil //nolint:nilerr // it is not there, or cannot be seen: so not by that name
		}
	}
	return checkListed(parent, name)
}

// checkListed looks for name, byte for byte, in what parent lists.
func checkListed(parent *dir, name string) error {
	listing, err := parent.listing()
	if err != nil {
		return err
	}
	defer listing.Close()
	for {
		names, err := listing.Readdirnames(1000)
		switch {
		case slices.Contains(names, name):
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%q: %w", name, ErrSpelling)
		case err != nil:
			return err
		}
	}
}

// plainASCII reports whether no share has another spelling for the name than
// by letter case. Some drop a dot or blank at the end.
func plainASCII(name string) bool {
	for _, c := range []byte(name) {
		if c >= 0x80 {
			return false
		}
	}
	return !strings.HasSuffix(name, ".") && !strings.HasSuffix(name, " ")
}

func swapCase(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, name)
}
