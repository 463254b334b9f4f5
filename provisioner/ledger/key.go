package ledger

import (
	"fmt"
	"strings"

	"claimdir/provisioner/volpath"
)

// maxKey leaves room for people who list the directory; longer keys are cut and
// hashed.
const maxKey = 200

// hashedMark ends the keys that are hashed. No other key has it: without it a
// tenant could ask for the very path that spells another one's hashed key.
const hashedMark = "+"

// hashedTail is what Shorten and we put behind the readable part of a hashed
// key: a dash and 16 digits.
const hashedTail = 17

// recordSuffix ends the file names of records.
const recordSuffix = ".json"

// fileOf is the name of a record in the directory of its path: it is named by its owner,
// so that nothing that is done late for one volume hits the record of another.
func fileOf(r Record) string { return volpath.Own(r.PV, r.Cluster) + recordSuffix }

// directoryOf is the directory of path's records below .claimdir.
func directoryOf(path volpath.Path) string { return recordsDir + "/" + key(path) }

// key is path as one readable file name: escaped, so different paths have
// different keys, and hashed where that is too long.
func key(path volpath.Path) string {
	escaped := escape(path.String())
	if len(escaped) <= maxKey {
		return escaped
	}
	return volpath.Shorten(escaped, maxKey-len(hashedMark)) + hashedMark
}

// escape writes what is no letter, digit, '.', '_' or '-' as %XX. The escaped
// beginning of a text is the beginning of the escaped text.
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
