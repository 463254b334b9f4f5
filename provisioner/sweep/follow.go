package sweep

import (
	"context"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"claimdir/provisioner/steps"
	"claimdir/provisioner/volume"
)

// NewOwner makes the record of a volume follow its PersistentVolume, which is bound to another
// claim than before. It returns at once; Run does the work. PersistentVolumes that are not on the
// Sweeper's share are ignored.
func (s *Sweeper) NewOwner(pv *v1.PersistentVolume) {
	if _, err := volume.FromPV(s.config.Keeper.Source(), pv); err == nil {
		s.handedOver.Add(pv.Name)
	}
}

// followNewOwners works on the volumes that NewOwner was called for until ctx ends.
func (s *Sweeper) followNewOwners(ctx context.Context) {
	go func() {
		<-ctx.Done()
		s.handedOver.ShutDown()
	}()
	for {
		name, ended := s.handedOver.Get()
		if ended {
			return
		}
		if s.config.Keeper.WaitReady(ctx) != nil {
			return
		}
		_, err := s.follow(ctx, name)
		s.handedOver.Done(name)
		if err != nil && ctx.Err() == nil { // the next pass retries it
			klog.FromContext(ctx).V(1).Info("Cannot record the volume's new claim", "PV", name, "because", err.Error())
		}
	}
}

// follow is a volume whose record may name another claim than the PersistentVolume or a smaller size, or
// lacks the UID of the claim's namespace.
type follow struct {
	pv       string
	sameName bool // only the UID of the namespace is missing
}

// followAll writes the claims of bound PersistentVolumes into records that name other claims, their sizes
// into records that name smaller ones, and the UIDs of their namespaces into records that lack these.
func (s *Sweeper) followAll(ctx context.Context, found []follow) {
	mayKnow := true
	for _, f := range found {
		if f.sameName && !mayKnow {
			continue
		}
		v, err := s.follow(ctx, f.pv)
		if err != nil {
			klog.FromContext(ctx).V(1).Info("Cannot record the volume's claim", "PV", f.pv, "because", err.Error())
		} else if v.Name != "" && v.Claim.NamespaceUID == "" { // no need to ask for all others too
			mayKnow = false
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// follow writes the claim to which the API server says that a PersistentVolume is bound into the
// volume's record. It returns the volume, with that claim, if it is bound.
func (s *Sweeper) follow(ctx context.Context, name string) (v volume.Volume, err error) {
	pv, err := s.live.Volume(ctx, name)
	if err != nil || pv == nil || pv.Status.Phase != v1.VolumeBound {
		return v, err
	}
	if v, err = volume.FromPV(s.config.Keeper.Source(), pv); err != nil {
		return v, err
	}
	if v.Claim, err = s.config.Steps.InNamespace(ctx, v.Claim); err != nil {
		return v, err
	}
	return v, s.on(ctx, v.Path, "record the claim of "+name, func(ctx context.Context, op steps.Op) error {
		_, err := op.FollowOwner(ctx, v)
		return err
	})
}

// peers returns the volumes of another provisioner on the share, by the names of their
// PersistentVolumes.
func (s *Sweeper) peers() map[string]volume.Volume {
	found := map[string]volume.Volume{}
	for pv := range s.config.Objects.Volumes("") {
		if v, err := volume.FromPV(s.config.Keeper.Source(), pv); err == nil && v.Peer {
			found[v.Name] = v
		}
	}
	return found
}

// takeOver writes the records of volumes of another provisioner that have none. They were bound after
// this process began to lead.
func (s *Sweeper) takeOver(ctx context.Context, unrecorded map[string]volume.Volume) {
	for _, v := range unrecorded {
		err := s.on(ctx, v.Path, "take over "+v.Name, func(ctx context.Context, op steps.Op) error {
			wrote, err := op.TakeOver(v, false)
			if wrote {
				klog.FromContext(ctx).Info("Took over a volume that another provisioner made: wrote its record", "PV", v.Name, "path", v.Path)
			}
			return err
		})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			klog.FromContext(ctx).V(1).Info("Cannot take over the volume", "PV", v.Name, "because", err.Error())
		}
	}
}
