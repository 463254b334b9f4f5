package steps

import (
	"errors"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// Why SourceDirectory refuses a source.
var (
	ErrSourceGone   = errors.New("the source of the copy is gone, or was released meanwhile")
	ErrSourceOthers = errors.New("the source of the copy belongs to another namespace by now")
)

// SourceDirectory returns the directory of the volume or archive that is to be copied, which must still be that one's. A volume must
// belong to the namespace of heir. Errors are ErrSourceGone, ErrSourceOthers, and those of the share.
func SourceDirectory(store ledger.Store, of ledger.Copy, heir ledger.Claim) (share.CopyFrom, error) {
	path, err := volpath.ParseRecorded(of.Path)
	if err != nil {
		return share.CopyFrom{}, err
	}
	r, found, err := store.Records.Own(path, of.PV, of.Cluster)
	if err != nil {
		return share.CopyFrom{}, err
	}
	is := map[ledger.CopyKind]ledger.State{ledger.CopyClaim: ledger.Active, ledger.CopyArchive: ledger.Archived}
	switch {
	case !found || r.State != is[of.Kind]:
		return share.CopyFrom{}, ErrSourceGone
	case of.Kind == ledger.CopyClaim && !r.Claim.LeavesTo(heir):
		return share.CopyFrom{}, ErrSourceOthers
	}
	return share.CopyFrom{Path: path, Identity: r.Directory}, nil
}

// CheckSourceOwner returns ErrSourceOthers if the claim of a PersistentVolume that is copied for a namespace is another namespace's now, which
// the record learns later. pv is as the API server has it, or nil: a volume without a PersistentVolume is its record's.
func CheckSourceOwner(pv *v1.PersistentVolume, namespace string) error {
	if pv != nil && (pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.Namespace != namespace) {
		return ErrSourceOthers
	}
	return nil
}
