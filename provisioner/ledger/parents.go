package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// parentsDir holds the records of parents, named as those of volumes are.
const parentsDir = "parents"

// Parent is the record of a directory that was made only because volumes lie
// below it. One without is somebody else's and never removed.
type Parent struct {
	Layout int       `json:"layout"`
	Path   string    `json:"path"`
	Made   time.Time `json:"made"`
	// Directory is the one that was made; nil while it is being made.
	Directory *share.FileID `json:"directory,omitempty"`
}

// BeginParent says that the directory path is about to be made, so that a start
// after a kill finds it.
func (l *Ledger) BeginParent(path volpath.Path) error { return l.writeParent(path, nil) }

// MadeParent says which directory was made at path.
func (l *Ledger) MadeParent(path volpath.Path, directory share.FileID) error {
	return l.writeParent(path, &directory)
}

func (l *Ledger) writeParent(path volpath.Path, directory *share.FileID) error {
	data, err := json.MarshalIndent(Parent{Layout: Layout, Path: path.String(), Made: now(), Directory: directory}, "", "  ")
	if err == nil {
		err = l.share.ReplaceMeta(parentFile(path), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("record parent %s: %w", path, err)
	}
	return nil
}

// Parent returns the record of the parent path, and false if there is none: then
// it is not ours to remove.
func (l *Ledger) Parent(path volpath.Path) (Parent, bool, error) {
	data, err := l.share.ReadMeta(parentFile(path))
	if errors.Is(err, fs.ErrNotExist) {
		return Parent{}, false, nil
	}
	if err != nil {
		return Parent{}, false, fmt.Errorf("record of parent %s: %w", path, err)
	}
	p, _, err := decodeParent(data, parentFile(path))
	if err == nil && p.Path != path.String() {
		err = fmt.Errorf("%w in .claimdir/%s: it is for path %q", ErrDamaged, parentFile(path), p.Path)
	}
	return p, err == nil, err
}

// ForgetParent removes the record of the parent path. The directory must be
// gone, or not be ours.
func (l *Ledger) ForgetParent(path volpath.Path) error {
	if err := l.share.RemoveMeta(parentFile(path)); err != nil {
		return fmt.Errorf("forget parent %s: %w", path, err)
	}
	return nil
}

// Parents returns the paths of all parents on record, in the order of their file
// names. One that is damaged or of a newer layout comes as an error that names
// its file and does not end the listing. A share that only an older claimdir used
// has none.
func (l *Ledger) Parents() iter.Seq2[volpath.Path, error] {
	return func(yield func(volpath.Path, error) bool) {
		names, err := l.share.ListMeta(parentsDir)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(volpath.Path{}, err)
			return
		}
		for _, name := range names {
			name = parentsDir + "/" + name
			data, err := l.share.ReadMeta(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			var path volpath.Path
			if err == nil {
				_, path, err = decodeParent(data, name)
			}
			if !yield(path, err) {
				return
			}
		}
	}
}

// parentFile is the name of path's record as a parent below .claimdir.
func parentFile(path volpath.Path) string { return parentsDir + "/" + key(path) + recordSuffix }

// decodeParent checks the record against the name of its file.
func decodeParent(data []byte, name string) (Parent, volpath.Path, error) {
	var p Parent
	if err := json.Unmarshal(data, &p); err != nil {
		return Parent{}, volpath.Path{}, fmt.Errorf("%w in .claimdir/%s: %w", ErrDamaged, name, err)
	}
	if p.Layout > Layout {
		return Parent{}, volpath.Path{}, fmt.Errorf(".claimdir/%s has layout %d and this claimdir knows %d: run a newer one", name, p.Layout, Layout)
	}
	path, err := volpath.Parse(p.Path)
	if err != nil || p.Layout < 1 || parentFile(path) != name {
		return Parent{}, volpath.Path{}, fmt.Errorf("%w in .claimdir/%s: it is for path %q, layout %d", ErrDamaged, name, p.Path, p.Layout)
	}
	return p, path, nil
}
