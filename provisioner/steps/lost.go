package steps

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
)

// A volume is lost if its PersistentVolume was removed by force and its claim is gone: no
// release ever comes for it. If its claim is made again, that one ends it, by its policy.

// isLostNamesakes reports whether a path's record may be that of a lost volume of an earlier
// claim of asking's name.
func isLostNamesakes(known, asking ledger.Record) bool {
	return known.State == ledger.Active && known.Cluster == asking.Cluster && known.PV != asking.PV &&
		known.Claim.Namespace == asking.Claim.Namespace && known.Claim.Name == asking.Claim.Name &&
		known.Claim.UID != asking.Claim.UID
}

// endLost does with the directory of a lost volume what its policy says. A retained one
// waits for the claim then; else the path is free. What was to be deleted is an archive
// for Config.Grace, for the PersistentVolume may have been removed by mistake.
func (op Op) endLost(ctx context.Context, r ledger.Record) (now ledger.Record, found bool, err error) {
	if err := op.checkAlone(r); err != nil {
		return r, true, err
	}
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "lost", r.PV, "policy", r.Policy))
	switch class.Policy(r.Policy) {
	case class.Retain:
		if err := op.retain(ctx, r); err != nil {
			return r, true, err
		}
		return op.Store.Records.Lookup(op.Path)
	case class.Delete:
		if op.config.Grace <= 0 {
			return ledger.Record{}, false, op.discard(ctx, r)
		}
		r.ArchiveRetention = class.FormatRetention(op.config.Grace)
		archive, err := op.archive(ctx, r)
		if err == nil {
			op.config.Report(ctx, r, EventArchived, fmt.Sprintf("the PersistentVolume of volume %[1]s (claim %[2]s/%[3]s) is gone without a release, and its claim was made again. "+
				"Its directory was to be deleted: it is archive %[4]s for %[5]s. A claim of the namespace gets it back with claimdir/restore: %[1]s", r.PV, r.Claim.Namespace, r.Claim.Name, archive, op.config.Grace))
		}
		return ledger.Record{}, false, err
	case class.Archive: // and a peer's, which says no policy
	}
	_, err = op.archive(ctx, r)
	return ledger.Record{}, false, err
}
