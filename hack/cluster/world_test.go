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

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
	"claimdir/provisioner/volpath"
)

// patience is how long something may take that should take moments.
const patience = 90 * time.Second

// world is one test's part of the cluster.
type world struct {
	*clustertest.Namespace
	bed         *testbed.Bed
	provisioner string // its name
	share       string
	process     *testbed.Process
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
	namespace := clustertest.New(t, bed.Admin, patience, 50*time.Millisecond, nil)
	return &world{Namespace: namespace, bed: bed, provisioner: "test.claimdir/" + namespace.Name, share: share}
}

func (w *world) start(env ...string) *testbed.Process {
	w.T.Helper()
	p, err := w.bed.Claimdir(testbed.Config{Share: w.share, Provisioner: w.provisioner, Env: env})
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() {
		p.Kill()
		if w.T.Failed() {
			w.T.Logf("claimdir's log:\n%s", p.Log())
		}
	})
	ctx, cancel := context.WithTimeout(w.T.Context(), patience)
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		w.T.Fatal(err)
	}
	return p
}

// class makes the world's StorageClass; parameters are key, value, ….
func (w *world) class(parameters ...string) *storagev1.StorageClass {
	w.T.Helper()
	class := &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: w.Name},
		Provisioner: w.provisioner,
		Parameters:  map[string]string{},
	}
	for pair := range slices.Chunk(parameters, 2) {
		class.Parameters[pair[0]] = pair[1]
	}
	return w.createClass(class)
}

func (w *world) createClass(class *storagev1.StorageClass) *storagev1.StorageClass {
	w.T.Helper()
	created, err := w.bed.Admin.StorageV1().StorageClasses().Create(w.T.Context(), class, metav1.CreateOptions{})
	w.Must(err)
	return created
}

func (w *world) deleteClass() {
	w.T.Helper()
	w.Must(w.bed.Admin.StorageV1().StorageClasses().Delete(w.T.Context(), w.Name, metav1.DeleteOptions{}))
}

// logged waits until claimdir's log has a line with all of the words.
func (w *world) logged(words ...string) {
	w.T.Helper()
	w.Eventually(fmt.Sprintf("claimdir logs %q", words), func() error {
		for line := range strings.Lines(w.process.Log()) {
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
				return nil
			}
		}
		return fmt.Errorf("no such line")
	})
}

// harmless are errors of libraries that a healthy run may log, if it is slow: of a claim that was
// deleted while it waited for its turn, and of a renewal of the lease or a list that the end of the process broke off.
var harmless = regexp.MustCompile(`claim \\"\S+\\" in work queue no longer exists|(leaderelection|request)\.go:\d+\].*err="context canceled"`)

// healthy stops claimdir, and fails the test if that does not end well or if its log has
// an error.
func (w *world) healthy() {
	w.T.Helper()
	if code := w.process.Stop(); code != 0 {
		w.T.Errorf("claimdir ended with exit code %d", code)
	}
	for line := range strings.Lines(w.process.Log()) {
		if strings.HasPrefix(line, "E") || strings.HasPrefix(line, "W") || strings.HasPrefix(line, "panic") {
			if harmless.MatchString(line) {
				continue
			}
			w.T.Errorf("the log of a healthy run has: %s", line)
		}
	}
}

// put writes a file into the share; path is relative to it.
func (w *world) put(path, text string) {
	w.T.Helper()
	w.Must(os.WriteFile(filepath.Join(w.share, path), []byte(text), 0o600))
}

// wantFile reads a file of the share.
func (w *world) wantFile(path, want string) {
	w.T.Helper()
	if got, err := os.ReadFile(filepath.Join(w.share, path)); err != nil || string(got) != want {
		w.T.Errorf("%s holds %q, %v; want %q", path, got, err, want)
	}
}

// wantEntries compares what a directory of the share holds, .claimdir aside.
func (w *world) wantEntries(dir string, want ...string) {
	w.T.Helper()
	if got := w.entries(dir); !slices.Equal(got, want) {
		w.T.Errorf("the share's directory %q holds %q, want %q", dir, got, want)
	}
}

func (w *world) entries(dir string) (names []string) {
	w.T.Helper()
	entries, err := os.ReadDir(filepath.Join(w.share, dir))
	w.Must(err)
	for _, entry := range entries {
		if entry.Name() != ".claimdir" {
			names = append(names, entry.Name())
		}
	}
	return names
}

// records returns the keys of the paths that have records on the share.
func (w *world) records() []string {
	w.T.Helper()
	return w.entries(recordsDir)
}

const (
	recordsDir = ".claimdir/records"
	trashDir   = ".claimdir/trash"
)

// cluster is the UID by which records know this cluster.
func (w *world) cluster() string {
	w.T.Helper()
	system, err := w.bed.Admin.CoreV1().Namespaces().Get(w.T.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
	w.Must(err)
	return string(system.UID)
}

// own is what a volume of this cluster is called on the share.
func (w *world) own(pv string) string {
	w.T.Helper()
	return volpath.Own(pv, w.cluster())
}

// recordKey is the directory of a path's record, in that of all records. It is right for
// paths without odd characters.
func recordKey(path string) string { return strings.ReplaceAll(path, "/", "%2F") }

// recordFile is the file of a volume's record, from the root of the share.
func (w *world) recordFile(path, pv string) string {
	w.T.Helper()
	return recordsDir + "/" + recordKey(path) + "/" + w.own(pv) + ".json"
}

// recordOf is the file of a path's record, whoever has it. There must be one, and nothing
// beside it.
func (w *world) recordOf(path string) string {
	w.T.Helper()
	files := w.entries(recordsDir + "/" + recordKey(path))
	if len(files) != 1 {
		w.T.Fatalf("the records of %s are %q", path, files)
	}
	return recordsDir + "/" + recordKey(path) + "/" + files[0]
}

// allRecords returns the files of all records, with what else is beside them.
func (w *world) allRecords() (files []string) {
	w.T.Helper()
	for _, key := range w.records() {
		for _, file := range w.entries(recordsDir + "/" + key) {
			files = append(files, key+"/"+file)
		}
	}
	return files
}

// inTrash is what a volume has in the trash, from the root of the share.
func (w *world) inTrash(pv string) string {
	w.T.Helper()
	return trashDir + "/" + w.own(pv) + "-1"
}
