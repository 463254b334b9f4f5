package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"claimdir/hack/clustertest"
)

// elsewhere are the blocks that the story does not run, by their document and a part of the text, with what does run them or why
// nothing can.
var elsewhere = map[[2]string]string{
	{"README.md", "make demo"}:         ".ci/run runs it",
	{"README.md", "make test"}:         "this test is part of it",
	{"README.md", "docker push"}:       "there is no registry; verify builds the image and looks into it",
	{"docs/install.md", "docker push"}: "as in the README",
	{"docs/page.md", "port-forward"}:   "there is no kubelet",
	// An NFS server with a file system of its own: hack/vm/nfscases/quota_test.go does the same there.
	{"docs/openshift.md", "oc adm"}: "there is no OpenShift",
	{"docs/quota.md", "/exports"}:   "it takes a server's file systems",
	{"docs/quota.md", "install "}:   "it is for the NFS server",
}

// A step of the story runs a block, or does what the text around it says.
type step struct {
	// document and has choose the block: its text has that in it.
	document, has string
	// answer is typed on the terminal.
	answer string
	// says is a regular expression that the output matches.
	says string
	// do comes after the block, or alone.
	do func(*reader)
}

// story runs the documents' blocks in an order in which an administrator of team/data might meet them.
var story = []step{
	{do: snapshots},
	{document: "README.md", has: "kubectl apply -k", says: `deployment.apps/claimdir created`, do: func(r *reader) { r.start() }},
	{document: "README.md", has: "kubectl get pvc data", says: `data +(Pending|Bound)`, do: func(r *reader) { r.file("data", "first") }},
	{document: "docs/install.md", has: "kubectl apply -k", says: `deployment.apps/claimdir unchanged`},
	{document: "docs/install.md", has: "kubectl get pvc data", says: `data +Bound`},

	{document: "docs/snapshots.md", has: "kubectl get crd", says: `snapshot-controller`},
	{document: "docs/snapshots.md", has: "name: data-monday\nspec:\n  volumeSnapshotClassName", says: `condition met`, do: func(r *reader) { r.file("data", "second") }},
	{document: "docs/snapshots.md", has: "name: data-restored", says: `data-restored created`, do: func(r *reader) { r.wantFile("data-restored", "first") }},
	{document: "docs/snapshots.md", has: "snapshot purge", says: `data-monday[^$]*No snapshots to move`},

	{document: "docs/expand.md", has: "kubectl patch pvc data", says: `persistentvolumeclaim/data patched`, do: expanded},
	{document: "docs/copy.md", has: "name: data-copy", says: `data-copy created`, do: func(r *reader) { r.wantFile("data-copy", "second") }},
	{document: "docs/doctor.md", has: "doctor  ", says: `0 findings|no problems|nothing`},

	{do: func(r *reader) { r.releases("data") }},
	{document: "docs/archives.md", has: "archive restore", says: `persistentvolumeclaim/data2 created`, do: func(r *reader) { r.wantFile("data2", "second") }},
	{do: func(r *reader) {
		r.Claim("data", clustertest.OfClass("claimdir"))
		r.releases("data")
	}},
	{document: "docs/archives.md", has: "archive purge", answer: "y\n", says: `Moved 1 of 1`},

	{document: "docs/usage.md", has: "/claimdir usage", says: `team/data2`},
	{do: func(r *reader) {
		r.stop()
		r.loseObjects("data2", "data-copy")
		r.start()
	}},
	{document: "docs/recover.md", has: "recover > volumes.yaml", says: `persistentvolumeclaim/data2 created`, do: func(r *reader) { r.wantFile("data2", "second") }},

	{do: func(r *reader) {
		r.stop()
		r.server = "nfs.example.com"
		r.start()
	}},
	{document: "docs/new-address.md", has: "recover --readdress", do: func(r *reader) {
		if server := r.Bound("data2").Spec.NFS.Server; server != r.server {
			r.T.Errorf("data2 lies on %s", server)
		}
	}},
	{document: "docs/doctor.md", has: "doctor --fix", answer: "y\n", says: `0 findings|no problems|nothing`},
	{do: func(r *reader) { r.stop() }},
	{document: "docs/way-back.md", has: "bin/claimdir handback", answer: "y\n", says: `data2`},
	{document: "docs/uninstall.md", has: "kubectl delete -k", says: `deployment.apps "claimdir" deleted`, do: func(r *reader) { r.wantFile("data2", "second") }},
}

