package share

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"testing"
)

// Each name comes once and in the order of the inodes, if the directory may be read
// in bulk; else in smaller parts, that others do not need the memory twice.
func removeReadsNames(t *testing.T, s site) {
	const most = 2 * batchSize / 24 // names of one getdents64 are fewer
	dir := s.dir + "/data"
	must(t, os.Mkdir(dir, 0o755))
	for i := range 3 * most {
		must(t, os.WriteFile(fmt.Sprintf("%s/%d", dir, i), nil, 0o600))
	}
	remover := NewRemover(0, 0)
	taken := 0
	for ; taken < bulks; taken++ {
		if got := s.readAll(t, remover, dir); len(got) != 1 || len(got[0]) != 3*most {
			t.Errorf("with %d read in bulk: %v", taken, sizes(got))
		}
		remover.bulk <- struct{}{}
	}
	got := s.readAll(t, remover, dir)
	if names := slices.Concat(got...); len(names) != 3*most || len(got) < 3 {
		t.Errorf("without bulk: %v", sizes(got))
	}
}

// readAll reads a directory as a removal does, and returns the batches, all of
// which are sorted.
func (s site) readAll(t *testing.T, remover *Remover, dir string) (batches [][]dirent) {
	t.Helper()
	opened, err := os.Open(dir)
	must(t, err)
	defer opened.Close()
	r := &removal{Remover: remover, share: s.share}
	for {
		batch, err := r.readBatch(opened)
		batch.release()
		must(t, err)
		if !slices.IsSortedFunc(batch.names, func(a, b dirent) int { return cmp.Compare(a.inode, b.inode) }) {
			t.Error("a batch is not sorted")
		}
		if batches = append(batches, batch.names); batch.last {
			return batches
		}
	}
}

func sizes(batches [][]dirent) (n []int) {
	for _, batch := range batches {
		n = append(n, len(batch))
	}
	return n
}
