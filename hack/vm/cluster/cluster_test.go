//go:build vm

package cluster

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/controlplane"
	"claimdir/hack/vm/node"
)

const (
	oldTag = "v0.1.0"
	newTag = "v0.2.0"
	// limit is how long the machine lives.
	limit = 2 * time.Hour
)

// group is cases on one installation of claimdir. Those before alone run beside
// each other, the others one after the other: they disturb the whole cluster.
type group struct {
	name         string
	installation node.Installation
	cases, alone []testCase
}

type testCase struct {
	name string
	test func(*testing.T, *node.Node)
}

// all lets the cases run, too, that CI has no time for.
var all = flag.Bool("all", false, "run each case, not only those that CI has time for")

// chosen are the cases that run: of rare those only if all are wanted.
func chosen(always, rare []testCase) []testCase {
	if *all {
		return append(rare, always...)
	}
	return always
}

// run says when the case is over: go test does that of cases beside each other
// only when the last of them is.
func (c testCase) run(t *testing.T, n *node.Node) {
	t.Helper()
	start := time.Now()
	defer func() {
		verdict := "well"
		if t.Failed() {
			verdict = "badly"
		}
		t.Logf("ended %s after %v: %s", verdict, time.Since(start).Round(time.Second), c.name)
	}()
	c.test(t, n)
}

func groups() []group {
	profile := testCase{"the profile and the uid", testProfile}
	return []group{
		{"root", node.Installation{Export: rootExport, Tag: oldTag, Snapshots: true}, chosen(podCases(), rarePodCases()), chosen(disturbances(), rareDisturbances())},
		{"nonroot, its own export", node.Installation{Export: ownedExport, Tag: oldTag, Nonroot: true},
			append(chosen(releases(), sizes(ownedExport, "No space left on device")), profile), nil},
		{"nonroot, root_squash, by the chart", node.Installation{Export: squashedExport, Tag: oldTag, Nonroot: true, Chart: true},
			append(chosen(sizes(squashedExport, "Disk quota exceeded"), releases()), profile), nil},
	}
}

func TestCluster(t *testing.T) {
	n := boot(t)
	must(t, n.InstallSnapshots(t.Context()))
	for _, g := range groups() {
		t.Run(g.name, func(t *testing.T) {
			t.Log("installing claimdir")
			report(t, n)
			must(t, n.Install(t.Context(), g.installation))
			t.Run("beside each other", func(t *testing.T) {
				for _, c := range g.cases {
					t.Run(c.name, func(t *testing.T) {
						t.Parallel()
						c.run(t, n)
					})
				}
			})
			for _, c := range g.alone {
				t.Run(c.name, func(t *testing.T) { c.run(t, n) })
			}
			volumesGone(t, n)
			must(t, n.Uninstall(t.Context(), g.installation))
		})
	}
}

// volumesGone waits until claimdir has released what the cases' namespaces left:
// the next installation could not, as it has another export.
func volumesGone(t *testing.T, n *node.Node) {
	t.Helper()
	wait := clustertest.Namespace{T: t, Patience: patience, Poll: time.Second}
	wait.Eventually("the volumes of all cases are gone", func() error {
		volumes, err := n.Admin.CoreV1().PersistentVolumes().List(t.Context(), metav1.ListOptions{})
		if err == nil && len(volumes.Items) > 1 {
			err = fmt.Errorf("there are %d besides the share's own", len(volumes.Items)-1)
		}
		return err
	})
}

// boot starts the node with the images of two versions of claimdir, of the snapshot-controller and of the tests' pods.
func boot(t *testing.T) *node.Node {
	t.Helper()
	start := time.Now()
	dir := t.TempDir()
	archives := []string{filepath.Join(dir, "old"), filepath.Join(dir, "new"), filepath.Join(dir, "snapshots"), filepath.Join(dir, "shell")}
	must(t, node.ClaimdirImage(t.Context(), archives[0], oldTag))
	must(t, node.ClaimdirImage(t.Context(), archives[1], newTag))
	must(t, node.SnapshotControllerImage(t.Context(), archives[2], os.Stderr))
	shell, err := node.Busybox()
	must(t, err)
	programs, err := controlplane.Build(t.Context(), os.Stderr)
	must(t, err)
	shell.Files["bin/kubectl"] = programs.Kubectl
	must(t, shell.Archive(archives[3], shellImage, kubectlImage))
	n, err := node.Start(t.Context(), node.Options{Progress: os.Stderr, Archives: archives, Limit: limit})
	must(t, err)
	t.Cleanup(func() { must(t, n.Stop()) })
	t.Logf("the node took %v", time.Since(start).Round(time.Second))
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
