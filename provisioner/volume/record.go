package volume

import (
	"fmt"
	"slices"
	"strconv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volpath"
)

// Record returns the record of a volume; FromRecord is its inverse. The ledger sets the state, the
// layout, the identity of the directory and the fields of archives.
func (v Volume) Record() ledger.Record {
	r := ledger.Record{
		Path:             v.Path.String(),
		PV:               v.Name,
		Claim:            v.Claim,
		Cluster:          v.Cluster,
		Class:            v.Class,
		Policy:           string(v.Policy),
		ArchiveRetention: class.FormatRetention(v.Retention),
		ReclaimPolicy:    string(v.ReclaimPolicy),
		Adopted:          v.Adopted,
		Size:             v.Size.String(),
		AccessModes:      []string{},
		MountOptions:     slices.Clone(v.MountOptions),
		UID:              v.UID,
		GID:              v.GID,
		RestoredFrom:     v.RestoredFrom,
		CopyOf:           v.CopyOf,
		Created:          v.Created,
	}
	for _, mode := range v.AccessModes {
		r.AccessModes = append(r.AccessModes, string(mode))
	}
	if v.Peer {
		r.Policy = "" // the PersistentVolume or the class says it on release
	} else {
		r.Mode = "0" + strconv.FormatUint(uint64(v.Mode), 8)
	}
	return r
}

// FromRecord returns the volume of a record. For an archive that is the former volume with the
// archive's path. The error names a field that cannot be read.
func FromRecord(r ledger.Record) (Volume, error) {
	v := Volume{
		Name:          r.PV,
		Claim:         r.Claim,
		Cluster:       r.Cluster,
		Class:         r.Class,
		ReclaimPolicy: v1.PersistentVolumeReclaimPolicy(r.ReclaimPolicy),
		MountOptions:  slices.Clone(r.MountOptions),
		UID:           r.UID,
		GID:           r.GID,
		Adopted:       r.Adopted,
		Peer:          r.Policy == "",
		RestoredFrom:  r.RestoredFrom,
		CopyOf:        r.CopyOf,
		Created:       r.Created,
	}
	for _, mode := range r.AccessModes {
		v.AccessModes = append(v.AccessModes, v1.PersistentVolumeAccessMode(mode))
	}
	var err error
	if v.Path, err = volpath.ParseRecorded(r.Path); err != nil {
		return Volume{}, err
	}
	if v.Size, err = resource.ParseQuantity(r.Size); err != nil {
		return Volume{}, fmt.Errorf("the size %q in its record is no quantity: %w", r.Size, err)
	}
	if v.Retention, err = class.ParseRetention(r.ArchiveRetention); err != nil {
		return Volume{}, fmt.Errorf("the archive retention in its record: %w", err)
	}
	if r.Policy != "" {
		if v.Policy, err = class.ParsePolicy(r.Policy); err != nil {
			return Volume{}, fmt.Errorf("the policy in its record: %w", err)
		}
	}
	if r.Mode != "" {
		mode, err := strconv.ParseUint(r.Mode, 8, 32)
		if err != nil {
			return Volume{}, fmt.Errorf("the mode in its record: %w", err)
		}
		v.Mode = uint32(mode)
	}
	return v, nil
}
