package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

// snapshotAPI is a resource of the snapshot API.
func snapshotAPI(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: resource}
}

// newSnapshotWorld is newWorld with a VolumeSnapshotClass of the world's name, and a bound claim "data" that holds a file.
func newSnapshotWorld(t *testing.T, bed *testbed.Bed, policy string, parameters map[string]any) *world {
	t.Helper()
	w := newWorld(t, bed)
	w.class()
	w.snapshotClass(w.Name, policy, parameters, nil)
	w.Claim("data")
	w.write("data", "first")
	return w
}

// dirOf is the directory of a bound claim, on the share.
func (w *world) dirOf(claim string) string {
	w.T.Helper()
	return strings.TrimPrefix(w.Bound(claim).Spec.NFS.Path, testbed.Export+"/")
}

// write writes a file into the volume of a claim.
func (w *world) write(claim, text string) {
	w.T.Helper()
	w.put(w.dirOf(claim)+"/file", text)
}

func (w *world) snapshotClass(name, policy string, parameters, annotations map[string]any) {
	w.T.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass",
		"metadata": map[string]any{"name": name, "annotations": annotations},
		"driver":   w.provisioner, "deletionPolicy": policy, "parameters": parameters,
	}}
	_, err := w.bed.Dynamic.Resource(snapshotAPI("volumesnapshotclasses")).Create(w.T.Context(), object, metav1.CreateOptions{})
	w.Must(err)
	w.T.Cleanup(func() {
		_ = w.bed.Dynamic.Resource(snapshotAPI("volumesnapshotclasses")).Delete(w.withoutCancel(), name, metav1.DeleteOptions{})
	})
}

// snapshot makes a VolumeSnapshot of a claim; an empty class is none.
func (w *world) snapshot(name, claim, class string) *unstructured.Unstructured {
	w.T.Helper()
	return w.snapshotOf(name, map[string]any{"persistentVolumeClaimName": claim}, class)
}

func (w *world) snapshotOf(name string, source map[string]any, class string) *unstructured.Unstructured {
	w.T.Helper()
	spec := map[string]any{"source": source}
	if class != "" {
		spec["volumeSnapshotClassName"] = class
	}
	created, err := w.bed.Dynamic.Resource(snapshotAPI("volumesnapshots")).Namespace(w.Name).Create(w.T.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": map[string]any{"name": name}, "spec": spec,
	}}, metav1.CreateOptions{})
	w.Must(err)
	return created
}

func (w *world) getSnapshot(name string) (*unstructured.Unstructured, error) {
	return w.bed.Dynamic.Resource(snapshotAPI("volumesnapshots")).Namespace(w.Name).Get(w.T.Context(), name, metav1.GetOptions{})
}

func (w *world) getContent(name string) (*unstructured.Unstructured, error) {
	return w.bed.Dynamic.Resource(snapshotAPI("volumesnapshotcontents")).Get(w.T.Context(), name, metav1.GetOptions{})
}

// field returns a field of an object, as text.
func field(object *unstructured.Unstructured, path ...string) string {
	value, found, err := unstructured.NestedFieldNoCopy(object.Object, path...)
	if err != nil || !found {
		return ""
	}
	return fmt.Sprint(value)
}

// ready waits until a VolumeSnapshot is ready, and returns it and its VolumeSnapshotContent.
func (w *world) ready(name string) (snapshot, content *unstructured.Unstructured) {
	w.T.Helper()
	w.Eventually("snapshot "+name+" is ready", func() (err error) {
		if snapshot, err = w.getSnapshot(name); err != nil {
			return err
		}
		if field(snapshot, "status", "readyToUse") != "true" {
			return fmt.Errorf("its status is %v; events: %q", snapshot.Object["status"], w.Events(w.Name, name))
		}
		content, err = w.getContent(field(snapshot, "status", "boundVolumeSnapshotContentName"))
		return err
	})
	return snapshot, content
}

func (w *world) deleteSnapshot(name string) {
	w.T.Helper()
	w.Must(w.bed.Dynamic.Resource(snapshotAPI("volumesnapshots")).Namespace(w.Name).Delete(w.T.Context(), name, metav1.DeleteOptions{}))
}

// snapshotGone waits until a VolumeSnapshot is gone.
func (w *world) snapshotGone(name string) {
	w.T.Helper()
	w.Eventually("snapshot "+name+" is gone", func() error {
		_, err := w.getSnapshot(name)
		return clustertest.NotFound(err)
	})
}

// contentGone waits until a VolumeSnapshotContent is gone.
func (w *world) contentGone(name string) {
	w.T.Helper()
	w.Eventually("content "+name+" is gone", func() error {
		_, err := w.getContent(name)
		return clustertest.NotFound(err)
	})
}

