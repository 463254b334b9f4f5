package main

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/hack/testbed"
	"claimdir/provisioner"
	"claimdir/provisioner/cluster"
	"claimdir/provisioner/control"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// noLedger keeps in memory what a release asks for, and nothing on the share.
type noLedger struct{ records sync.Map }

func (n *noLedger) Lookup(p volpath.Path) (ledger.Record, bool, error) {
	found, ok := n.records.Load(p)
	r, _ := found.(ledger.Record)
	return r, ok, nil
}

func (n *noLedger) Claim(p volpath.Path, r ledger.Record, _ bool) (ledger.Record, error) {
	n.records.Store(p, r)
	return r, nil
}

func (n *noLedger) Forget(p volpath.Path) error {
	n.records.Delete(p)
	return nil
}

func (*noLedger) Archives(func(string) bool) iter.Seq2[ledger.Record, error] {
	return func(func(ledger.Record, error) bool) {}
}

func (*noLedger) Restoring(volpath.Path) (ledger.Record, bool, error) {
	return ledger.Record{}, false, nil
}

func (n *noLedger) ForgetIf(p volpath.Path, _ ledger.Record) (bool, error) { return true, n.Forget(p) }

func (*noLedger) CheckAbove(volpath.Path, ledger.Record) error { return nil }
func (*noLedger) CheckBelow(volpath.Path, ledger.Record) error { return nil }
func (*noLedger) Activate(volpath.Path, ledger.Record) error   { return nil }
func (*noLedger) Retain(volpath.Path, ledger.Record) error     { return nil }
func (*noLedger) Archive(volpath.Path, ledger.Record) error    { return nil }
func (*noLedger) Discard(volpath.Path, string) error           { return nil }

func (*noLedger) Parent(volpath.Path) (ledger.Parent, bool, error) {
	return ledger.Parent{}, false, nil
}
func (*noLedger) Parents() iter.Seq2[volpath.Path, error]     { return maps.All(map[volpath.Path]error{}) }
func (*noLedger) BeginParent(volpath.Path) error              { return nil }
func (*noLedger) MadeParent(volpath.Path, share.FileID) error { return nil }
func (*noLedger) ForgetParent(volpath.Path) error             { return nil }

// here is a share in a local directory, whose operations run as they are called.
type here struct {
	*share.Share
	records provisioner.Records
}

func (here) Name() string                    { return "" }
func (h here) String() string                { return h.Dir() }
func (here) ID() string                      { return "bench" }
func (here) Source() share.Source            { return share.Source{Server: testbed.Server, Path: testbed.Export} }
func (here) Ready() error                    { return nil }
func (here) WaitReady(context.Context) error { return nil }
func (here) Room() share.Room                { return share.Room{} }

func (h here) Background(ctx context.Context, name string, work provisioner.Work) error {
	return h.Do(ctx, name, work)
}

func (h here) Do(ctx context.Context, _ string, work provisioner.Work) error {
	files := provisioner.Files{Dirs: h.Share, Records: h.records}
	end, err := work(ctx, files, files)
	if end != nil {
		end(false)
	}
	return err
}

// runWithLedger and runWithoutLedger run claimdir in this process, so that they
// differ in the ledger alone.
func runWithLedger(ctx context.Context, bed *testbed.Bed, name string) (func() string, error) {
	return runHere(ctx, bed, name, func(dirs *share.Share) (provisioner.Records, error) {
		return ledger.Open(dirs, string(uuid.NewUUID()))
	})
}

func runWithoutLedger(ctx context.Context, bed *testbed.Bed, name string) (func() string, error) {
	return runHere(ctx, bed, name, func(*share.Share) (provisioner.Records, error) { return &noLedger{}, nil })
}

func runHere(ctx context.Context, bed *testbed.Bed, name string, open func(*share.Share) (provisioner.Records, error)) (func() string, error) {
	dir, err := bed.NewShare()
	if err != nil {
		return nil, err
	}
	dirs, err := share.Open(dir)
	if err != nil {
		return nil, err
	}
	known, err := cluster.NewInformers(bed.Admin, name)
	if err != nil {
		return nil, err
	}
	records, err := open(dirs)
	if err != nil {
		return nil, err
	}
	p := provisioner.New("bench", known, here{dirs, records}).Provisioners()[0]
	c, err := control.New(ctx, control.Config{
		Informers: known, Workers: idealWorkers, DrainTimeout: time.Minute, Provisioners: []controller.Provisioner{p}, Registry: prometheus.NewRegistry(),
		Clients: control.Clients{Main: bed.Admin, Events: bed.Admin, Lease: bed.Admin},
	})
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- c.Run(running) }()
	return func() string {
		cancel()
		if err := <-ended; err != nil {
			return fmt.Sprint("ended badly: ", err)
		}
		return ""
	}, nil
}
