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

// checkSpellings is checkSpelling for every element of p, which is there; if it
// goes meanwhile, that is fs.ErrNotExist.
func (s *Share) checkSpellings(p volpath.Path) error {
	dir, err := s.openRoot()
	if err != nil {
		return err
	}
	elements := p.Elements()
	for i, element := range elements {
		found, err := dir.Lstat(element)
		if err == nil {
			err = checkSpelling(dir, element, found)
		}
		if errors.Is(err, ErrSpelling) { // or it has gone since, and was not listed for that
			if _, gone := dir.Lstat(element); errors.Is(gone, fs.ErrNotExist) {
				err = gone
			}
		}
		var next *os.Root
		if err == nil && i < len(elements)-1 {
			next, err = openChild(dir, element)
		}
		s.closeRoot(dir)
		if next == nil || err != nil {
			return err
		}
		dir = next
	}
	return nil
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
