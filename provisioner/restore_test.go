package provisioner

import (
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/volume"
)

// asks is the claim with the annotation.
func asks(o controller.ProvisionOptions, archive string) controller.ProvisionOptions {
	o.PVC.Annotations = map[string]string{volume.AnnotationRestore: archive}
	return o
}
