package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/testbed"
)

// patience is how long something may take that should take moments.
const patience = 90 * time.Second

// world is one test's part of the cluster.
type world struct {
	t   *testing.T
	bed *testbed.Bed
	// name is that of the namespace and of the class; provisioner that of the
	// provisioner.
	name, provisioner string
	share             string
	process           *testbed.Process
}

// newWorld makes a namespace and a share and starts claimdir.
func newWorld(t *testing.T, bed *testbed.Bed, env ...string) *world {
	t.Helper()
	w := newQuietWorld(t, bed)
	w.process = w.start(env...)
	return w
}

// newQuietWorld is newWorld without claimdir.
func newQuietWorld(t *testing.T, bed *testbed.Bed) *world {
	t.Helper()
	share, err := bed.NewShare()
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := bed.Admin.CoreV1().Namespaces().Create(t.Context(),
		&v1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "case-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, bed: bed, name: namespace.Name, provisioner: "test.claimdir/" + namespace.Name, share: share}
}

func (w *world) start(env ...string) *testbed.Process {
	w.t.Helper()
	p, err := w.bed.Claimdir(testbed.Config{Share: w.share, Provisioner: w.provisioner, Env: env})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		p.Kill()
		if w.t.Failed() {
			w.t.Logf("claimdir's log:\n%s", p.Log())
		}
	})
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// class makes the world's StorageClass; parameters are key, value, ….
func (w *world) class(parameters ...string) *storagev1.StorageClass {
	w.t.Helper()
	class := &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: w.name},
		Provisioner: w.provisioner,
		Parameters:  map[string]string{},
	}
	for pair := range slices.Chunk(parameters, 2) {
		class.Parameters[pair[0]] = pair[1]
	}
	return w.createClass(class)
}

func (w *world) createClass(class *storagev1.StorageClass) *storagev1.StorageClass {
	w.t.Helper()
	created, err := w.bed.Admin.StorageV1().StorageClasses().Create(w.t.Context(), class, metav1.CreateOptions{})
	w.must(err)
	return created
}

func (w *world) deleteClass() {
	w.t.Helper()
	w.must(w.bed.Admin.StorageV1().StorageClasses().Delete(w.t.Context(), w.name, metav1.DeleteOptions{}))
}

// claim makes a claim of the world's class.
func (w *world) claim(name string, change ...func(*v1.PersistentVolumeClaim)) *v1.PersistentVolumeClaim {
	w.t.Helper()
	claim := &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.name},
		Spec: v1.PersistentVolumeClaimSpec{
			StorageClassName: &w.name,
			AccessModes:      []v1.PersistentVolumeAccessMode{v1.ReadWriteMany},
			Resources:        v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Mi")}},
		},
	}
	for _, c := range change {
		c(claim)
	}
	created, err := w.bed.Admin.CoreV1().PersistentVolumeClaims(w.name).Create(w.t.Context(), claim, metav1.CreateOptions{})
	w.must(err)
	return created
}

func annotated(key, value string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) { metav1.SetMetaDataAnnotation(&c.ObjectMeta, key, value) }
}

func (w *world) deleteClaim(name string) {
	w.t.Helper()
	w.must(w.bed.Admin.CoreV1().PersistentVolumeClaims(w.name).Delete(w.t.Context(), name, metav1.DeleteOptions{}))
}

// bound waits until the claim is Bound and returns its volume.
func (w *world) bound(name string) *v1.PersistentVolume {
	w.t.Helper()
	var pv *v1.PersistentVolume
	w.eventually("claim "+name+" is Bound", func() error {
		claim, err := w.bed.Admin.CoreV1().PersistentVolumeClaims(w.name).Get(w.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if claim.Status.Phase != v1.ClaimBound {
			return fmt.Errorf("it is %s; events: %q", claim.Status.Phase, w.messages(w.name, name))
		}
		pv, err = w.bed.Admin.CoreV1().PersistentVolumes().Get(w.t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
		return err
	})
	return pv
}

// volumeGone waits until the PersistentVolume is gone.
func (w *world) volumeGone(name string) {
	w.t.Helper()
	w.eventually("volume "+name+" is gone", func() error {
		pv, err := w.bed.Admin.CoreV1().PersistentVolumes().Get(w.t.Context(), name, metav1.GetOptions{})
		if err == nil {
			return fmt.Errorf("it is %s; events: %q", pv.Status.Phase, w.messages("default", name))
		}
		return ignoreNotFound(err)
	})
}

// event waits for a warning on the named object that matches pattern.
func (w *world) event(namespace, object, pattern string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s has an event that matches %q", object, pattern), func() error {
		messages := w.messages(namespace, object)
		if !slices.ContainsFunc(messages, regexp.MustCompile(pattern).MatchString) {
			return fmt.Errorf("events: %q", messages)
		}
		return nil
	})
}

// messages of the warnings on an object.
func (w *world) messages(namespace, object string) (messages []string) {
	w.t.Helper()
	events, err := w.bed.Admin.CoreV1().Events(namespace).List(w.t.Context(),
		metav1.ListOptions{FieldSelector: "involvedObject.name=" + object + ",type=Warning"})
	w.must(err)
	for _, e := range events.Items {
		messages = append(messages, e.Reason+": "+e.Message)
	}
	return messages
}

func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("after %v it does not hold that %s: %v", patience, what, err)
		}
		select {
		case <-w.t.Context().Done():
			w.t.Fatal(w.t.Context().Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// logged waits until claimdir's log has a line with all of the words.
func (w *world) logged(words ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("claimdir logs %q", words), func() error {
		for line := range strings.Lines(w.process.Log()) {
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
				return nil
			}
		}
		return fmt.Errorf("no such line")
	})
}

// put writes a file into the share; path is relative to it.
func (w *world) put(path, text string) {
	w.t.Helper()
	w.must(os.WriteFile(filepath.Join(w.share, path), []byte(text), 0o600))
}

// wantFile reads a file of the share.
func (w *world) wantFile(path, want string) {
	w.t.Helper()
	if got, err := os.ReadFile(filepath.Join(w.share, path)); err != nil || string(got) != want {
		w.t.Errorf("%s holds %q, %v; want %q", path, got, err, want)
	}
}

// wantEntries compares what a directory of the share holds, .claimdir aside.
func (w *world) wantEntries(dir string, want ...string) {
	w.t.Helper()
	if got := w.entries(dir); !slices.Equal(got, want) {
		w.t.Errorf("the share's directory %q holds %q, want %q", dir, got, want)
	}
}

func (w *world) entries(dir string) (names []string) {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.share, dir))
	w.must(err)
	for _, entry := range entries {
		if entry.Name() != ".claimdir" {
			names = append(names, entry.Name())
		}
	}
	return names
}

// records returns the names of the records on the share.
func (w *world) records() []string {
	w.t.Helper()
	return w.entries(".claimdir/volumes")
}

func classNamed(name string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) { c.Spec.StorageClassName = &name }
}
