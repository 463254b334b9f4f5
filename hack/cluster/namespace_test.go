package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

// testNamespaceAnew: a namespace is deleted and made anew, as by somebody else who gets its
// name. Its claims get neither the archives nor the retained directories of the earlier
// one, unless their class adopts.
func testNamespaceAnew(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	for suffix, policy := range map[string]string{"": "archive", "-kept": "retain"} {
		for _, existing := range []string{"refuse", "adopt"} {
			w.createClass(&storagev1.StorageClass{
				ObjectMeta: metav1.ObjectMeta{Name: w.Name + suffix + map[string]string{"adopt": "-adopt"}[existing]}, Provisioner: w.provisioner,
				Parameters: map[string]string{"onDelete": policy, "onExisting": existing, "pathPattern": "${.PVC.namespace}/${.PVC.name}"},
			})
		}
	}
	ofClass := func(suffix string) func(*v1.PersistentVolumeClaim) { return clustertest.OfClass(w.Name + suffix) }
	w.Claim("data")
	w.Claim("kept", ofClass("-kept"))
	data, kept := w.Bound("data").Name, w.Bound("kept").Name
	w.put(w.Name+"/data/file", "archived")
	w.put(w.Name+"/kept/file", "retained")
	earlier := w.remakeNamespace()
	w.VolumeGone(data)
	w.VolumeGone(kept)
	archive := "archived-" + w.Name + "-data-" + data
	w.wantNamespace(archive, earlier)
	w.wantNamespace(w.Name+"/kept", earlier)

	w.Claim("data", clustertest.Annotated(annRestore, "latest"))
	w.Claim("thief", clustertest.Annotated(annRestore, data))
	w.Claim("kept", ofClass("-kept"))
	w.Event(w.Name, "data", `ProvisioningFailed: .*no archive of claim "data", nor any other.*an earlier namespace of this name`)
	w.Event(w.Name, "thief", `ProvisioningFailed: .*no archive of volume "`+data+`", nor any other`)
	w.Event(w.Name, "kept", `ProvisioningFailed: .*of an earlier namespace of this name.*onExisting: adopt`)
	w.Claim("data2", clustertest.Annotated(annRestore, "latest-or-empty"))
	w.Bound("data2")
	w.wantEntries(w.Name + "/data2")
	w.wantFile(archive+"/file", "archived")
	w.wantFile(w.Name+"/kept/file", "retained")

	out, err := bed.Run(t.Context(), testbed.Config{Share: w.share, Provisioner: w.provisioner}, "archive", "list")
	if err != nil || !strings.Contains(out, "NAMESPACE UID") || !strings.Contains(out, earlier) {
		t.Errorf("archive list says %v:\n%s", err, out)
	}

	w.DeleteClaim("kept")
	w.Eventually("claim kept is gone", func() error {
		_, err := bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).Get(t.Context(), "kept", metav1.GetOptions{})
		return clustertest.NotFound(err)
	})
	w.Claim("kept", ofClass("-kept-adopt"))
	w.Claim("back", ofClass("-adopt"), clustertest.Annotated(annRestore, data))
	w.Bound("kept")
	w.Bound("back")
	w.wantFile(w.Name+"/kept/file", "retained")
	w.wantFile(w.Name+"/back/file", "archived")
	now, err := bed.Admin.CoreV1().Namespaces().Get(t.Context(), w.Name, metav1.GetOptions{})
	w.Must(err)
	w.wantNamespace(w.Name+"/kept", string(now.UID))
	w.wantNamespace(w.Name+"/back", string(now.UID))
}

// testNamespaceRecorded: the record of an earlier version, which does not say its claim's
// namespace, says it after the next sweep.
func testNamespaceRecorded(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed)
	w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}")
	w.Claim("data")
	w.Bound("data")
	w.process.Kill()
	path := w.Name + "/data"
	namespace, err := bed.Admin.CoreV1().Namespaces().Get(t.Context(), w.Name, metav1.GetOptions{})
	w.Must(err)
	file := filepath.Join(w.share, w.recordOf(path))
	text, err := os.ReadFile(file)
	w.Must(err)
	without := strings.Replace(string(text), `"namespaceUID": "`+string(namespace.UID)+`"`, `"other": ""`, 1)
	if without == string(text) {
		t.Fatalf("the record does not say its namespace:\n%s", text)
	}
	w.Must(os.WriteFile(file, []byte(without), 0o600))
	w.process = w.start()
	w.wantNamespace(path, string(namespace.UID))
}

// remakeNamespace deletes the world's namespace with all that is in it, makes one of that
// name, and returns the UID of the one that is gone.
func (w *world) remakeNamespace() (earlier string) {
	w.T.Helper()
	namespaces := w.bed.Admin.CoreV1().Namespaces()
	now, err := namespaces.Get(w.T.Context(), w.Name, metav1.GetOptions{})
	w.Must(err)
	w.Must(namespaces.Delete(w.T.Context(), w.Name, metav1.DeleteOptions{}))
	w.Eventually("the namespace is gone", func() error {
		_, err := namespaces.Get(w.T.Context(), w.Name, metav1.GetOptions{})
		return clustertest.NotFound(err)
	})
	_, err = namespaces.Create(w.T.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.Name}}, metav1.CreateOptions{})
	w.Must(err)
	return string(now.UID)
}

// wantNamespace waits until the record of a path says that its claim is in the namespace
// with that UID.
func (w *world) wantNamespace(path, uid string) {
	w.T.Helper()
	w.Eventually(fmt.Sprintf("the record of %s says namespace %s", path, uid), func() error {
		files, err := filepath.Glob(filepath.Join(w.share, recordsDir, recordKey(path), "*.json")) // beside it a new one may be on its way
		if err != nil {
			return err
		}
		if len(files) != 1 {
			return fmt.Errorf("its records are %q", files)
		}
		text, err := os.ReadFile(files[0])
		if err == nil && !strings.Contains(string(text), `"namespaceUID": "`+uid+`"`) {
			err = fmt.Errorf("it is\n%s", text)
		}
		return err
	})
}
