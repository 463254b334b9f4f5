package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"claimdir/provisioner/volpath"
)

// CheckAbove refuses a path that lies inside another volume. (One that another
// volume lies inside of exists as a directory and is refused for that.)
func (l *Ledger) CheckAbove(path volpath.Path, r Record) error {
	for _, above := range path.Ancestors() {
		owner, found, err := l.Lookup(above)
		if err != nil {
			return err
		}
		if found {
			return Taken(path, owner, r)
		}
	}
	return nil
}

// CheckBelow refuses a path that another volume lies inside of. It lists the
// names of all records and reads those whose path may lie below, so it is for
// paths that are adopted, restored or released, not for those newly made.
func (l *Ledger) CheckBelow(path volpath.Path, r Record) error {
	names, err := l.share.ListMeta(volumesDir)
	if err != nil {
		return err
	}
	below := escape(path.String() + "/")
	for _, name := range names {
		if !mayBeBelow(name, below) {
			continue
		}
		owner, err := l.read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // released meanwhile
		}
		if err != nil {
			return err
		}
		if strings.HasPrefix(owner.Path, path.String()+"/") {
			return Taken(path, owner, r)
		}
	}
	return nil
}

// mayBeBelow reports whether a record's file name is that of a path whose
// escaped form begins with prefix. A hashed key shows only the beginning of
// its path, so one that agrees as far as it goes may be.
func mayBeBelow(name, prefix string) bool {
	key, isRecord := strings.CutSuffix(name, recordSuffix)
	if !isRecord {
		return true // not ours to judge: read, and found damaged
	}
	if hashed, ok := strings.CutSuffix(key, hashedMark); ok {
		shown := hashed[:max(0, len(hashed)-hashedTail)]
		return strings.HasPrefix(shown, prefix) || strings.HasPrefix(prefix, shown)
	}
	return strings.HasPrefix(key, prefix)
}

// read returns the record in the file name of the records' directory, checked
// against that name.
func (l *Ledger) read(name string) (Record, error) {
	data, err := l.share.ReadMeta(volumesDir + "/" + name)
	if err != nil {
		return Record{}, fmt.Errorf("record %s: %w", name, err)
	}
	return decodeNamed(data, name)
}
