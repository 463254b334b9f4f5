package chart

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/docs"
	"claimdir/hack/project"
	"claimdir/hack/testbed"
)

// blockOf returns the only block of a document that contains a text. The document's path is from the root of the project.
func blockOf(t *testing.T, document, has string) (root, script string) {
	t.Helper()
	root, err := project.Root()
	if err != nil {
		t.Fatal(err)
	}
	all, err := docs.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, d := range all {
		for _, block := range d.Blocks {
			if d.Path == document && strings.Contains(block.Text, has) {
				found = append(found, block.Text)
			}
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s has %d blocks with %q, want one", document, len(found), has)
	}
	return root, found[0]
}

// block runs a document's block as an administrator does, in the root of the project, but for the texts that it replaces: old, new, ….
// It returns what the block prints.
func (w *world) block(document, has string, replace ...string) string {
	w.T.Helper()
	root, script := blockOf(w.T, document, has)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(script, replace[i]) {
			w.T.Fatalf("%s: the block has no %q:\n%s", document, replace[i], script)
		}
	}
	script = strings.NewReplacer(replace...).Replace(script)
	programs := `set -eu; cd "$ROOT"; helm() { "$HELM" "$@"; }; kubectl() { "$KUBECTL" "$@"; }` + "\n"
	out, err := w.bed.Shell(w.T.Context(), programs+script, "ROOT="+root, "HELM="+w.helm.Program, "HOME="+w.helm.Home, "CLAIMDIR="+w.bed.Program())
	if err != nil {
		w.T.Fatalf("%s: %v; the block is\n%s\nit says\n%s", document, err, script, out)
	}
	return out
}

// The same lines install the chart wherever a document shows them.
func TestInstallationIsTheSameEverywhere(t *testing.T) {
	_, want := blockOf(t, "README.md", "helm install")
	for _, document := range []string{"docs/install.md", Directory + "/README.md"} {
		if _, got := blockOf(t, document, "helm install"); got != want {
			t.Errorf("%s has\n%s\nthe README\n%s", document, got, want)
		}
	}
}

// testFinalizerOff is how docs/migrate.md lets a volume go after the way back, if it was gone without handback: our finalizer is taken
// off, and those of others stay.
func testFinalizerOff(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed, "baseline")
	const ours, others = "external-provisioner.volume.kubernetes.io/finalizer", "example.com/others"
	volumes := bed.Admin.CoreV1().PersistentVolumes()
	for name, finalizers := range map[string][]string{w.Name + "-ours": {ours, others}, w.Name + "-none": {others, ours}} {
		_, err := volumes.Create(t.Context(), &v1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: name, Finalizers: finalizers},
			Spec: v1.PersistentVolumeSpec{
				AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteMany}, Capacity: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")},
				PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: testbed.Server, Path: "/gone"}},
			},
		}, metav1.CreateOptions{})
		w.Must(err)
		w.Must(volumes.Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	w.block("docs/migrate.md", "kubectl patch pv", "pvc-0e8c4c0f-6b37-4b0e-8d0c-5f0a3c7f2f8d", w.Name+"-ours")
	pv, err := volumes.Get(t.Context(), w.Name+"-ours", metav1.GetOptions{})
	w.Must(err)
	if strings.Contains(strings.Join(pv.Finalizers, " "), ours) || !strings.Contains(strings.Join(pv.Finalizers, " "), others) {
		t.Errorf("it has the finalizers %q", pv.Finalizers)
	}
	_, script := blockOf(t, "docs/migrate.md", "kubectl patch pv")
	_, patch, _ := strings.Cut(script, "--patch '")
	if _, err := bed.Kubectl(t.Context(), "patch", "pv", w.Name+"-none", "--type=json", "--patch", strings.TrimSuffix(strings.TrimSpace(patch), "'")); err == nil {
		t.Error("a finalizer of others is taken off")
	}
	for _, name := range []string{"-ours", "-none"} {
		_, err := bed.Kubectl(t.Context(), "patch", "pv", w.Name+name, "--type=merge", "--patch", `{"metadata":{"finalizers":null}}`)
		w.Must(err)
	}
}
