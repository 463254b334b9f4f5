package control

import (
	"context"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

// puppet is a Provisioner. A nil function succeeds.
type puppet struct {
	mu                   sync.Mutex
	onProvision          func(context.Context, controller.ProvisionOptions) error
	onDelete             func(context.Context, *v1.PersistentVolume) error
	should               func(*v1.PersistentVolumeClaim) bool
	provisioned, deleted []string // calls that began
	made                 []string // calls of Provision that succeeded
}

func (p *puppet) Provision(ctx context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	p.mu.Lock()
	p.provisioned = append(p.provisioned, o.PVName)
	p.mu.Unlock()
	if p.onProvision != nil {
		if err := p.onProvision(ctx, o); err != nil {
			return nil, controller.ProvisioningFinished, err
		}
	}
	p.mu.Lock()
	p.made = append(p.made, o.PVName)
	p.mu.Unlock()
	return newVolume(o.PVName), controller.ProvisioningFinished, nil
}

func (p *puppet) Delete(ctx context.Context, pv *v1.PersistentVolume) error {
	p.mu.Lock()
	p.deleted = append(p.deleted, pv.Name)
	p.mu.Unlock()
	if p.onDelete != nil {
		return p.onDelete(ctx, pv)
	}
	return nil
}

func (p *puppet) ShouldProvision(_ context.Context, claim *v1.PersistentVolumeClaim) bool {
	return p.should == nil || p.should(claim)
}

// count returns how often Provision and Delete were called for a volume, or
// for all if name is empty.
func (p *puppet) count(name string) (provisions, deletions int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	count := func(names []string) (n int) {
		for _, called := range names {
			if name == "" || called == name {
				n++
			}
		}
		return n
	}
	return count(p.provisioned), count(p.deleted)
}

func (p *puppet) provisions(name string) int { n, _ := p.count(name); return n }
func (p *puppet) deletions(name string) int  { _, n := p.count(name); return n }

// successes returns the volumes whose Provision succeeded.
func (p *puppet) successes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.made)
}