// Each block of shell in the documents runs, in an order that makes sense, and says what it should; and each whole object in a block of
// YAML is applied.
func TestBlocksRun(t *testing.T) {
	r := newReader(t)
	used := map[string]map[int]bool{}
	for _, s := range story {
		if s.document != "" {
			block := r.block(s.document, s.has)
			if used[s.document] == nil {
				used[s.document] = map[int]bool{}
			}
			used[s.document][block.Line] = true
			r.runs(s, block)
		}
		if s.do != nil {
			s.do(r)
		}
		if t.Failed() {
			t.Fatalf("the story ends at %s, %q. claimdir's log:\n%s", s.document, s.has, r.log())
		}
	}
	for name, document := range r.blocks {
		for _, block := range document.Blocks {
			if runnable(name, block) && !used[name][block.Line] {
				t.Errorf("%s:%d: nothing runs this block: put it into the story, or into elsewhere with the reason\n%s", name, block.Line, block.Text)
			}
		}
	}
}

// runnable says whether the story must run a block: shell, and whole objects.
func runnable(document string, block Block) bool {
	for where := range elsewhere {
		if where[0] == document && strings.Contains(block.Text, where[1]) {
			return false
		}
	}
	return block.Language == "sh" || block.Language == "yaml" && strings.HasPrefix(block.Text, "apiVersion:")
}

// block is the only one of a document that contains a text.
func (r *reader) block(document, has string) Block {
	r.T.Helper()
	var found []Block
	for _, block := range r.blocks[document].Blocks {
		if strings.Contains(block.Text, has) {
			found = append(found, block)
		}
	}
	if len(found) != 1 {
		r.T.Fatalf("%s has %d blocks with %q, want one", document, len(found), has)
	}
	return found[0]
}

// runs runs a block as somebody does who copies it into a shell; an object is applied.
func (r *reader) runs(s step, block Block) {
	r.T.Helper()
	script := block.Text
	if block.Language == "yaml" {
		file := filepath.Join(r.checkout, "block.yaml")
		r.Must(os.WriteFile(file, []byte(block.Text), 0o644))
		script = "kubectl apply -f block.yaml"
	}
	out, err := r.does(script, s.answer)
	if err != nil {
		r.T.Errorf("%s:%d: %v\n%s\n%s", s.document, block.Line, err, script, out)
	} else if !regexp.MustCompile(s.says).MatchString(out) {
		r.T.Errorf("%s:%d prints no %q, but\n%s\n%s", s.document, block.Line, s.says, script, out)
	}
}

// expanded waits until the claim has the size that docs/expand.md gives it.
func expanded(r *reader) {
	r.T.Helper()
	if out, err := r.does("kubectl wait --for=jsonpath='{.status.capacity.storage}'=5Gi --timeout=60s pvc/data", ""); err != nil {
		r.T.Errorf("data does not grow: %v\n%s", err, out)
	}
}

// snapshots makes the cluster one with VolumeSnapshots. The snapshot-controller runs as a process; a Deployment of its name stands for
// what the document looks for.
func snapshots(r *reader) {
	r.T.Helper()
	r.Must(r.bed.AddSnapshots(r.T.Context()))
	_, err := r.bed.Kubectl(r.T.Context(), "create", "deployment", "snapshot-controller", "-n", "kube-system", "--image=snapshot-controller", "--replicas=0")
	r.Must(err)
}

// releases deletes a claim and waits until its volume is released.
func (r *reader) releases(claim string) {
	r.T.Helper()
	pv := r.Bound(claim).Name
	r.DeleteClaim(claim)
	r.VolumeGone(pv)
}
