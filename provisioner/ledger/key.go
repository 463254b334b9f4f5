package ledger

import (
	"fmt"
	"strings"

	"claimdir/provisioner/volpath"
)

// maxKey keeps keys short enough to read in a listing. Longer keys are cut and hashed.
const maxKey = 200

// hashedMark ends every hashed key and no other. Without it a tenant could choose a path whose key
// equals another path's hashed key.
const hashedMark = "+"

// hashedTail is the length of the dash and 16 digits that Shorten appends to the readable part of a
// hashed key.
const hashedTail = 17

// recordSuffix ends the file names of records.
const recordSuffix = ".json"

// fileOf is the file name of a record in the directory of its path. It is the owner's own name, so
// that a late call for one volume cannot hit another volume's record.
func fileOf(r Record) string { return volpath.Own(r.PV, r.Cluster) + recordSuffix }

// directoryOf is the directory below .claimdir that holds the record of path.
func directoryOf(path volpath.Path) string { return recordsDir + "/" + key(path) }

// key is path as one readable file name. It is escaped, so that different paths have different
// keys, and hashed if it would be too long.
func key(path volpath.Path) string {
	escaped := escape(path.String())
	if len(escaped) <= maxKey {
		return escaped
	}
	return volpath.Shorten(escaped, maxKey-len(hashedMark)) + hashedMark
}

// escape writes every byte but letters, digits, '.', '_' and '-' as %XX. If a text begins with a
// prefix, its escaped form begins with the escaped prefix.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// IsCut reports whether a file name that FileOf returns does not hold the whole path.
func IsCut(file string) bool { return strings.HasSuffix(file, hashedMark) }
