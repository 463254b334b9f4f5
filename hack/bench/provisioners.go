package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"claimdir/hack/child"
	"claimdir/hack/testbed"
)

func runClaimdir(ctx context.Context, bed *testbed.Bed, name string) (func() string, error) {
	share, err := bed.NewShare()
	if err != nil {
		return nil, err
	}
	return startClaimdir(ctx, bed, testbed.Config{Share: share, Provisioner: name})
}

// startClaimdir runs the program; stop tells its peak memory.
func startClaimdir(ctx context.Context, bed *testbed.Bed, config testbed.Config) (stop func() (memory string), err error) {
	p, err := bed.Claimdir(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		return nil, err
	}
	return func() string {
		p.Stop()
		return fmt.Sprintf("%d MiB", p.PeakMemory()>>20)
	}, nil
}

// idealWorkers are as many as claimdir has.
const idealWorkers = 16

// ideal is the least that any external provisioner does: when the volume controller has put its name
// on a claim, it creates the PersistentVolume; when that is released, it deletes it. No directory,
// no event. With a finalizer the PersistentVolume has one, and loses it after the deletion.
type ideal struct{ finalizer bool }

const (
	idealFinalizer   = "bench.claimdir/finalizer"
	withoutFinalizer = `{"metadata":{"$deleteFromPrimitiveList/finalizers":["` + idealFinalizer + `"]}}`
)

func (i ideal) start(ctx context.Context, bed *testbed.Bed, name string) (func() string, error) {
	ctx, cancel := context.WithCancel(ctx)
	factory := informers.NewSharedInformerFactory(bed.Admin, 0)
	work := make(chan func(), 100_000)
	for range idealWorkers {
		go func() {
			for {
				select {
				case do := <-work:
					do()
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	watch := func(informer cache.SharedIndexInformer, handle func(object any)) error {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: handle, UpdateFunc: func(_, object any) { handle(object) }})
		return err
	}
	volumes := bed.Admin.CoreV1().PersistentVolumes()
	err := watch(factory.Core().V1().PersistentVolumeClaims().Informer(), func(object any) {
		claim, ok := object.(*v1.PersistentVolumeClaim)
		if ok && claim.Spec.VolumeName == "" && claim.Annotations["volume.kubernetes.io/storage-provisioner"] == name {
			work <- func() { _, _ = volumes.Create(ctx, i.volume(claim, name), metav1.CreateOptions{}) }
		}
	})
	if err == nil {
		err = watch(factory.Core().V1().PersistentVolumes().Informer(), func(object any) {
			pv, ok := object.(*v1.PersistentVolume)
			if ok && pv.Status.Phase == v1.VolumeReleased && pv.DeletionTimestamp == nil && pv.Annotations["pv.kubernetes.io/provisioned-by"] == name {
				work <- func() {
					_ = volumes.Delete(ctx, pv.Name, metav1.DeleteOptions{})
					if i.finalizer {
						_, _ = volumes.Patch(ctx, pv.Name, types.StrategicMergePatchType, []byte(withoutFinalizer), metav1.PatchOptions{})
					}
				}
			}
		})
	}
	if err != nil {
		cancel()
		return nil, err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return func() string {
		cancel()
		factory.Shutdown()
		return ""
	}, nil
}

func (i ideal) volume(claim *v1.PersistentVolumeClaim, provisioner string) *v1.PersistentVolume {
	pv := &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "pvc-" + string(claim.UID),
			Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisioner},
		},
		Spec: v1.PersistentVolumeSpec{
			StorageClassName:              *claim.Spec.StorageClassName,
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      claim.Spec.Resources.Requests,
			ClaimRef: &v1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: testbed.Server, Path: testbed.Export + "/" + claim.Name}},
		},
	}
	if i.finalizer {
		pv.Finalizers = []string{idealFinalizer}
	}
	return pv
}

// programs is a flag with other provisioners.
type programs struct {
	named []string // NAME=PROGRAM
	env   settings
}

// settings is a flag with NAME=VALUE, which may be repeated.
type settings []string

// String implements flag.Value.
func (s *settings) String() string { return strings.Join(*s, " ") }

// Set implements flag.Value.
func (s *settings) Set(text string) error {
	if !strings.Contains(text, "=") {
		return errors.New("want NAME=VALUE")
	}
	*s = append(*s, text)
	return nil
}

// String implements flag.Value.
func (p *programs) String() string { return strings.Join(p.named, " ") }

// Set implements flag.Value.
func (p *programs) Set(text string) error {
	name, program, ok := strings.Cut(text, "=")
	if !ok || name == "" || program == "" {
		return errors.New("want NAME=PROGRAM")
	}
	p.named = append(p.named, text)
	return nil
}

func (p *programs) contestants() (all []contestant) {
	for _, text := range p.named {
		name, program, _ := strings.Cut(text, "=")
		all = append(all, contestant{name: name, start: p.starter(program)})
	}
	return all
}

// starter runs a program as an administrator, on a share of its own.
func (p *programs) starter(program string) starter {
	return func(ctx context.Context, bed *testbed.Bed, name string) (func() string, error) {
		share, err := bed.NewShare()
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, program)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+bed.Kubeconfig(), "PROVISIONER_NAME="+name, "MOUNT_PATH="+share,
			"NFS_SERVER="+testbed.Server, "NFS_PATH="+testbed.Export)
		for _, setting := range p.env {
			cmd.Env = append(cmd.Env, strings.ReplaceAll(setting, "$SHARE", share))
		}
		var log bytes.Buffer
		cmd.Stdout, cmd.Stderr = &log, &log
		running, err := child.Start(cmd, syscall.SIGKILL)
		if err != nil {
			return nil, err
		}
		return func() string {
			select {
			case <-running.Done: // before it was asked to
				return fmt.Sprintf("it has ended by itself:\n%s", &log)
			default:
			}
			running.Stop()
			return ""
		}, nil
	}
}
