// Package check says what is wrong with a cluster and a share after claimdir worked on them. It is
// a pure function of what was seen: the objects, the share with its records as raw JSON, and a log of
// what was written into each volume and when each claim was made and deleted.
//
// It shares no code with claimdir: a mistake that both made would be seen by nobody.
package check

import (
	"io/fs"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// State is what was seen.
type State struct {
	// Cluster is the UID of the namespace kube-system.
	Cluster string
	// Export is the exported path of the share, by which PersistentVolumes name directories.
	Export string
	// Claims, Volumes and Classes are all that are claimdir's.
	Claims  []v1.PersistentVolumeClaim
	Volumes []v1.PersistentVolume
	Classes []storagev1.StorageClass
	// Share is all that lies on the share, by path, its root being ".".
	Share map[string]Entry
	// Foreign is what others put on the share, as it was before; Outside is what lies beside the share,
	// before and now.
	Foreign, OutsideBefore, OutsideNow map[string]Entry
	// Findings are what claimdir doctor reports, one a line.
	Findings []string
	Log      Log
	// Now is when all that was seen.
	Now time.Time
}

// Entry is a file, directory or link.
type Entry struct {
	Mode     fs.FileMode
	UID, GID uint32
	// Content is that of a file, or the target of a link.
	Content string
}

// Log is what users did, as they know it themselves.
type Log struct {
	// Claims are in the order in which they were made. Those of one namespace and name came one
	// after the other.
	Claims []*Claim
	// Tokens are the files that were written into volumes, by name. A token's content is its name.
	Tokens map[string]*Token
}

// Claim is one claim's story.
type Claim struct {
	Namespace, Name, UID, Class string
	// Restore is the value of the annotation that asks for an archive.
	Restore string
	// Received is the PersistentVolume that was handed to the claim; else it has one of its own.
	Received string
	// Made is a time before the claim was made.
	Made time.Time
	// Bound says that the claim was seen Bound, to PV at Path on the share.
	Bound    bool
	PV, Path string
	// Mode is that of the volume's directory then.
	Mode fs.FileMode
	// Adopts are the tokens that lay in the directory before the claim, and Before is its mode then.
	Adopts []string
	Before fs.FileMode
	// Found are the tokens that were in the volume when it was Bound, Wrote those that were added.
	Found, Wrote []string
	// From is the PersistentVolume whose content the claim must have got, if that is certain.
	From string
	// Deleted is a time before the claim's deletion was asked for; zero if it was not.
	Deleted time.Time
	// HandedOn says that its volume belongs to a later claim.
	HandedOn bool
}

// Token is a file that was written into a volume.
type Token struct {
	// Gone is when the file was first seen to be deleted, whatever its path was; zero if it is not.
	// Whoever looks for it has the file open, so no rename hides it.
	Gone time.Time
}

// Violation is one thing that is wrong.
type Violation struct {
	// Lasting says that waiting cannot mend it: content is lost, or with another claim.
	Lasting bool
	Text    string
}

func (v Violation) String() string { return v.Text }

// owner is the PersistentVolume's own name of the claim.
func (c *Claim) own() string {
	if c.Received != "" {
		return c.Received
	}
	return "pvc-" + c.UID
}
