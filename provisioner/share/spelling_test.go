package share

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A second name for the same file stands for a share that takes both for one.
func TestAnotherSpellingIsNoticed(t *testing.T) {
	for name, tt := range map[string]struct {
		files   []string // all one file
		asked   string
		refused bool
	}{
		"the very name":                          {[]string{"data"}, "data", false},
		"the share tells case apart":             {[]string{"Data"}, "Data", false},
		"the share does not, and lists another":  {[]string{"DATA", "Data"}, "data", true},
		"the share does not, and lists this one": {[]string{"DATA", "data"}, "data", false},
		"no letters, no other case":              {[]string{"123"}, "123", false},
		"another normal form":                    {[]string{"\u00e9"}, "e\u0301", true},
		"the same normal form":                   {[]string{"e\u0301"}, "e\u0301", false},
		"a dot that the share dropped":           {[]string{"data"}, "data.", true},
		"a dot that it did not":                  {[]string{"data."}, "data.", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			first := filepath.Join(dir, tt.files[0])
			must(t, os.WriteFile(first, nil, 0o600))
			for _, other := range tt.files[1:] {
				must(t, os.Link(first, filepath.Join(dir, other)))
			}
			share, err := Open(dir)
			must(t, err)
			root, err := share.openRoot()
			must(t, err)
			defer share.done(root)
			found, err := root.look(tt.files[0])
			must(t, err)
			if err := checkSpelling(root, tt.asked, found); errors.Is(err, ErrSpelling) != tt.refused || (err == nil) == tt.refused {
				t.Errorf("got %v, want refused %v", err, tt.refused)
			}
		})
	}
}
