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

// ErrSpelling says that the share has the name in another spelling. Such a share treats upper and
// lower case, or two encodings of one letter, as the same, so the directory may be another
// volume's.
var ErrSpelling = errors.New("is on the share in another spelling")

// checkSpellings checks the spelling of every element of p, whose parent is open. The error is
// fs.ErrNotExist if p disappears meanwhile.
func (s *Share) checkSpellings(p volpath.Path, parent *dir) error {
	if err := s.checkParentSpellings(p); err != nil {
		return err
	}
	return lookSpelled(parent, p.Base())
}

// checkParentSpellings checks the spelling of the elements above p.
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

// lookSpelled returns an error unless parent has an entry with exactly this name.
func lookSpelled(parent *dir, name string) error {
	found, err := parent.look(name)
	if err != nil {
		return err
	}
	err = checkSpelling(parent, name, found)
	if errors.Is(err, ErrSpelling) { // or it has disappeared before the listing
		if _, gone := parent.look(name); errors.Is(gone, fs.ErrNotExist) {
			return gone
		}
	}
	return err
}

// checkSpelling refuses name if parent has the found entry under another name. To avoid a listing
// it first looks up an ASCII name in the other case: a share that does not find the same entry
// there is case-sensitive.
func checkSpelling(parent *dir, name string, found unix.Stat_t) error {
	if plainASCII(name) {
		other := swapCase(name)
		if other == name {
			return nil
		}
		stat, err := parent.look(other)
		if err != nil || stat.Dev != found.Dev || stat.Ino != found.Ino {
			return nil // the other name is absent or another entry, so the share is case-sensitive
		}
	}
	return checkListed(parent, name)
}

// checkListed returns ErrSpelling unless the listing of parent contains name, byte for byte.
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

// plainASCII reports whether the name can have other spellings by letter case only. Some shares
// drop a dot or blank at the end of a name.
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
