package provisioner

import (
	"strconv"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
)

// newRecord is the record of a volume that is being made.
func newRecord(cluster string, o controller.ProvisionOptions, c class.Class) ledger.Record {
	size := o.PVC.Spec.Resources.Requests[v1.ResourceStorage]
	return ledger.Record{
		State:            ledger.Creating,
		PV:               o.PVName,
		Claim:            ledger.Claim{Namespace: o.PVC.Namespace, Name: o.PVC.Name, UID: string(o.PVC.UID)},
		Cluster:          cluster,
		Class:            o.StorageClass.Name,
		Policy:           string(c.OnDelete),
		ArchiveRetention: class.FormatRetention(c.ArchiveRetention),
		ReclaimPolicy:    string(reclaimPolicy(o.StorageClass)),
		Size:             size.String(),
		AccessModes:      modeNames(o.PVC.Spec.AccessModes),
		MountOptions:     o.StorageClass.MountOptions,
		Mode:             "0" + strconv.FormatUint(uint64(c.Mode), 8),
		UID:              c.UID,
		GID:              c.GID,
	}
}

func modeNames(modes []v1.PersistentVolumeAccessMode) []string {
	names := make([]string, len(modes))
	for i, mode := range modes {
		names[i] = string(mode)
	}
	return names
}
