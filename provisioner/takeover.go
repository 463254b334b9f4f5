package provisioner

import (
	"context"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volpath"
)

// Start takes over, once, the volumes of the cluster that have no record of
// this cluster: those that nfs-subdir-external-provisioner or its predecessor
// made, and those that were recovered from the records of a cluster that is
// lost. It writes records and touches no directory. What it cannot take over
// it logs; a release then says why, as an event.
func (p *Provisioner) Start(ctx context.Context) {
	logger := klog.FromContext(ctx)
	taken := 0
	for _, pv := range p.objects.Volumes() {
		if ctx.Err() != nil {
			return
		}
		done, err := p.takeOver(pv)
		if err != nil {
			logger.Error(err, "Cannot take over the volume", "PV", pv.Name)
		}
		if done {
			taken++
		}
	}
	if taken > 0 {
		logger.Info("Took over volumes that others made: wrote their records", "volumes", taken)
	}
}

// takeOver reports whether it wrote a record for pv.
func (p *Provisioner) takeOver(pv *v1.PersistentVolume) (bool, error) {
	vol, err := readPV(p.source, pv)
	recovered := pv.Annotations[AnnotationRecoveredFrom] != ""
	if err != nil || !vol.Peer && !recovered {
		return false, err
	}
	unlock, err := p.lock(vol.Path)
	if err != nil {
		return false, nil //nolint:nilerr // its release has begun, and does the same
	}
	defer unlock()
	record, known, err := p.ledger.Lookup(vol.Path)
	switch {
	case err != nil:
		return false, err
	case known && recovered && p.owns(record, pv) && record.Cluster != p.cluster:
		return true, p.ledger.Activate(vol.Path, p.moved(record, pv))
	case known || !vol.Peer:
		return false, nil
	}
	present, err := p.dirs.Exists(vol.Path)
	if err != nil || !present {
		return false, err
	}
	_, err = p.recordPeer(pv, vol.Path)
	return err == nil, err
}

// recordPeer writes the record of a directory that a peer made. What else the
// ledger has below it is for its release to see: here that would be a listing of
// all records for each of the peer's volumes.
func (p *Provisioner) recordPeer(pv *v1.PersistentVolume, path volpath.Path) (ledger.Record, error) {
	record := peerRecord(p.cluster, pv)
	if err := p.checkVolumes(path, pv.Name); err != nil {
		return record, err
	}
	record, err := p.ledger.Claim(path, record, false)
	return record, storageError(err)
}

// peerRecord is what a peer's PersistentVolume says of its volume. It has no
// policy: the peers read the class on release.
func peerRecord(cluster string, pv *v1.PersistentVolume) ledger.Record {
	size := pv.Spec.Capacity[v1.ResourceStorage]
	record := ledger.Record{
		State:         ledger.Active,
		PV:            pv.Name,
		Cluster:       cluster,
		Class:         className(pv),
		ReclaimPolicy: string(pv.Spec.PersistentVolumeReclaimPolicy),
		Adopted:       true,
		Size:          size.String(),
		AccessModes:   modeNames(pv.Spec.AccessModes),
		MountOptions:  slices.Clone(pv.Spec.MountOptions),
		Created:       pv.CreationTimestamp.UTC(),
	}
	if ref := pv.Spec.ClaimRef; ref != nil {
		record.Claim = ledger.Claim{Namespace: ref.Namespace, Name: ref.Name, UID: string(ref.UID)}
	}
	return record
}

// owns reports whether record is pv's: of this cluster, or of the lost one that
// pv was recovered from. Only an administrator can write that on it. What was
// archived is nobody's any more.
func (p *Provisioner) owns(record ledger.Record, pv *v1.PersistentVolume) bool {
	return record.PV == pv.Name && record.State != ledger.Archived && (record.Cluster == p.cluster || record.Cluster == pv.Annotations[AnnotationRecoveredFrom])
}

// moved is the record of a recovered volume as one of this cluster.
func (p *Provisioner) moved(record ledger.Record, pv *v1.PersistentVolume) ledger.Record {
	record.Cluster = p.cluster
	if ref := pv.Spec.ClaimRef; ref != nil {
		record.Claim.UID = string(ref.UID)
	}
	record.Released = nil
	return record
}

// policy is what becomes of a released volume: what its PersistentVolume says
// or, for a peer's, what its class says as the peer would read it. Without a
// class nothing is lost: the directory is archived. A volume of ours that lost
// its annotations has its policy on record.
func (p *Provisioner) policy(vol volume, record ledger.Record) (class.Policy, error) {
	if !vol.Peer {
		return vol.Policy, nil
	}
	if record.Policy != "" {
		return class.ParsePolicy(record.Policy)
	}
	c, found := p.objects.Class(record.Class)
	if !found {
		return class.Archive, nil
	}
	policy, err := class.PeerPolicy(c.Parameters)
	if err != nil {
		return "", refuse(ReasonClass, "StorageClass %s: %w; nothing was touched", record.Class, err)
	}
	return policy, nil
}

// className also reads the annotation that old clusters have in place of the
// field.
func className(pv *v1.PersistentVolume) string {
	if name, ok := pv.Annotations[v1.BetaStorageClassAnnotation]; ok {
		return name
	}
	return pv.Spec.StorageClassName
}
