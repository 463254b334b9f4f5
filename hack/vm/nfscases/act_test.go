//go:build vm

package nfscases

import (
	"context"
	"errors"
	"fmt"
	"os"

	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/quota"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// act does what its name says on the share at the first argument. The tests with a
// second client start each action in a process of one of the clients.
//
//	mkdir DIRECTORY, rename FROM TO   the kernel's own calls
//	provision PATH PV POLICY          make a volume
//	restore PATH PV POLICY ARCHIVED   make one from the archive of the volume ARCHIVED
//	release PATH PV POLICY            what the deletion of its PersistentVolume does
//	look-after                        what a leader does by and by
//	quota                             one run of claimdir quota
func act(name string, args ...string) error {
	dir, args := args[0], args[1:]
	switch name {
	case "mkdir":
		return os.Mkdir(dir+"/"+args[0], 0o755)
	case "rename":
		return os.Rename(dir+"/"+args[0], dir+"/"+args[1])
	case "quota":
		job, err := quota.Open(quota.Config{Dir: dir, Base: quota.DefaultBase, Once: true, Out: os.Stderr})
		if err != nil {
			return err
		}
		defer job.Close()
		return job.Run(context.Background())
	}
	p, err := openProcess(dir)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if name == "look-after" {
		return p.lookAfter(ctx)
	}
	v, err := volumeOf(args...)
	if err != nil {
		return err
	}
	switch name {
	case "provision", "restore":
		return p.provision(ctx, v)
	case "release":
		return p.release(ctx, v)
	}
	return fmt.Errorf("no action is called %s", name)
}

// process is one of claimdir, which works on a share.
type process struct {
	steps *steps.Steps
	on    steps.Direct
}

func openProcess(dir string) (process, error) {
	s, err := share.Open(dir)
	if err != nil {
		return process{}, err
	}
	l, err := ledger.Open(s, "share-1")
	seen := sharetest.NewSeen()
	return process{
		steps.New(steps.Config{Cluster: sharetest.Cluster, Objects: seen, Volume: seen.Volume}),
		steps.Direct{From: sharetest.Source(), Store: ledger.Store{Dirs: s, Records: l}},
	}, err
}

// volumeOf is the volume PV at PATH with POLICY, which is perhaps made from the archive
// of another.
func volumeOf(args ...string) (volume.Volume, error) {
	path, err := volpath.Parse(args[0])
	v := volume.Volume{
		Name: args[1], Path: path, Policy: class.Policy(args[2]), Mode: 0o777,
		Claim: ledger.Claim{Namespace: "ns", Name: "claim", UID: "uid-of-" + args[1]},
	}
	if len(args) > 3 {
		v.Restores, v.Restore = true, args[3]
	}
	return v, err
}

func (p process) provision(ctx context.Context, v volume.Volume) error {
	return p.steps.On(ctx, p.on, v.Path, "provision", func(ctx context.Context, op steps.Op) error {
		_, err := op.Create(ctx, v, steps.Begin{Existing: class.Refuse})
		return err
	})
}

func (p process) release(ctx context.Context, v volume.Volume) error {
	return p.steps.On(ctx, p.on, v.Path, "release", func(ctx context.Context, op steps.Op) error { return op.Release(ctx, v) })
}

// lookAfter empties the trash, brings back what was set aside, and looks after each volume.
func (p process) lookAfter(ctx context.Context) error {
	names, err := p.on.Store.Records.ListTrash()
	if err != nil {
		return err
	}
	for _, name := range names {
		_, _, err := p.steps.EmptyTrash(ctx, ctx, p.on, name, share.NewRemover(1, 0))
		refused, ok := errors.AsType[*refusal.Refusal](err)
		if busy := ok && refused.Reason() == refusal.ReasonBusy; err != nil && !busy && !errors.Is(err, steps.ErrNotTrash) {
			return err
		}
	}
	if _, err := p.steps.BringBackAside(ctx, p.on); err != nil {
		return err
	}
	for r, err := range p.on.Store.Records.Records() {
		if err != nil {
			return err
		}
		path, err := volpath.ParseRecorded(r.Path)
		if err != nil {
			return err
		}
		err = p.steps.On(ctx, p.on, path, "look after "+r.PV, func(ctx context.Context, op steps.Op) error { return op.LookAfter(ctx, r.PV) })
		if err != nil {
			return err
		}
	}
	return nil
}
