package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

const (
	// usageDir holds what was measured: a file for each path, named by its key.
	usageDir = "usage"
	// usageOfTrash is the name of the trash's file. A key has '+' at its end alone.
	usageOfTrash = "+trash"
)

// Usage is how much a directory held when it was last measured.
type Usage struct {
	// PV and Cluster say of which volume the directory was. Both are empty for the trash.
	PV      string `json:"pv,omitempty"`
	Cluster string `json:"cluster,omitempty"`
	Path    string `json:"path,omitempty"`

	share.Usage

	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	// Partial says that the measurement was ended before all was counted, because it took too long.
	Partial bool `json:"partial,omitempty"`
	// Told is the percentage of the volume's size that people were told of: see package usage. 0 if they were
	// told nothing.
	Told int `json:"told,omitempty"`
	// ToldOf is the size, in bytes, of which Told is the percentage.
	ToldOf int64 `json:"toldOf,omitempty"`
}

// AtLeast reports whether the figures are too small: something could not be read, or was not counted.
func (u Usage) AtLeast() bool { return u.Unreadable > 0 || u.Partial }

// OfVolume reports whether the usage is that of the record's volume.
func (u Usage) OfVolume(r Record) bool { return u.PV == r.PV && u.Cluster == r.Cluster }

// WriteUsage writes what the directory of u.Path held, or replaces it.
func (l *Ledger) WriteUsage(path volpath.Path, u Usage) error {
	u.Path = path.String()
	if err := l.writeUsage(key(path), u); err != nil {
		return fmt.Errorf("usage of %s: %w", path, err)
	}
	return nil
}

// WriteTrashUsage is WriteUsage for the trash as a whole.
func (l *Ledger) WriteTrashUsage(u Usage) error {
	if err := l.writeUsage(usageOfTrash, u); err != nil {
		return fmt.Errorf("usage of the trash: %w", err)
	}
	return nil
}

func (l *Ledger) writeUsage(name string, u Usage) error {
	if err := l.mayWrite(); err != nil {
		return err
	}
	data, err := json.Marshal(u)
	if err != nil {
		return err
	}
	err = l.share.WriteFile(usageDir, name+recordSuffix, append(data, '\n'))
	if errors.Is(err, fs.ErrNotExist) {
		if err = l.share.MakeMeta(usageDir); err == nil {
			err = l.share.WriteFile(usageDir, name+recordSuffix, append(data, '\n'))
		}
	}
	return err
}

// Usage returns what the directory of the record's volume held, and false if that is not known. A damaged
// file counts as unknown, because the next measurement replaces it.
func (l *Ledger) Usage(path volpath.Path, r Record) (Usage, bool, error) {
	u, found, err := l.readUsage(key(path))
	if err != nil {
		return Usage{}, false, fmt.Errorf("usage of %s: %w", path, err)
	}
	if !found || !u.OfVolume(r) {
		return Usage{}, false, nil
	}
	return u, true, nil
}

// TrashUsage returns what the trash held, and false if that is not known.
func (l *Ledger) TrashUsage() (Usage, bool, error) {
	u, found, err := l.readUsage(usageOfTrash)
	if err != nil {
		return Usage{}, false, fmt.Errorf("usage of the trash: %w", err)
	}
	return u, found, nil
}

func (l *Ledger) readUsage(name string) (u Usage, found bool, err error) {
	data, err := l.share.ReadFile(usageDir, name+recordSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return Usage{}, false, nil
	}
	if err != nil {
		return Usage{}, false, err
	}
	if json.Unmarshal(data, &u) != nil {
		return Usage{}, false, nil
	}
	return u, true, nil
}

// LeftUsage returns the paths that were measured and have no record any more: recorded says of a path whether it
// has one, and gets what FileOf returns. LeftUsage removes damaged files, which do not say of which path they are,
// and passes over what cannot be read.
func (l *Ledger) LeftUsage(recorded func(file string) bool) (left []volpath.Path, err error) {
	names, err := l.share.ListMeta(usageDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list what was measured: %w", err)
	}
	for _, name := range names {
		key, whole := strings.CutSuffix(name, recordSuffix)
		if !whole || key == usageOfTrash || recorded(keyNamed(key)) { // one that is not whole is being written
			continue
		}
		u, _, err := l.readUsage(key)
		if share.IsStale(err) {
			return nil, fmt.Errorf("usage %s: %w", name, err)
		}
		if err != nil { // it is no file, or may not be read: it stays
			continue
		}
		path, err := volpath.ParseRecorded(u.Path)
		if err != nil {
			if err := l.share.RemoveFile(usageDir, name); err != nil {
				return nil, fmt.Errorf("usage %s: %w", name, err)
			}
			continue
		}
		left = append(left, path)
	}
	return left, nil
}

// RemoveUsage removes what is known of a path. It is no error if nothing is.
func (l *Ledger) RemoveUsage(path volpath.Path) error {
	if err := l.share.RemoveFile(usageDir, key(path)+recordSuffix); err != nil {
		return fmt.Errorf("usage of %s: %w", path, err)
	}
	return nil
}
