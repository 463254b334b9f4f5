package volpath

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// hashLen is the length of the hash that stands for what Shorten cut away: 16 hex digits, 64 bits.
const hashLen = 16

// Vars are the values that a pattern may use.
type Vars struct {
	Namespace, Name, UID string            // of the claim
	PVName               string            // of the PersistentVolume that is being made
	Labels, Annotations  map[string]string // of the claim
}

// DefaultName returns the directory name of a volume whose class names no pattern, `<namespace>-<claim>-<pv>`. It is one element and
// never too long: Kubernetes allows names that together pass MaxElement, and such a claim must not fail for ever.
func DefaultName(v Vars) string {
	return Shorten(plain(v.Namespace+"-"+v.Name+"-"+v.PVName), MaxElement)
}

// Archive returns the n-th name for the archive of a volume: `archived-<namespace>-<claim>-<pv>`, from n = 2 on with `-<n>` after it. The
// same volume always gets the same names, so a repeat finds its own work; a caller that finds a name taken by another volume goes on to
// the next n.
func Archive(namespace, claim, pv string, n int) Path {
	suffix := ""
	if n > 1 {
		suffix = fmt.Sprintf("-%d", n)
	}
	name := plain(archivePrefix + namespace + "-" + claim + "-" + pv)
	return Path{Shorten(name, MaxElement-len(suffix)) + suffix}
}

// IsArchiveOf reports whether p is one of the names that Archive gives to the archives of a volume.
func IsArchiveOf(p Path, namespace, claim, pv string) bool {
	first := Archive(namespace, claim, pv, 1)
	if p == first {
		return true
	}
	i := strings.LastIndexByte(p.s, '-')
	if i < 0 {
		return false
	}
	n, err := strconv.Atoi(p.s[i+1:])
	return err == nil && n > 1 && p == Archive(namespace, claim, pv, n)
}

// ArchivePrefix is what the names of a namespace's archives begin with. Those of another namespace may, too: "a" and "a-b" have
// archived-a-b-… both.
func ArchivePrefix(namespace string) string { return archivePrefix + namespace + "-" }

// NamedAsArchive reports whether a directory at the root of a share has a name of the kind that archives have. Other provisioners give it
// to theirs too.
func NamedAsArchive(name string) bool { return strings.HasPrefix(name, archivePrefix) }

// Shorten returns s if it has at most limit bytes. Otherwise it keeps as many whole characters of s as fit and appends "-" and 16 hex
// digits of the SHA-256 of all of s, so that two long texts with the same beginning stay apart. Below 17 bytes only digits are left.
func Shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	digits := hex.EncodeToString(sum[:])[:hashLen]
	if limit <= hashLen {
		return cut(digits, limit)
	}
	return cut(s, limit-hashLen-1) + "-" + digits
}

// cut returns the first limit bytes of s, or fewer where that would split a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// plain makes one printable element of s. Kubernetes names pass unchanged.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == utf8.RuneError || unicode.IsControl(r) {
			return '-'
		}
		return r
	}, s)
}

// maxOwn leaves room for what is put behind the name: a cluster, a number, a suffix.
const maxOwn = 200

// Own returns a name for what belongs to one volume: its PersistentVolume's, with a tag of its cluster's, for each cluster may have a
// PersistentVolume of the name. No PersistentVolume has an '@' in its name, so nothing else is called like it.
func Own(pv, cluster string) string {
	sum := sha256.Sum256([]byte(cluster))
	return Shorten(strings.ReplaceAll(plain(pv), "@", "-"), maxOwn) + ownMark + hex.EncodeToString(sum[:4])
}

// OwnAt is Own for what a volume has at one of several paths.
func OwnAt(pv, cluster string, p Path) string {
	sum := sha256.Sum256([]byte(p.s))
	return Own(pv, cluster) + "-" + hex.EncodeToString(sum[:4])
}

// Trash returns the n-th name of what a volume has in the trash.
func Trash(pv, cluster string, n int) string { return fmt.Sprintf("%s-%d", Own(pv, cluster), n) }

// IsOwnOf reports whether a name was made for the volume by Own, OwnAt or Trash.
func IsOwnOf(name, pv, cluster string) bool {
	own := Own(pv, cluster)
	return name == own || strings.HasPrefix(name, own+"-")
}

// IsOwn reports whether a name was made by Own, OwnAt or Trash.
func IsOwn(name string) bool { return strings.Contains(name, ownMark) }

const ownMark = "@"
