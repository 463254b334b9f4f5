package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
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
	w.unused("data", true)
	w.Claim("clone", copyOf("data"), requesting("20Mi"))
	clone := w.Bound("clone")
	w.same(w.directoryOf(source), w.directoryOf(clone))
	if source.Spec.NFS.Path == clone.Spec.NFS.Path {
		t.Error("both have one directory")
	}
	if text := clone.Annotations["claimdir/copied"]; !strings.HasPrefix(text, "claim data, from ") {
		t.Errorf("the PersistentVolume says %q of the copy", text)
	}
	w.EventOfAnyType(w.Name, "clone", "the volume is a copy of claim data, from .*, no pod used the source")
	w.nothingCopied()
	w.Must(os.WriteFile(filepath.Join(w.directoryOf(clone), "file"), []byte("changed\n"), 0o640))
	w.wantFile(strings.TrimPrefix(source.Spec.NFS.Path, testbed.Export+"/")+"/file", "content\n")
	w.DeleteClaim("clone")
	w.VolumeGone(clone.Name)
	w.DeleteClaim("data")
	w.VolumeGone(source.Name)
	w.healthy()
}

// slowCopies lets a copy of some hundred files take some seconds.
const slowCopies = "COPY_RATE=200"

// begunCopy waits until a copy has begun on a share, which is a directory of the world's, and is not complete.
func (w *world) begunCopy(share string) {
	w.T.Helper()
	w.Eventually("a copy has begun", func() error {
		trees, err := filepath.Glob(filepath.Join(w.share, share, ".claimdir/copies/*/tree/many"))
		if err == nil && len(trees) == 0 {
			err = fmt.Errorf("there is none in .claimdir/copies")
		}
		return err
	})
}

// A source that is deleted after its copy was asked for stays until that has it, also while claimdir does not run and
// when it is killed in the middle.
func testCloneOfDeleted(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("archiveOnDelete", "false")
	w.Claim("data", requesting("10Mi"))
	source := w.Bound("data")
	w.fill(w.directoryOf(source), 300)
	kept := t.TempDir()
	w.Must(exec.CommandContext(t.Context(), "cp", "-a", w.directoryOf(source)+"/.", kept).Run())
	if code := w.process.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	w.Claim("clone", copyOf("data"), requesting("10Mi"))
	w.DeleteClaim("data")
	w.Eventually("the source is released", func() error {
		pv, err := bed.Admin.CoreV1().PersistentVolumes().Get(t.Context(), source.Name, metav1.GetOptions{})
		if err == nil && pv.Status.Phase != v1.VolumeReleased {
			err = fmt.Errorf("it is %s", pv.Status.Phase)
		}
		return err
	})
	w.process = w.start(slowCopies)
	w.Event("", source.Name, `claim "clone" of namespace .* is to be a copy of this volume and has not got it yet`)
	w.begunCopy("")
	w.process.Kill()
	w.process = w.start(slowCopies)
	clone := w.Bound("clone")
	w.same(kept, w.directoryOf(clone))
	w.VolumeGone(source.Name)
	w.nothingCopied()
}

// A claim that goes while it is copied leaves nothing, and its source stays as it was.
func testCloneCancelled(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed, slowCopies)
	w.class("archiveOnDelete", "false")
	w.Claim("data", requesting("10Mi"))
	source := w.Bound("data")
	w.fill(w.directoryOf(source), 400)
	w.Claim("clone", copyOf("data"), requesting("10Mi"))
	w.begunCopy("")
	w.DeleteClaim("clone")
	w.nothingCopied()
	w.Eventually("only the source has a record, and the trash is empty", func() error {
		if records, trash := w.allRecords(), w.entries(trashDir); len(records) != 1 || len(trash) != 0 {
			return fmt.Errorf("records %q, trash %q", records, trash)
		}
		return nil
	})
	w.wantEntries("", filepath.Base(source.Spec.NFS.Path))
	// A claim of that name is another one, and may be anything.
	w.Claim("clone")
	w.wantEntries(strings.TrimPrefix(w.Bound("clone").Spec.NFS.Path, testbed.Export+"/"))
	w.healthy()
}

