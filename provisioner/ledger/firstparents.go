package ledger

import (
	"encoding/json"
	"errors"
	"io/fs"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// endParents marks the recorded parent directories and removes their records. It does not mark a
// directory that has replaced the recorded one, nor one whose record has no file number because its
// creation was cut off.
func (l *Ledger) endParents() error {
	names, err := l.share.ListMeta(firstParentsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		data, err := l.share.ReadFile(firstParentsDir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		var parent struct {
			Path      string
			Directory *struct{ Number uint64 }
		}
		if json.Unmarshal(data, &parent) == nil && parent.Directory != nil {
			if err := l.markParent(parent.Path, parent.Directory.Number); err != nil {
				return err
			}
		}
		if err := l.share.RemoveFile(firstParentsDir, name); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) markParent(recorded string, number uint64) error {
	path, err := volpath.Parse(recorded)
	if err != nil {
		return nil // a damaged record marks nothing
	}
	_, isVolume, err := l.Lookup(path)
	if err != nil || isVolume {
		return err
	}
	err = l.share.Mark(path, number)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, share.ErrChanged) || errors.Is(err, share.ErrNotDirectory) {
		return nil
	}
	return err
}
