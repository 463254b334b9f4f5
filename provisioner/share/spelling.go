package share

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"claimdir/provisioner/volpath"
)

// ErrSpelling says that the share has the name in another spelling: it takes
// upper and lower case, or two ways to write one letter, for the same. The
// directory may be another volume's.
var ErrSpelling = errors.New("is on the share in another spelling")

// checkSpellings looks at every element of p, which is there; if it goes meanwhile,
// that is fs.ErrNotExist.
func (s *Share) checkSpellings(p volpath.Path) error {
	parent, err := s.openSpelled(p)
	if err != nil {
		return err
	}
	defer s.closeRoot(parent)
	return lookSpelled(parent, p.Base())
}

// openSpelled opens the directory that holds p, whose elements are those very
// names.
func (s *Share) openSpelled(p volpath.Path) (*os.Root, error) {
	dir, err := s.openRoot()
	if err != nil {
		return nil, err
	}
	elements := p.Elements()
	for _, element := range elements[:len(elements)-1] {
		err := lookSpelled(dir, element)
		var next *os.Root
		if err == nil {
			next, err = openChild(dir, element)
		}
		s.closeRoot(dir)
		if err != nil {
			return nil, fmt.Errorf("open the parents of %s: %w", p, plain(err))
		}
		dir = next
	}
	return dir, nil
}

// lookSpelled makes sure that parent has the entry name, by that very name.
func lookSpelled(parent *os.Root, name string) error {
	found, err := parent.Lstat(name)
	if err != nil {
		return err
	}
	err = checkSpelling(parent, name, found)
	if errors.Is(err, ErrSpelling) { // or it has gone since, and was not listed for that
		if _, gone := parent.Lstat(name); errors.Is(gone, fs.ErrNotExist) {
			return gone
		}
	}
	return err
}

// checkSpelling refuses name if parent has the entry that was found by it under
// another one. Nothing is listed unless the share shows that it may take two
// names for one: an ASCII name is looked up in the other case first.
func checkSpelling(parent *os.Root, name string, found fs.FileInfo) error {
	if plainASCII(name) {
		other := swapCase(name)
		if other == name {
			return nil
		}
		info, err := parent.Lstat(other)
		if err != nil || !os.SameFile(info, found) {
			return nil //nolint:nilerr // it is not there, or cannot be seen: so not by that name
		}
	}
	return checkListed(parent, name)
}

// checkListed looks for name, byte for byte, in what parent lists.
func checkListed(parent *os.Root, name string) error {
	dir, err := parent.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1000)
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
