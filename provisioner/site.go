package provisioner

import (
	"context"
	"iter"
	"strings"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"claimdir/provisioner/keeper"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// Site is one share that volumes are made on.
type Site interface {
	// Name is what classes call it; empty where it is the only one.
	Name() string
	// String names it for people.
	String() string
	// Source is what PersistentVolumes name as server and exported path.
	Source() share.Source
	// ID tells the share from every other one, however it is mounted.
	ID() string
	// Ready returns nil if the share can be worked on, or why not.
	Ready() error
	// WaitReady returns when the share is ready, or with the end of ctx.
	WaitReady(ctx context.Context) error
	// Room is how large the share is.
	Room() share.Room
	// Do runs work on the share, Background what nobody waits for: see keeper.Keeper.
	Do(ctx context.Context, name string, work Work) error
	Background(ctx context.Context, name string, work Work) error
}

// Work is an operation on a share: see keeper.Work.
type Work func(ctx context.Context, do, undo Files) (end func(late bool), err error)

// Files are a share's directories and records.
type Files struct {
	Dirs    Directories
	Records Records
}

// Directories is what this package needs of a share; *share.Share has it, and
// tests break one method of it.
type Directories interface {
	Exists(path volpath.Path) (bool, error)
	Create(path volpath.Path, a share.Attributes) (created bool, err error)
	Discard(path volpath.Path, volume string) (name string, err error)
	Remove(path volpath.Path) error
	RemoveEmpty(path volpath.Path) error
	Rename(from, to volpath.Path) error
	FinishedParents(path volpath.Path) (n int, err error)
	LookParent(path volpath.Path) (share.Parent, error)
	MakeParent(path volpath.Path) (share.FileID, error)
	FinishParent(path volpath.Path) error
	RemoveParent(path volpath.Path, id share.FileID) error
}

// Records is what this package needs of a ledger; *ledger.Ledger has it, and the
// benchmark leaves it out.
type Records interface {
	Lookup(path volpath.Path) (ledger.Record, bool, error)
	Archives(skip func(file string) bool) iter.Seq2[ledger.Record, error]
	Restoring(archive volpath.Path) (r ledger.Record, restoring bool, err error)
	CheckAbove(path volpath.Path, r ledger.Record) error
	CheckBelow(path volpath.Path, r ledger.Record) error
	Claim(path volpath.Path, r ledger.Record, adopt bool) (ledger.Record, error)
	Activate(path volpath.Path, r ledger.Record) error
	Retain(path volpath.Path, r ledger.Record) error
	Archive(path volpath.Path, r ledger.Record) error
	Discard(path volpath.Path, name string) error
	Forget(path volpath.Path) error
	Parent(path volpath.Path) (ledger.Parent, bool, error)
	Parents() iter.Seq2[volpath.Path, error]
	BeginParent(path volpath.Path) error
	MadeParent(path volpath.Path, directory share.FileID) error
	ForgetParent(path volpath.Path) error
	ForgetIf(path volpath.Path, r ledger.Record) (forgotten bool, err error)
}

// SiteOf is the Site of a share that a Keeper keeps.
func SiteOf(k *keeper.Keeper) Site { return kept{k} }

type kept struct{ *keeper.Keeper }

func (k kept) Do(ctx context.Context, name string, work Work) error {
	return k.Keeper.Do(ctx, name, onFiles(work))
}

func (k kept) Background(ctx context.Context, name string, work Work) error {
	return k.Keeper.Background(ctx, name, onFiles(work))
}

// background is a Site whose operations run as what nobody waits for: see
// keeper.Keeper.Background.
type background struct{ Site }

func (b background) Do(ctx context.Context, name string, work Work) error {
	return b.Background(ctx, name, work)
}

func onFiles(work Work) keeper.Work {
	return func(ctx context.Context, do, undo keeper.View) (func(bool), error) {
		return work(ctx, Files{do.Dirs, do.Records}, Files{undo.Dirs, undo.Records})
	}
}

// siteNames lists the names of sites for people.
func siteNames(sites []Site) string {
	names := make([]string, len(sites))
	for i, site := range sites {
		names[i] = site.Name()
	}
	return strings.Join(names, ", ")
}

// Objects is what this package knows of the cluster.
type Objects interface {
	// Volumes returns the PersistentVolumes of our provisioner names.
	Volumes() []*v1.PersistentVolume
	// Overlapping returns the PersistentVolumes, of any provisioner, that share
	// files with an exported path: see cluster.Informers.
	Overlapping(server, export string) []*v1.PersistentVolume
	// Synced reports whether all of them are known by now.
	Synced() bool
	// Class returns a StorageClass, or false if there is none.
	Class(name string) (*storagev1.StorageClass, bool)
}