// treeOf is the directory of a snapshot's tree, from the root of the share.
func (w *world) treeOf(content string) string {
	w.T.Helper()
	return snapshotsDir + "/" + w.own(content) + "/volume"
}

// snapshotsOnShare are the own names of the snapshots on the share.
func (w *world) snapshotsOnShare() []string {
	w.T.Helper()
	if _, err := os.Stat(filepath.Join(w.share, snapshotsDir)); os.IsNotExist(err) {
		return nil
	}
	return w.entries(snapshotsDir)
}

const snapshotsDir = ".claimdir/snapshots"

// snapshotRecord reads the record of a snapshot.
func (w *world) snapshotRecord(content string) map[string]any {
	w.T.Helper()
	data, err := os.ReadFile(filepath.Join(w.share, snapshotsDir, w.own(content), "record.json"))
	w.Must(err)
	record := map[string]any{}
	w.Must(json.Unmarshal(data, &record))
	return record
}

// shareID is the identity of the share.
func (w *world) shareID() string {
	w.T.Helper()
	data, err := os.ReadFile(filepath.Join(w.share, ".claimdir/share.json"))
	w.Must(err)
	var identity struct{ ID string }
	w.Must(json.Unmarshal(data, &identity))
	return identity.ID
}

// makeContent makes a VolumeSnapshotContent, as an administrator may.
func (w *world) makeContent(name string, ref v1.ObjectReference, source map[string]any, policy string) {
	w.T.Helper()
	object := map[string]any{"namespace": ref.Namespace, "name": ref.Name}
	if ref.UID != "" {
		object["uid"] = string(ref.UID)
	}
	_, err := w.bed.Dynamic.Resource(snapshotAPI("volumesnapshotcontents")).Create(w.T.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"driver": w.provisioner, "deletionPolicy": policy, "source": source, "volumeSnapshotRef": object, "sourceVolumeMode": "Filesystem"},
	}}, metav1.CreateOptions{})
	w.Must(err)
}

func (w *world) deleteContent(name string) {
	w.T.Helper()
	w.Must(w.bed.Dynamic.Resource(snapshotAPI("volumesnapshotcontents")).Delete(w.T.Context(), name, metav1.DeleteOptions{}))
}

// newNamespace makes one more namespace, of somebody else.
func (w *world) newNamespace() string {
	w.T.Helper()
	namespace, err := w.bed.Admin.CoreV1().Namespaces().Create(w.T.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "other-"}}, metav1.CreateOptions{})
	w.Must(err)
	return namespace.Name
}

// snapshotIn makes a VolumeSnapshot in another namespace that names a VolumeSnapshotContent, and waits until it says why it is not ready.
func (w *world) snapshotIn(namespace, name, content string) {
	w.T.Helper()
	snapshots := w.bed.Dynamic.Resource(snapshotAPI("volumesnapshots")).Namespace(namespace)
	_, err := snapshots.Create(w.T.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"source": map[string]any{"volumeSnapshotContentName": content}},
	}}, metav1.CreateOptions{})
	w.Must(err)
	w.Eventually("snapshot "+name+" is refused", func() error {
		snapshot, err := snapshots.Get(w.T.Context(), name, metav1.GetOptions{})
		if err == nil && (field(snapshot, "status", "readyToUse") == "true" || !strings.Contains(field(snapshot, "status", "error", "message"), "has no snapshot of handle")) {
			err = fmt.Errorf("its status is %v", snapshot.Object["status"])
		}
		return err
	})
	w.Must(snapshots.Delete(w.T.Context(), name, metav1.DeleteOptions{}))
}

// createdAt returns when the API server answered that VolumeSnapshots and VolumeSnapshotContents were created, by namespace and name.
func (w *world) createdAt() map[string]time.Time {
	w.T.Helper()
	data, err := os.ReadFile(w.bed.AuditLog())
	w.Must(err)
	created := map[string]time.Time{}
	for line := range strings.Lines(string(data)) {
		var event struct {
			Verb           string
			ObjectRef      *struct{ Resource, Namespace, Name string }
			StageTimestamp time.Time
			ResponseStatus *struct{ Code int }
		}
		if json.Unmarshal([]byte(line), &event) != nil || event.Verb != "create" || event.ObjectRef == nil || event.ResponseStatus == nil || event.ResponseStatus.Code != http.StatusCreated {
			continue
		}
		if of := event.ObjectRef; of.Resource == "volumesnapshots" || of.Resource == "volumesnapshotcontents" {
			created[of.Namespace+"/"+of.Name] = event.StageTimestamp
		}
	}
	return created
}
