package snapshot

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volpath"
)

// volumeHandle names the volume that is copied: `<share>/<path>#<PersistentVolume>`, with the identity of the share.
type volumeHandle struct {
	share string
	path  volpath.Path
	pv    string
}

func (h volumeHandle) String() string { return h.share + "/" + h.path.String() + "#" + h.pv }

// parseVolumeHandle parses the handle of a volume. Anybody may have written it.
func parseVolumeHandle(s string) (volumeHandle, error) {
	share, rest, hasShare := strings.Cut(s, "/")
	i := strings.LastIndexByte(rest, '#') // no PersistentVolume has one in its name
	if !hasShare || share == "" || i < 0 {
		return volumeHandle{}, fmt.Errorf("volumeHandle %.300q is none of claimdir's", s)
	}
	path, err := volpath.Parse(rest[:i])
	if err != nil {
		return volumeHandle{}, fmt.Errorf("volumeHandle %.300q: %w", s, err)
	}
	if wrong := validation.IsDNS1123Subdomain(rest[i+1:]); len(wrong) > 0 {
		return volumeHandle{}, fmt.Errorf("volumeHandle %.300q names no PersistentVolume", s)
	}
	return volumeHandle{share, path, rest[i+1:]}, nil
}

// dataHandle names a snapshot on a share: see ledger.SnapshotHandle. cluster is empty for one of this cluster.
type dataHandle struct{ share, content, cluster string }

func (h dataHandle) String() string { return ledger.SnapshotHandle(h.share, h.content, h.cluster) }

// parseDataHandle parses the handle of a snapshot. Anybody may have written it.
func parseDataHandle(s string) (dataHandle, error) {
	share, name, found := strings.Cut(s, "/")
	content, cluster, ofCluster := strings.Cut(name, "@")
	isName := func(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }
	if !found || share == "" || !isName(content) || ofCluster && !isName(cluster) {
		return dataHandle{}, fmt.Errorf("snapshotHandle %.300q is none of claimdir's; claimdir snapshot list has those that there are", s)
	}
	return dataHandle{share, content, cluster}, nil
}
