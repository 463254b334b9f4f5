package main

import (
	"fmt"
	"math"

	"github.com/spf13/pflag"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"claimdir/provisioner"
	"claimdir/provisioner/cluster"
	"claimdir/provisioner/control"
	"claimdir/provisioner/copies"
)

// copyWorkers is how many files of a copy are copied at a time: most of the time they wait for the server.
const copyWorkers = 16

// minCopyRate and minCopyBandwidth are the lowest limits: with less the pauses would look like a share that does not answer.
const (
	minCopyRate      = 10
	minCopyBandwidth = 1 << 20
)

func (o *controllerOptions) copyFlags() *pflag.FlagSet {
	f := section("Copies")
	f.IntVar(&o.copiesAtOnce, "copies-at-once", o.copiesAtOnce, "how many copies of volumes run at a time on each share; others wait, and namespaces take turns")
	f.IntVar(&o.copyRate, "copy-rate", o.copyRate, "how many calls a second the copies on a share make together; 0 means no limit")
	f.StringVar(&o.copyBandwidth, "copy-bandwidth", o.copyBandwidth,
		"how many `bytes` a second the copies on a share read and write together, such as 100Mi; what the server copies by itself without this process counts, too; 0 means no limit")
	return withVariables(f)
}

func (o *controllerOptions) checkCopies() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.copiesAtOnce < 1 || o.copiesAtOnce > 100 {
		problem("--copies-at-once %d: allowed are 1 to 100", o.copiesAtOnce)
	}
	if o.copyRate != 0 && o.copyRate < minCopyRate {
		problem("--copy-rate %d: must be at least %d; 0 means no limit", o.copyRate, minCopyRate)
	}
	bandwidth, err := parseBandwidth(o.copyBandwidth)
	if err != nil || bandwidth != 0 && bandwidth < minCopyBandwidth {
		problem("--copy-bandwidth %q: must be at least 1Mi, such as 100Mi; 0 means no limit", o.copyBandwidth)
	}
	return problems
}

// parseBandwidth returns how many bytes a second a quantity says.
func parseBandwidth(text string) (int, error) {
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, err
	}
	bytes := quantity.Value()
	if bytes < 0 || bytes > math.MaxInt32*1024 {
		return 0, fmt.Errorf("%s is out of range", text)
	}
	return int(bytes), nil
}

// newCopies makes the job that copies volumes, and what the pool needs for them. controller returns the controller, which is
// made later; it must not be called before the jobs run.
func newCopies(p parts, controller func() *control.Controller) (*provisioner.Copies, error) {
	bandwidth, err := parseBandwidth(p.copyBandwidth)
	if err != nil {
		return nil, fmt.Errorf("--copy-bandwidth %q: %w", p.copyBandwidth, err)
	}
	return &provisioner.Copies{
		Jobs:  copies.New(copies.Config{AtOnce: p.copiesAtOnce, Rate: p.copyRate, Bandwidth: bandwidth, Workers: copyWorkers}),
		Names: p.informers.Names(), Objects: p.informers, Live: cluster.Live{Client: p.client},
		Tell: func(claim *v1.PersistentVolumeClaim, kind, reason, text string) {
			controller().Tell(claim, kind, reason, text)
		},
		Retry: func(claim *v1.PersistentVolumeClaim) { controller().RetryClaim(claim) },
	}, nil
}
