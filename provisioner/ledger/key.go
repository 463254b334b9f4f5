package ledger

import (
	"fmt"
	"strings"

	"claimdir/provisioner/volpath"
)

// maxKey leaves room for ".json" and for people who list the directory; longer
// keys are cut and hashed.
const maxKey = 200

// hashedMark ends the keys that are hashed. No other key has it: without it a
// tenant could ask for the very path that spells another one's hashed key.
const hashedMark = "+"

// file is the name of path's record below .claimdir.
func file(path volpath.Path) string {
	return volumesDir + "/" + key(path) + ".json"
}

// key is path as one readable file name: what is no letter, digit, '.', '_' or
// '-' is %XX, so different paths have different keys.
func key(path volpath.Path) string {
	var b strings.Builder
	for _, c := range []byte(path.String()) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() <= maxKey {
		return b.String()
	}
	return volpath.Shorten(b.String(), maxKey-len(hashedMark)) + hashedMark
}
