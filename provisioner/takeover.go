package provisioner

import (
	"context"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volume"
)

// Start takes over, once, the volumes on this Provisioner's share that have no
// record of this cluster: those that nfs-subdir-external-provisioner or its
// predecessor made, and those that were recovered from the records of a cluster
// that is lost. For that it writes records and touches no directory. What it
// cannot take over it logs; a release then says why, as an event. Then it removes
// the empty parents that a release or a provision has left which was cut off. The
// Provisioner without a share only forgets which volumes were begun where.
func (p *Provisioner) Start(ctx context.Context) {
	if p.site == nil {
		p.tried.forget()
		return
	}
	logger := klog.FromContext(ctx)
	taken := 0
	for _, pv := range p.objects.Volumes() {
		vol, err := volume.FromPV(p.site.Source(), pv)
		if err == nil && (vol.Peer || vol.RecoveredFrom != "") {
			var done bool
			if done, err = p.takeOver(ctx, pv, vol); done {
				taken++
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && p.Owns(pv) { // the others say it of theirs
			logger.Error(err, "Cannot take over the volume", "PV", pv.Name)
		}
	}
	if taken > 0 {
		logger.Info("Took over volumes that others made: wrote their records", "volumes", taken)
	}
	p.tidyAllParents(ctx)
}

// takeOver reports whether it wrote a record for pv.
func (p *Provisioner) takeOver(ctx context.Context, pv *v1.PersistentVolume, vol volume.Volume) (done bool, err error) {
	return onceReady(ctx, p, vol.Path, "take over "+pv.Name, func(_ context.Context, op operation) (bool, error) {
		return op.takeOver(pv, vol)
	})
}

func (op operation) takeOver(pv *v1.PersistentVolume, vol volume.Volume) (bool, error) {
	recovered := vol.RecoveredFrom != ""
	record, known, err := op.ledger.Lookup(vol.Path)
	switch {
	case err != nil:
		return false, err
	case known && recovered && op.owns(record, pv) && record.Cluster != op.cluster:
		return true, op.ledger.Activate(vol.Path, op.moved(record, pv))
	case known || !vol.Peer:
		return false, nil
	}
	present, err := op.dirs.Exists(vol.Path)
	if err != nil || !present {
		return false, err
	}
	_, err = op.recordPeer(vol)
	return err == nil, err
}

// recordPeer writes the record of a directory that a peer made. What else the
// ledger has below it is for its release to see: here that would be a listing of
// all records for each of the peer's volumes.
func (op operation) recordPeer(vol volume.Volume) (ledger.Record, error) {
	vol.Cluster = op.cluster
	record := vol.Record()
	record.State = ledger.Active
	if err := op.checkVolumes(vol.Path, vol.Name); err != nil {
		return record, err
	}
	record, err := op.ledger.Claim(vol.Path, record, false)
	return record, storageError(err)
}

// owns reports whether record is pv's: of this cluster, or of the lost one that
// pv was recovered from. Only an administrator can write that on it. What was
// archived is nobody's any more.
func (op operation) owns(record ledger.Record, pv *v1.PersistentVolume) bool {
	return record.PV == pv.Name && record.State != ledger.Archived && (record.Cluster == op.cluster || record.Cluster == pv.Annotations[volume.AnnotationRecoveredFrom])
}

// moved is the record of a recovered volume as one of this cluster.
func (op operation) moved(record ledger.Record, pv *v1.PersistentVolume) ledger.Record {
	record.Cluster = op.cluster
	if ref := pv.Spec.ClaimRef; ref != nil {
		record.Claim.UID = string(ref.UID)
	}
	record.Released = nil
	return record
}

// retention is how long the archive of a released volume is kept: what its
// PersistentVolume says. A volume of ours that lost its annotations has it on record.
func retention(vol volume.Volume, record ledger.Record) string {
	if lost := vol.Peer && record.Policy != ""; lost && vol.Retention == 0 {
		return record.ArchiveRetention
	}
	return class.FormatRetention(vol.Retention)
}

// policy is what becomes of a released volume: what its PersistentVolume says
// or, for a peer's, what its class says as the peer would read it. Without a
// class nothing is lost: the directory is archived. A volume of ours that lost
// its annotations has its policy on record.
func (op operation) policy(vol volume.Volume, record ledger.Record) (class.Policy, error) {
	if !vol.Peer {
		return vol.Policy, nil
	}
	if record.Policy != "" {
		return class.ParsePolicy(record.Policy)
	}
	c, found := op.objects.Class(record.Class)
	if !found {
		return class.Archive, nil
	}
	policy, err := class.PeerPolicy(c.Parameters)
	if err != nil {
		return "", refusal.Unchanged(refusal.Refuse(refusal.ReasonClass, "StorageClass %s: %w", record.Class, err))
	}
	return policy, nil
}