// What cannot be copied is refused with an event, and copied once that is mended.
func testCloneRefused(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("archiveOnDelete", "false")
	w.Claim("absent", copyOf("later"))
	w.Event(w.Name, "absent", `spec.dataSource: there is no claim "later" in namespace ".*"; create it, or delete this claim`)
	w.Claim("later", requesting("2Mi"))
	later := w.Bound("later")
	w.Event(w.Name, "absent", `spec.resources.requests.storage 1Mi: claim "later", which is to be copied, has 2Mi; a copy must request at least as much`)
	w.Must(os.WriteFile(filepath.Join(w.directoryOf(later), "large"), make([]byte, 3<<20), 0o600))
	w.Claim("full", copyOf("later"), requesting("2Mi"))
	w.Event(w.Name, "full", `claim "later" holds 3.0Mi, and this claim requests 2.0Mi: delete this claim, and request at least as much, or remove data there`)
	w.Must(os.Truncate(filepath.Join(w.directoryOf(later), "large"), 1<<20))
	w.same(w.directoryOf(later), w.directoryOf(w.Bound("full")))
	w.Claim("both", copyOf("later"), requesting("2Mi"), clustertest.Annotated("claimdir/restore", "latest"))
	w.Event(w.Name, "both", `spec.dataSource PersistentVolumeClaim "later" and annotation claimdir/restore: a volume has one origin; remove all but one of them`)

	foreign := &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: w.Name + "-foreign"},
		Spec: v1.PersistentVolumeSpec{
			Capacity: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Mi")}, AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteMany}, StorageClassName: "none-" + w.Name,
			PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nas.example.com", Path: later.Spec.NFS.Path}},
			ClaimRef:               &v1.ObjectReference{Namespace: w.Name, Name: "foreign"},
		},
	}
	_, err := bed.Admin.CoreV1().PersistentVolumes().Create(t.Context(), foreign, metav1.CreateOptions{})
	w.Must(err)
	w.T.Cleanup(func() {
		_ = bed.Admin.CoreV1().PersistentVolumes().Delete(context.Background(), foreign.Name, metav1.DeleteOptions{})
	})
	w.Claim("foreign", clustertest.OfClass("none-"+w.Name), func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeName = foreign.Name })
	w.Bound("foreign")
	w.Claim("thief", copyOf("foreign"))
	w.Event(w.Name, "thief", `claimdir has not made the volume of claim "foreign", so it cannot copy it`)

	w.nothingCopied()
}

// A copy may lie on another share than its source.
func testCloneToAnotherShare(t *testing.T, bed *testbed.Bed) {
	w := newSharesWorld(t, bed, slowCopies)
	w.shareClass("both", "fast,slow")
	w.Claim("data", clustertest.OfClass(w.Name+"-fast"), requesting("10Mi"))
	source := w.wantOn("fast", "data")
	w.fill(w.directoryOf(source), 200)
	w.Claim("beside", clustertest.OfClass(w.Name+"-both"), copyOf("data"), requesting("10Mi"))
	w.Claim("far", clustertest.OfClass(w.Name+"-slow"), copyOf("data"), requesting("10Mi"))
	w.same(w.directoryOf(source), w.directoryOf(w.wantOn("fast", "beside")))
	w.begunCopy("slow")
	w.process.Kill()
	w.process = w.start(append(sharesEnv("fast", "slow"), slowCopies)...)
	w.same(w.directoryOf(source), w.directoryOf(w.wantOn("slow", "far")))
}

// An archive may be copied as often as somebody likes, and stays.
func testCopyOfArchive(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("onDelete", "archive")
	w.Claim("data", requesting("10Mi"))
	source := w.Bound("data")
	w.fill(w.directoryOf(source), 50)
	kept := t.TempDir()
	w.Must(exec.CommandContext(t.Context(), "cp", "-a", w.directoryOf(source)+"/.", kept).Run())
	w.DeleteClaim("data")
	w.VolumeGone(source.Name)
	w.Claim("wrong", clustertest.Annotated("claimdir/restore-copy", "latest-or-empty"))
	w.Event(w.Name, "wrong", `annotation claimdir/restore-copy has 15 bytes, or is "latest-or-empty"; allowed are the name of a PersistentVolume that was archived, and "latest"`)
	w.Claim("none", clustertest.Annotated("claimdir/restore-copy", "latest"))
	w.Event(w.Name, "none", `annotation claimdir/restore-copy: the namespace has no archive of claim "none"`)
	w.Claim("data", requesting("10Mi"), clustertest.Annotated("claimdir/restore-copy", "latest"))
	w.Claim("other", requesting("10Mi"), clustertest.Annotated("claimdir/restore-copy", source.Name))
	for _, claim := range []string{"data", "other"} {
		pv := w.Bound(claim)
		w.same(kept, w.directoryOf(pv))
		if text := pv.Annotations["claimdir/copied"]; !strings.HasPrefix(text, "archive data, from ") {
			t.Errorf("the PersistentVolume of claim %s says %q of the copy", claim, text)
		}
	}
	w.same(kept, filepath.Join(w.share, "archived-"+w.Name+"-data-"+source.Name))
	w.nothingCopied()
}
