package sharetest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Snapshot lists everything on the share, records included, with content.
func (w *World) Snapshot(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	Must(t, filepath.WalkDir(w.Dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, "/.claimdir/moving") { // made when it is needed; what is in it counts
			return nil
		}
		fmt.Fprintf(&b, "%s %v", name, info.Mode())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %v %q", info.ModTime().UnixNano(), data)
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}

// Untouched fails the test unless the share is as it was, but for the trash, which is
// emptied first.
func (w *World) Untouched(t *testing.T, before string) {
	t.Helper()
	w.EmptyTrash(t)
	if after := w.Snapshot(t); after != before {
		t.Errorf("touched:\nbefore\n%safter\n%s", before, after)
	}
}
