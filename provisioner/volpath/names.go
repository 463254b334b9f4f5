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

// hashLen is the length of the hash that Shorten appends: 16 hex digits, 64 bits.
const hashLen = 16

// Vars are the values that a pattern may use.
type Vars struct {
	Namespace, Name, UID string            // of the claim
	PVName               string            // of the PersistentVolume to be created
	Labels, Annotations  map[string]string // of the claim
}

// DefaultName returns the directory name of a volume whose class has no pattern, `<namespace>-<claim>-<pv>`. It is one element and
// shortened to MaxElement: Kubernetes allows longer names, and such a claim must not fail for ever.
func DefaultName(v Vars) string {
	return Shorten(plain(v.Namespace+"-"+v.Name+"-"+v.PVName), MaxElement)
}

// Archive returns the n-th name for the archive of a volume: `archived-<namespace>-<claim>-<pv>`, followed by `-<n>` from n = 2 on. The
// names depend on the volume alone, so that a repeat finds its own work. If another volume has a name, the caller tries the next n.
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

// ArchivePrefix returns the prefix of the names of a namespace's archives. Archives of another namespace may have it too: both "a" and
// "a-b" may have archived-a-b-….
func ArchivePrefix(namespace string) string { return archivePrefix + namespace + "-" }

// NamedAsArchive reports whether the name of a directory at the root of a share is like that of an archive. Other provisioners use such
// names too.
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

// plain replaces slashes and unprintable characters in s. Kubernetes names stay unchanged.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == utf8.RuneError || unicode.IsControl(r) {
			return '-'
		}
		return r
	}, s)
}

// maxOwn leaves room for the suffixes of an own name: a cluster, a number, a file extension.
const maxOwn = 200

// Own returns a volume's own name, for files and directories of claimdir that belong to this volume alone: the name of its PersistentVolume
// and a tag of its cluster, because two clusters may have PersistentVolumes of one name. No PersistentVolume has an '@' in its name, so
// nothing else has such a name.
func Own(pv, cluster string) string {
	sum := sha256.Sum256([]byte(cluster))
	return Shorten(strings.ReplaceAll(plain(pv), "@", "-"), maxOwn) + ownMark + hex.EncodeToString(sum[:4])
}

// OwnAt returns a volume's own name for one of several paths.
func OwnAt(pv, cluster string, p Path) string {
	sum := sha256.Sum256([]byte(p.s))
	return Own(pv, cluster) + "-" + hex.EncodeToString(sum[:4])
}

// IsOwnAt reports whether a name is one that OwnAt returns for any volume of the cluster at the path.
func IsOwnAt(name, cluster string, p Path) bool {
	return strings.HasSuffix(name, OwnAt("", cluster, p))
}

// Trash returns the n-th name for a directory of a volume in the trash.
func Trash(pv, cluster string, n int) string { return fmt.Sprintf("%s-%d", Own(pv, cluster), n) }

// IsOwnOf reports whether a name is one that Own, OwnAt or Trash returns for the volume.
func IsOwnOf(name, pv, cluster string) bool {
	own := Own(pv, cluster)
	return name == own || strings.HasPrefix(name, own+"-")
}

// IsOwn reports whether a name is one that Own, OwnAt or Trash returns for any volume.
func IsOwn(name string) bool { return strings.Contains(name, ownMark) }

const ownMark = "@"

// SnapshotsDir is the directory below .claimdir that holds the snapshots.
const SnapshotsDir = "snapshots"

// SnapshotTree returns the path of a snapshot's tree; own is the snapshot's own name. No volume and no class can have such a path: it is
// for reading, as the source of a copy.
func SnapshotTree(own string) Path {
	return Path{recordsDir + "/" + SnapshotsDir + "/" + plain(own) + "/volume"}
}
