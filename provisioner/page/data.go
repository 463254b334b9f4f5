package page

import "time"

// Data is what one page shows.
type Data struct {
	// Version is claimdir's, Provisioner the name that it serves, Cluster the UID by which records know the
	// cluster.
	Version, Provisioner, Cluster string
	// At is when the data were gathered.
	At time.Time
	// Leads says that this replica leads. Refused, and Copies, Snapshots, Trash, Archives and Findings of the
	// shares, are known to the leader alone.
	Leads bool
	// Starting says that the list of volumes is not complete yet.
	Starting bool

	Shares     []Share
	Volumes    List[Volume]    // the largest first
	Namespaces List[Namespace] // the largest first
	Refused    List[Refused]
}

// List is the beginning of a list, and how long all of it is.
type List[T any] struct {
	Rows  []T
	Total int
	// AtLeast says that Total is not exact: there are that many or more.
	AtLeast bool
}

// first returns a List with no more rows than that.
func (l List[T]) first(most int) List[T] {
	l.Total = max(l.Total, len(l.Rows))
	l.Rows = l.Rows[:min(most, len(l.Rows))]
	return l
}

// More is how many there are besides Rows.
func (l List[T]) More() int { return l.Total - len(l.Rows) }

// Share is one share.
type Share struct {
	// Name is as classes call it; empty for a share that is mounted alone. Server and Path are its address.
	Name, Server, Path string
	// Trouble says why the share cannot be worked on, and since when; empty if it can. Starting says that it is
	// no trouble yet: the share was not probed so far.
	Trouble  string
	Starting bool
	// Size and Free are bytes at the last probe. A Size of 0 means that there was none.
	Size, Free uint64
	// Volumes is how many PersistentVolumes the share has, and Requested how many bytes they request together.
	Volumes   int
	Requested int64

	Copies    Copies
	Snapshots Snapshots
	Trash     Trash
	Archives  Archives
	Findings  Findings
}

// Copies are the copies of volumes and snapshots to one share.
type Copies struct{ Running, Waiting int }

// Snapshots are those of one share.
type Snapshots struct {
	At    time.Time // when they were looked for; zero if they were not
	Count int
	Bytes int64 // that their copies took
}

// Trash is what one share has in its trash.
type Trash struct {
	Known   bool // the trash was listed
	Waiting int  // directories, Failing included
	Failing int  // those that could not be removed so far
	// Reasons of the failures, each with how many there are, for people.
	Reasons string
}

// Archives are those of one share.
type Archives struct {
	At      time.Time // when they were looked for; zero if they were not
	Ending  List[Archive]
	Forever int // those that claimdir does not end: they have no end, or another cluster's claimdir ends them
}

// Archive is one archive.
type Archive struct {
	Share            string // its name
	Namespace, Claim string
	Path             string
	Until            time.Time
	Held             bool // its time seems to be over, and it is kept for now
}

// Findings are what the last sweep of one share found.
type Findings struct {
	At time.Time // zero if no sweep has ended
	List[Finding]
}

// Finding is a finding of package doctor.
type Finding struct{ Share, Kind, Object, Problem, Remedy string }

// Size is what is requested and what is used, in bytes.
type Size struct {
	Requested int64
	Used      int64
	Known     bool // Used is known
}

// by is what a Size is compared by: what is used or, if that is unknown, what is requested.
func (s Size) by() int64 {
	if s.Known {
		return s.Used
	}
	return s.Requested
}

// Volume is one PersistentVolume.
type Volume struct {
	Share, Name      string
	Namespace, Claim string
	Size
	Measured time.Time // when Used was measured; zero if that is not known
}

// Namespace is what the volumes of one namespace's claims have together.
type Namespace struct {
	Name    string
	Volumes int
	// Measured is how many of the volumes count in Used. Known is true if there is one.
	Measured int
	Size
	rank int64 // the sum of what its volumes are compared by
}

// Refused is a claim for which claimdir does nothing now, and why.
type Refused struct {
	Namespace, Claim, Class string
	Reason                  string // as metrics label it
	Text                    string // as its event has it
	Since                   time.Time
}
