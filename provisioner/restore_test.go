package provisioner

import (
	"strings"
	"testing"

	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/volume"
)

// archived makes a volume with a file and releases it into an archive.
func (w *world) archived(t *testing.T, claim, pv string) (archive string) {
	t.Helper()
	namespace, name, _ := strings.Cut(claim, "/")
	made := w.provision(t, options(claim, pv, at("made-${.PV.name}")))
	w.Tree(t, "made-"+pv+"/file-of-"+pv)
	must(t, w.Delete(t.Context(), made))
	return "archived-" + namespace + "-" + name + "-" + pv
}

// asks is the claim with the annotation.
func asks(o controller.ProvisionOptions, archive string) controller.ProvisionOptions {
	o.PVC.Annotations = map[string]string{volume.AnnotationRestore: archive}
	return o
}
