package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"claimdir/hack/testbed"
)

// copyOf lets a claim be a copy of another.
func copyOf(source string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) {
		c.Spec.DataSource = &v1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: source}
	}
}

// requesting lets a claim request a size.
func requesting(size string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) {
		c.Spec.Resources.Requests = v1.ResourceList{v1.ResourceStorage: resource.MustParse(size)}
	}
}

// directoryOf returns where the directory of a PersistentVolume is seen here.
func (w *world) directoryOf(pv *v1.PersistentVolume) string {
	return filepath.Join(w.share, strings.TrimPrefix(pv.Spec.NFS.Path, testbed.Export+"/"))
}

// fill puts a tree of many kinds of files into a directory, and so many small files besides.
func (w *world) fill(dir string, files int) {
	w.T.Helper()
	w.Must(os.MkdirAll(filepath.Join(dir, "sub/empty"), 0o755))
	w.Must(os.WriteFile(filepath.Join(dir, "file"), []byte("content\n"), 0o640))
	w.Must(os.WriteFile(filepath.Join(dir, "sub/run"), []byte("#!/bin/sh\n"), 0o755))
	w.Must(os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "sub/second name")))
	w.Must(os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	for i := range files {
		in := filepath.Join(dir, "many", fmt.Sprint(i/100))
		w.Must(os.MkdirAll(in, 0o755))
		w.Must(os.WriteFile(filepath.Join(in, fmt.Sprint(i)), fmt.Appendf(nil, "file %d\n", i), 0o644))
	}
}

// same fails unless two trees are equal in kinds, modes, owners, times and contents.
func (w *world) same(a, b string) {
	w.T.Helper()
	list := func(dir string) string {
		find := exec.CommandContext(w.T.Context(), "sh", "-c", `cd "$1" && find . -printf '%P %y %m %U %G %T@ %n %l\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum`, "sh", dir)
		out, err := find.CombinedOutput()
		if err != nil {
			w.T.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if first, second := list(a), list(b); first != second {
		w.T.Errorf("the trees differ:\n%s\n%s", first, second)
	}
}

// nothingCopied fails if anything is left of copies.
func (w *world) nothingCopied() {
	w.T.Helper()
	w.Eventually("nothing is left of copies", func() error {
		if left := w.entries(".claimdir/copies"); len(left) > 0 {
			return fmt.Errorf(".claimdir/copies has %v", left)
		}
		return nil
	})
}

func testClone(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("archiveOnDelete", "false")
	w.Claim("data", requesting("10Mi"))
	source := w.Bound("data")
	w.fill(w.directoryOf(source), 300)
	w.Claim("clone", copyOf("data"), requesting("20Mi"))
	clone := w.Bound("clone")
	w.same(w.directoryOf(source), w.directoryOf(clone))
	if source.Spec.NFS.Path == clone.Spec.NFS.Path {
		t.Error("both have one directory")
	}
	if text := clone.Annotations["claimdir/copied"]; !strings.HasPrefix(text, "claim data, from ") {
		t.Errorf("the PersistentVolume says %q of the copy", text)
	}
	w.EventOfAnyType(w.Name, "clone", "the volume is a copy of claim data, from .*")
	w.T.Log(w.Events(w.Name, "clone"), clone.Annotations)
	w.nothingCopied()
	w.Must(os.WriteFile(filepath.Join(w.directoryOf(clone), "file"), []byte("changed\n"), 0o640))
	w.wantFile(strings.TrimPrefix(source.Spec.NFS.Path, testbed.Export+"/")+"/file", "content\n")
	w.DeleteClaim("clone")
	w.VolumeGone(clone.Name)
	w.DeleteClaim("data")
	w.VolumeGone(source.Name)
	w.healthy()
}
