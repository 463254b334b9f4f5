package usage

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/output"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// Share is one share to report on.
type Share struct {
	Name  string // as classes call it; empty where it is the only one
	Store ledger.Store
}

// Kinds of directories.
const (
	Volume   = "volume"
	Archive  = "archive"
	Retained = "retained"
	Snapshot = "snapshot"
	Trash    = "trash" // of a share, as a whole
)

// Directory is what is known of one directory. Sizes are in bytes. Scripts read the JSON: its keys never change.
type Directory struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"` // of the claim
	Claim     string `json:"claim,omitempty"`
	Volume    string `json:"volume,omitempty"` // name of the PersistentVolume
	Share     string `json:"share,omitempty"`
	Cluster   string `json:"cluster,omitempty"` // UID of its namespace kube-system
	Path      string `json:"path"`
	// Requested is the size of the volume.
	Requested int64 `json:"requested,omitempty"`
	// Used is nil if the directory was never measured.
	Used *share.Usage `json:"used,omitempty"`
	// Percent is how many hundredths of Requested are used.
	Percent *int64 `json:"percent,omitempty"`
	// AtLeast says that something could not be read, or took too long to count, so that the figures are too small.
	AtLeast bool `json:"atLeast,omitempty"`
	// Measured is when the measurement began, or now if the server enforces a size.
	Measured *time.Time `json:"measured,omitempty"`
}

// Total is what is known of one share. Sizes are in bytes.
type Total struct {
	Share string `json:"share,omitempty"`
	Size  uint64 `json:"size"`
	Free  uint64 `json:"free"`
	// Requested and Used are those of the volumes on it. Unmeasured is how many of them were never measured.
	Requested  int64 `json:"requested"`
	Used       int64 `json:"used"`
	Volumes    int   `json:"volumes"`
	Unmeasured int   `json:"unmeasured"`
}

// Report is what is known of several shares.
type Report struct {
	// Directories are sorted by use, the largest first. Those that were never measured come last.
	Directories []Directory `json:"directories"`
	Shares      []Total     `json:"shares"`
	// Unread has an error for each record and share that cannot be read. All others are in the report.
	Unread []error `json:"-"`
}

// Of says of which claims a report is.
type Of struct {
	// Namespace and Claim may be empty, and then mean all.
	Namespace, Claim string
}

func (o Of) includes(c ledger.Claim) bool {
	return (o.Namespace == "" || c.Namespace == o.Namespace) && (o.Claim == "" || c.Name == o.Claim)
}

// Find reports on the shares, or on what they have of some claims. It reads what was measured, and asks the servers for
// what they enforce.
func Find(shares []Share, of Of, now time.Time) Report {
	report := Report{Directories: []Directory{}, Shares: []Total{}}
	for _, s := range shares {
		if err := s.add(&report, of, now); err != nil {
			report.Unread = append(report.Unread, output.OfShare(s.Name, err))
		}
	}
	slices.SortFunc(report.Directories, compare)
	return report
}

func compare(a, b Directory) int {
	return cmp.Or(cmp.Compare(b.bytes(), a.bytes()), cmp.Compare(b.Requested, a.Requested),
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Claim, b.Claim), cmp.Compare(a.Path, b.Path))
}

// bytes is how much is used; -1 if that is not known.
func (d Directory) bytes() int64 {
	if d.Used == nil {
		return -1
	}
	return d.Used.Bytes
}

// add adds a share to the report. What cannot be read is in Unread, and the rest is added.
func (s Share) add(report *Report, of Of, now time.Time) error {
	room, err := s.Store.Dirs.Room()
	if err != nil {
		return fmt.Errorf("ask for its size: %w", err)
	}
	total := Total{Share: s.Name, Size: room.Size, Free: room.Free}
	unread := func(err error) { report.Unread = append(report.Unread, output.OfShare(s.Name, err)) }
	for r, err := range s.Store.Records.Records() {
		if err != nil {
			unread(err)
			continue
		}
		kind, shown := kindOf(r)
		if !shown || !of.includes(r.Claim) {
			continue
		}
		d, err := s.directory(kind, r, room, now)
		if err != nil {
			unread(err)
		}
		total.add(d)
		report.Directories = append(report.Directories, d)
	}
	for r, err := range s.Store.Records.Snapshots() {
		switch {
		case err != nil:
			unread(err)
		case r.Whole() && of.includes(r.Claim):
			report.Directories = append(report.Directories, s.snapshot(r))
		}
	}
	if of != (Of{}) {
		return nil
	}
	report.Shares = append(report.Shares, total)
	trash, err := s.trash()
	report.Directories = append(report.Directories, trash)
	return err
}

func kindOf(r ledger.Record) (kind string, shown bool) {
	switch r.State {
	case ledger.Active:
		return Volume, true
	case ledger.Archived:
		return Archive, true
	case ledger.Retained:
		return Retained, true
	case ledger.Creating:
	}
	return "", false
}

func (t *Total) add(d Directory) {
	if d.Kind != Volume {
		return
	}
	t.Volumes++
	t.Requested += d.Requested
	if d.Used == nil {
		t.Unmeasured++
		return
	}
	t.Used += d.Used.Bytes
}

// directory returns what is known of the directory of a record. With an error it returns what the record says.
func (s Share) directory(kind string, r ledger.Record, room share.Room, now time.Time) (Directory, error) {
	d := Directory{
		Kind: kind, Namespace: r.Claim.Namespace, Claim: r.Claim.Name, Volume: r.PV, Share: s.Name, Cluster: r.Cluster, Path: r.Path, Requested: sizeOf(r),
	}
	path, err := volpath.ParseRecorded(r.Path)
	if err != nil {
		return d, nil // doctor reports it
	}
	if kind == Volume {
		enforced, err := s.Store.Dirs.Enforced(path, r.Directory, room)
		if enforced.Limit > 0 {
			d.measured(ledger.Usage{Usage: enforced, Began: now})
			return d, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, share.ErrChanged) { // what sweep and doctor look after
			return d, err
		}
	}
	u, found, err := s.Store.Records.Usage(path, r)
	if found && !u.Began.IsZero() {
		d.measured(u)
	}
	return d, err
}

// snapshot returns what is known of a snapshot: what was copied. Nobody changes it.
func (s Share) snapshot(r ledger.Snapshot) Directory {
	d := Directory{
		Kind: Snapshot, Namespace: r.Claim.Namespace, Claim: r.Claim.Name, Volume: r.PV, Share: s.Name, Cluster: r.Cluster, Path: ledger.SnapshotPath(r.Own()), Requested: sizeOf(r.Record),
	}
	if r.CopyOf.Whole() {
		d.measured(ledger.Usage{Usage: share.Usage{Bytes: r.CopyOf.Bytes, Files: r.CopyOf.Files}, Began: *r.CopyOf.Ended})
	}
	return d
}

func (s Share) trash() (Directory, error) {
	d := Directory{Kind: Trash, Share: s.Name, Path: ".claimdir/" + share.TrashDir}
	u, found, err := s.Store.Records.TrashUsage()
	if found {
		d.measured(u)
	}
	return d, err
}

// measured adds what was measured.
func (d *Directory) measured(u ledger.Usage) {
	d.Used, d.Measured, d.AtLeast = &u.Usage, new(u.Began.UTC().Truncate(time.Second)), u.AtLeast()
	if d.Requested > 0 {
		d.Percent = new(percentOf(u.Bytes, d.Requested))
	}
}
