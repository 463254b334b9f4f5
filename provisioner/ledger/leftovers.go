package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// What processes that were killed have left.

// Sweep yields all records as Records does, and removes the directories of paths that have no record.
// A process that was killed, or whose answer was lost, just after it had removed a record leaves such a
// directory. It is empty: one with something in it stays.
func (l *Ledger) Sweep() iter.Seq2[Record, error] {
	return l.each(l.keys, func(string) bool { return true }, func(key string) error {
		if !l.layout.upgrades {
			return nil
		}
		return l.share.RemoveEmptyDirectory(recordsDir, key)
	})
}

// RemoveStale removes the leftovers of killed processes: records that were being created, and empty
// directories made to set a volume aside or to copy one.
func (l *Ledger) RemoveStale() error {
	for _, in := range []string{stagingDir, share.MovingDir, share.CopiesDir} {
		err := l.share.RemoveStale(in, "probe."+l.id)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// clear removes the files that killed writes left in the directory of a path without a record, if
// they are at least an hour old. Nobody can take the path before.
func (l *Ledger) clear(path volpath.Path) error {
	if !l.layout.upgrades {
		return nil
	}
	err := l.share.RemoveStaleBut(recordSuffix, directoryOf(path), "probe."+l.id)
	if err == nil {
		err = l.share.RemoveEmptyDirectory(recordsDir, key(path))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear the leftovers of the record of %s: %w", path, err)
	}
	return nil
}
