package control

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

func at(name, server, path, provisioner string) *v1.PersistentVolume {
	pv := newVolume(name)
	pv.Annotations = map[string]string{annProvisionedBy: provisioner}
	pv.Spec.PersistentVolumeSource = v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: server, Path: path}}
	return pv
}

func TestOverlappingVolumesAreFound(t *testing.T) {
	w := newWorld(t,
		at("same", "nas", "/export/team/data", provisionerName),
		at("same-unclean", "nas", "/export//team/data/", "somebody"),
		at("below", "nas", "/export/team/data/x/y", "somebody"),
		at("above", "nas", "/export/team", peerName),
		at("above-by-hand", "nas", "/export/team", "somebody"),
		at("root", "nas", "/", provisionerName),
		at("beside", "nas", "/export/team/data2", provisionerName),
		at("elsewhere", "other", "/export/team/data", provisionerName),
		newVolume("no-nfs"),
	).start()
	for export, want := range map[string][]string{
		"/export/team/data": {"above", "below", "root", "same", "same-unclean"},
		"/export/team/new":  {"above", "root"},
		"/":                 {"above", "above-by-hand", "below", "beside", "root", "same", "same-unclean"},
		"/...":              {"root"},
	} {
		var got []string
		for _, pv := range w.config.Informers.Overlapping("nas", export) {
			got = append(got, pv.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", export, got, want)
		}
	}
}

func TestVolumesAndClaimsOfAdditionalNamesAreServed(t *testing.T) {
	old := newClass("old")
	old.Provisioner = peerName
	released := newReleased("peers")
	released.Annotations[annProvisionedBy] = peerName
	w := newWorld(t, old, newClass("nfs"), released, at("foreign", "nas", "/x", "somebody")).start()
	w.add(newClaim("a", "old"))
	w.eventually("the claim of the peer's class is provisioned", func() bool { return w.saved("pvc-a") != nil })
	if by := w.saved("pvc-a").Annotations[annProvisionedBy]; by != peerName {
		t.Error("provisioned by", by)
	}
	w.eventually("the peer's volume is released", func() bool { return w.provisioner.deletions("peers") == 1 })
	for _, pv := range w.config.Informers.Volumes() {
		if !strings.HasPrefix(pv.Name, "pvc-") && pv.Name != "peers" {
			t.Errorf("%s is not ours", pv.Name)
		}
	}
	if _, found := w.config.Informers.Class("old"); !found {
		t.Error("no class old")
	}
	if _, found := w.config.Informers.Class("none"); found {
		t.Error("a class none")
	}
}

// starting is a Provisioner that has something to do when it leads.
type starting struct {
	*puppet
	volumes func() []*v1.PersistentVolume
	saw     atomic.Int32
	ended   chan struct{}
}

func (s *starting) Start(ctx context.Context) {
	s.saw.Store(int32(len(s.volumes())))
	<-ctx.Done()
	time.Sleep(50 * time.Millisecond)
	close(s.ended)
}

func TestStartSeesFilledCachesAndEndsWithTheController(t *testing.T) {
	w := newWorld(t, at("a", "nas", "/a", provisionerName), at("b", "nas", "/b", peerName))
	s := &starting{puppet: w.provisioner, volumes: w.config.Informers.Volumes, ended: make(chan struct{})}
	w.config.Provisioners = []controller.Provisioner{s}
	w.start()
	w.eventually("it saw both volumes", func() bool { return s.saw.Load() == 2 })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.ended:
	default: // it would act beside the next leader
		t.Error("the lease was given back before Start ended")
	}
}
