//go:build vm

package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/docs"
	"claimdir/hack/project"
	"claimdir/hack/vm/node"
)

const (
	// nightlyLabel is that of the snapshots that the CronJob of docs/snapshots.md counts.
	nightlyLabel = "nightly-snapshot-of: data"
	// nightlyKept is how many of them it keeps.
	nightlyKept = 7
)

// testNightly runs the CronJob of docs/snapshots.md as it stands there, under the restricted profile. It makes the day's snapshot,
// once, and deletes the oldest of more than it keeps; not one that somebody made, nor does one that is not ready count.
func testNightly(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "restricted")
	w.class("onDelete", "delete")
	w.Claim("data")
	w.run("writer", "data", "echo first >/data/f", asUser(1000))
	w.kubectl(documentedYAML(t, "kind: CronJob"), "apply", "-n", w.Name, "-f", "-")
	var earlier []string
	for day := range nightlyKept {
		earlier = append(earlier, fmt.Sprint("data-2020-01-0", day+1))
		w.snapshot(earlier[day], "data", nightlyLabel)
	}
	w.snapshot("by-hand", "data", "")
	w.snapshot("data-2020-01-08", "no-such-claim", nightlyLabel)
	w.contents(append(earlier, "by-hand")...)

	var first, again []string
	day := ""
	for day != w.today() { // if it ends meanwhile, the second run has another day's snapshot to make
		day = w.today()
		first, again = w.nightly("first-"+day), w.nightly("again-"+day)
	}
	if !slices.ContainsFunc(again, func(s string) bool { return strings.HasPrefix(s, "data-"+day+" ") }) {
		t.Errorf("the snapshot of %s is not among %q", day, again)
	}
	if !slices.Equal(first, again) {
		t.Errorf("the second run of a day left %q of %q", again, first)
	}
	if slices.ContainsFunc(again, func(s string) bool { return strings.HasPrefix(s, earlier[0]) }) {
		t.Errorf("of %q the oldest is there", again)
	}
	w.kubectl("", "get", "volumesnapshot", "by-hand", "data-2020-01-08", "-n", w.Name)
	w.deleteSnapshots()
}

// today is the date of the node's clock.
func (w *world) today() string {
	w.T.Helper()
	return w.server("date -u +%%F")
}

// nightly lets the CronJob run once, and returns name and UID of each snapshot that it keeps and counts.
func (w *world) nightly(job string) (kept []string) {
	w.T.Helper()
	w.nightlyJob(job)
	const ready = `jsonpath={range .items[?(@.status.readyToUse==true)]}{.metadata.name} {.metadata.uid}{"\n"}{end}`
	label := strings.ReplaceAll(nightlyLabel, ": ", "=")
	w.Eventually("more than are kept are gone", func() error {
		kept = strings.Split(strings.TrimSpace(w.kubectl("", "get", "volumesnapshot", "-n", w.Name, "-l", label, "-o", ready)), "\n")
		if len(kept) != nightlyKept {
			return fmt.Errorf("there are %q", kept)
		}
		return nil
	})
	return kept
}

// nightlyJob runs the CronJob's Job, and waits until it has ended well.
func (w *world) nightlyJob(name string) {
	w.T.Helper()
	w.kubectl("", "create", "job", name, "--from=cronjob/nightly-snapshots", "-n", w.Name)
	w.Eventually("job "+name+" has ended well", func() error {
		job, err := w.node.Admin.BatchV1().Jobs(w.Name).Get(w.T.Context(), name, metav1.GetOptions{})
		if err == nil && job.Status.Succeeded != 1 {
			err = fmt.Errorf("its status is %+v", job.Status)
			if job.Status.Failed > 0 {
				w.T.Fatalf("job %s failed; it says: %s", name, w.kubectl("", "logs", "job/"+name, "-n", w.Name))
			}
		}
		return err
	})
	w.T.Logf("job %s says:\n%s", name, w.kubectl("", "logs", "job/"+name, "-n", w.Name))
}

// documentedYAML is the one block of YAML in the project's documents that holds a text.
func documentedYAML(t *testing.T, text string) string {
	t.Helper()
	root, err := project.Root()
	must(t, err)
	documents, err := docs.Read(root)
	must(t, err)
	var found []string
	for _, document := range documents {
		for _, block := range document.Blocks {
			if block.Language == "yaml" && strings.Contains(block.Text, text) {
				found = append(found, block.Text)
			}
		}
	}
	if len(found) != 1 {
		t.Fatalf("the documents have %d blocks of YAML with %q, not one", len(found), text)
	}
	return found[0]
}
