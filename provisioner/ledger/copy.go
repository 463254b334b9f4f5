package ledger

import "time"

// CopyKind says what a volume is copied from.
type CopyKind string

const (
	// CopyClaim means: from the volume of a claim.
	CopyClaim CopyKind = "claim"
	// CopyArchive means: from an archive, which stays.
	CopyArchive CopyKind = "archive"
	// CopySnapshot means: from a snapshot.
	CopySnapshot CopyKind = "snapshot"
)

// Use says whether a pod used the source of a copy at any time of the copy.
type Use string

const (
	// Unused means: no pod did, so the copy is what the source was at that time.
	Unused Use = "no"
	// Used means: a pod did, so files may be of different moments.
	Used Use = "yes"
	// UseUnknown means: the cluster does not say it, as before Kubernetes 1.37.
	UseUnknown Use = ""
)

// Copy says which directory a volume was or is copied from, and how that went.
type Copy struct {
	Kind CopyKind `json:"kind"`
	// Share is the identity of the share that has the source. It is empty if that is the share of the copy.
	Share string `json:"share,omitempty"`
	// Path is the path of the source, or the own name of a snapshot.
	Path string `json:"path"`
	// PV and Cluster say of which volume the source is, and Claim which one has or had that.
	PV      string `json:"pv"`
	Cluster string `json:"cluster"`
	Claim   Claim  `json:"claim"`

	// Began is when the first run of the copy began to read, Ended when the copy was whole; nil before.
	Began *time.Time `json:"began,omitempty"`
	Ended *time.Time `json:"ended,omitempty"`
	// UnusedSince is since when no pod had used the source when the copy began. It is empty if one used it, or if the
	// cluster does not say it.
	UnusedSince string `json:"unusedSince,omitempty"`
	Used        Use    `json:"used,omitempty"`

	Files int64 `json:"files,omitempty"`
	Bytes int64 `json:"bytes,omitempty"`
	// Changed counts what somebody was changing each time it was copied; see share.Copied.
	Changed      int64    `json:"changed,omitempty"`
	FirstChanged []string `json:"firstChanged,omitempty"`
	LeftOut      int64    `json:"leftOut,omitempty"`
	FirstLeftOut []string `json:"firstLeftOut,omitempty"`
}

// Whole reports whether all is copied.
func (c *Copy) Whole() bool { return c != nil && c.Ended != nil }

// Copying reports whether the record is of a volume that is made by a copy and is not complete.
func (r Record) Copying() bool { return r.State == Creating && r.CopyOf != nil }

// layoutCopying is the layout of the record of a volume that is made by a copy and is not complete. A claimdir that knows
// no copies refuses it, and would otherwise take an empty directory for the volume.
const layoutCopying = 3
