package ledger

import (
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
	below := escape(path.String() + "/")
	for owner, err := range l.records(func(key string) bool { return mayBeBelow(key, below) }) {
		if err != nil {
			return err
		}
		if strings.HasPrefix(owner.Path, path.String()+"/") {
			return Taken(path, owner, r)
		}
	}
	return nil
}

// mayBeBelow reports whether a key is that of a path whose escaped form begins with
// prefix. A hashed key shows only the beginning of its path, so one that agrees as far
// as it goes may be.
func mayBeBelow(key, prefix string) bool {
	if hashed, ok := strings.CutSuffix(key, hashedMark); ok {
		shown := hashed[:max(0, len(hashed)-hashedTail)]
		return strings.HasPrefix(shown, prefix) || strings.HasPrefix(prefix, shown)
	}
	return strings.HasPrefix(key, prefix)
}
