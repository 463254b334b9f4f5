package ledger

import (
	"strings"

	"claimdir/provisioner/volpath"
)

// CheckAbove refuses a path that lies inside another volume. It does not check the reverse case: a
// path with a volume inside it exists as a directory and is refused for that reason.
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

// CheckBelow refuses a path if another volume lies inside it. It lists the keys of all records, as
// one of several operations that run at a time, and reads those that may lie below. Call it for
// paths that are adopted, restored or released; a new path does not need it.
func (l *Ledger) CheckBelow(path volpath.Path, r Record) error {
	below := escape(path.String() + "/")
	list := func() ([]string, error) { return l.listings.share(l.keys, l.share.WaitFor) }
	for owner, err := range l.records(list, func(key string) bool { return mayBeBelow(key, below) }) {
		if err != nil {
			return err
		}
		if strings.HasPrefix(owner.Path, path.String()+"/") {
			return Taken(path, owner, r)
		}
	}
	return nil
}

// mayBeBelow reports whether the escaped path of a key may begin with prefix. A hashed key contains
// only the beginning of its path, so a match of that beginning counts.
func mayBeBelow(key, prefix string) bool {
	if hashed, ok := strings.CutSuffix(key, hashedMark); ok {
		shown := hashed[:max(0, len(hashed)-hashedTail)]
		return strings.HasPrefix(shown, prefix) || strings.HasPrefix(prefix, shown)
	}
	return strings.HasPrefix(key, prefix)
}
