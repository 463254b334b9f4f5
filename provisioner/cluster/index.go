package cluster

import (
	"crypto/sha256"
	"path"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/share"
)

// stateIndex indexes what work may wait for, so that a search for that costs nothing for all that is
// at rest.
const (
	stateIndex = "state"
	unbound    = "unbound"
	awaiting   = "awaiting"
	expanding  = "expanding"
	released   = "released"
)

func indexClaim(object any) ([]string, error) {
	if _, is := asExpanding(object); is {
		return []string{expanding}, nil
	}
	claim, ok := object.(*v1.PersistentVolumeClaim)
	switch {
	case !ok:
		return nil, nil
	case claim.Spec.VolumeName == "":
		return []string{unbound}, nil
	default:
		return []string{awaiting}, nil
	}
}

func indexReleased(object any) ([]string, error) {
	if held, ok := object.(*heldVolume); ok && held.is(isReleased) {
		return []string{released}, nil
	}
	return nil, nil
}

// exportIndex indexes volumes by their exported path and by each directory above it, so that a
// search costs nearly the same with ten volumes and 100,000.
const exportIndex = "export"

func indexExport(object any) ([]string, error) {
	held, ok := object.(*heldVolume)
	if !ok || !held.is(isNFS) {
		return nil, nil
	}
	server, export := held.server.Value(), path.Clean(held.more())
	keys := []string{keyAt(server, export)}
	for above := range ancestors(export) {
		keys = append(keys, keyBelow(server, above))
	}
	return keys, nil
}

// keyAt has only 4096 values: nearly every volume has a path of its own, and a value of the index takes
// more memory than the volume. A search compares the few dozen paths of one value.
func keyAt(server, export string) string {
	sum := exportKey("at", server, export)
	return string([]byte{sum[0], sum[1] & 15})
}

func keyBelow(server, export string) string {
	sum := exportKey("below", server, export)
	return string(sum[:])
}

// exportKey is a hash, so that the keys of a long path do not take memory with the square of its
// length. Those who look up a key compare the paths.
func exportKey(relation, server, export string) [16]byte {
	sum := sha256.Sum256([]byte(relation + " " + share.CanonicalServer(server) + ":" + path.Clean(export)))
	return [16]byte(sum[:16])
}

// ancestors yields the directories above an absolute path, nearest first.
func ancestors(export string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for export = path.Clean(export); export != "/" && export != "."; {
			export = path.Dir(export)
			if !yield(export) {
				return
			}
		}
	}
}
