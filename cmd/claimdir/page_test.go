package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"claimdir/provisioner"
	"claimdir/provisioner/cluster"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/control"
	"claimdir/provisioner/page"
	"claimdir/provisioner/share"
)

const pageProvisioner = "example.com/nfs"

// pageVolume is a PersistentVolume of team-N on the share of that name.
func pageVolume(i int, share string) *v1.PersistentVolume {
	name := fmt.Sprintf("pvc-%06d", i)
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{pvs.AnnotationProvisionedBy: pageProvisioner}},
		Spec: v1.PersistentVolumeSpec{
			Capacity:               v1.ResourceList{v1.ResourceStorage: *resource.NewQuantity(int64(i)<<20, resource.BinarySI)},
			PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nas", Path: "/" + share + "/" + name}},
			ClaimRef:               &v1.ObjectReference{Namespace: fmt.Sprintf("team-%d", i%50), Name: fmt.Sprintf("claim-%d", i)},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	}
}

// newOverview wires what the page shows to two shares and a cluster with these objects; see wire.
func newOverview(t testing.TB, leadership *control.Leadership, objects ...runtime.Object) (*overview, *fake.Clientset, *served) {
	t.Helper()
	w := wire(t, leadership, func(*parts, *control.Config) {}, objects...)
	return w.overview, w.client, w.served
}

// wired are parts that are wired as serve does.
type wired struct {
	*overview

	client *fake.Clientset
	served *served
	jobs   jobs
}

// wire wires two shares and a cluster with these objects, as serve does, after change. Nothing runs but the caches,
// which are filled.
func wire(t testing.TB, leadership *control.Leadership, change func(*parts, *control.Config), objects ...runtime.Object) wired {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	o, dir := newOptions(), t.TempDir()
	o.provisionerName, o.mountPath = pageProvisioner, dir
	var mounts []share.Mount
	for _, name := range []string{"bulk", "fast"} {
		mounts = append(mounts, share.Mount{Name: name, Dir: dir + "/" + name, Source: share.Source{Server: "nas", Path: "/" + name}})
		if err := os.Mkdir(dir+"/"+name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	client := fake.NewSimpleClientset(objects...)
	informers := cluster.NewInformers(client, o.names()...)
	s := newServed(o, mounts, informers, leadership.Check)
	warn := warnOfClass(func(string, string, string) {})
	ops := newSteps(o, "cluster", informers, cluster.Live{Client: client}, warn)
	pool := provisioner.New(ops, informers, s.keepers...)
	config := control.Config{
		Informers: informers, Leadership: leadership, Registry: prometheus.NewRegistry(), Workers: 4, DrainTimeout: 10 * time.Second, Unfinished: s.stuck,
		Clients: control.Clients{Main: client, Events: fake.NewSimpleClientset(), Lease: client},
	}
	for _, p := range pool.Provisioners() {
		config.Provisioners = append(config.Provisioners, p)
	}
	all := parts{options: o, keepers: s.keepers, steps: ops, client: client, informers: informers, pool: pool}
	change(&all, &config)
	var c *control.Controller
	jobs, err := newJobs(all, warn, func() *control.Controller { return c })
	if err != nil {
		t.Fatal(err)
	}
	config.Background = jobs.run
	if c, err = control.New(ctx, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); informers.Factory().Shutdown() })
	informers.Factory().StartWithContext(ctx)
	for of, synced := range informers.Factory().WaitForCacheSync(ctx.Done()) {
		if !synced {
			t.Fatalf("%v are not filled", of)
		}
	}
	known := &overview{options: o, cluster: "cluster", informers: informers, leadership: leadership, controller: c, shares: jobs.shares}
	return wired{known, client, s, jobs}
}

func TestThePageShowsWhatThePartsKnow(t *testing.T) {
	objects := []runtime.Object{&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "nfs"}, Provisioner: pageProvisioner}}
	for i := range 30 {
		objects = append(objects, pageVolume(i, []string{"bulk", "fast"}[i%2]))
	}
	elsewhere := pageVolume(1000, "gone")
	foreign := pageVolume(2000, "fast")
	foreign.Annotations = nil
	claim := &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "block", UID: types.UID("u"), Annotations: map[string]string{"volume.kubernetes.io/storage-provisioner": pageProvisioner}},
		Spec:       v1.PersistentVolumeClaimSpec{StorageClassName: new("nfs"), VolumeMode: new(v1.PersistentVolumeBlock)},
		Status:     v1.PersistentVolumeClaimStatus{Phase: v1.ClaimPending},
	}
	o, client, s := newOverview(t, control.NewLeadership(nil), append(objects, elsewhere, foreign, claim)...)
	o.shares[1].used = func(path, pv string) (int64, time.Time, bool) {
		return 7 << 40, time.Now(), path == "pvc-000003" && pv == path
	}
	if d := o.data(); !d.Shares[0].Starting || d.Shares[0].Size != 0 || d.Shares[0].Trash.Known || !d.Shares[0].Findings.At.IsZero() {
		t.Errorf("before anything runs: %+v", d.Shares[0])
	}
	if err := os.MkdirAll(o.mountPath+"/fast/nobodys", 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if err := os.Mkdir(fmt.Sprintf("%s/%s/pvc-%06d", o.mountPath, []string{"bulk", "fast"}[i%2], i), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.run(t.Context(), o.controller.Retry)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- o.controller.Run(ctx) }()
	defer func() {
		if cancel(); <-ended != nil {
			t.Error("the controller did not end well")
		}
	}()
	var d page.Data
	for end := time.Now().Add(40 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		d = o.data()
		all := d.Refused.Total == 1
		for _, s := range d.Shares {
			all = all && s.Trouble == "" && s.Size > 0 && s.Trash.Known && !s.Archives.At.IsZero() && !s.Findings.At.IsZero()
		}
		if all {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("not in time: %+v", d)
		}
	}
	if r := d.Refused.Rows[0]; r.Namespace != "team" || r.Claim != "block" || r.Class != "nfs" || r.Reason != "claim" || !strings.Contains(r.Text, "Block") {
		t.Errorf("%+v", r)
	}
	bulk, fast := d.Shares[0], d.Shares[1]
	if bulk.Volumes != 15 || fast.Volumes != 15 || bulk.Requested != 210<<20 || fast.Requested != 225<<20 {
		t.Errorf("%+v\n%+v", bulk, fast)
	}
	if len(fast.Findings.Rows) != 1 || fast.Findings.Rows[0].Object != "nobodys" || fast.Findings.Rows[0].Share != "fast" {
		t.Errorf("%+v", fast.Findings)
	}
	first, second := d.Volumes.Rows[0], d.Volumes.Rows[1]
	if d.Volumes.Total != 31 || first.Name != "pvc-000003" || first.Claim != "claim-3" || !first.Known || first.Share != "fast" || second.Name != "pvc-001000" || second.Share != "" || second.Known {
		t.Errorf("%+v", d.Volumes)
	}
	if !d.Leads || d.Starting || d.Provisioner != pageProvisioner || d.Cluster != "cluster" || d.Namespaces.Total != 30 {
		t.Errorf("%+v", d)
	}
	// It asks nobody.
	client.ClearActions()
	client.PrependReactor("*", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetVerb() == "get" && a.GetResource().Resource == "persistentvolumes" {
			t.Error("it asks the API server")
		}
		return false, nil, nil
	})
	before := bulk
	if err := os.Rename(o.mountPath+"/bulk", o.mountPath+"/away"); err != nil {
		t.Fatal(err)
	}
	if now := o.data().Shares[0]; now.Volumes != before.Volumes || now.Size != before.Size {
		t.Errorf("%+v", now)
	}
	if err := os.Rename(o.mountPath+"/away", o.mountPath+"/bulk"); err != nil {
		t.Fatal(err)
	}
}

func TestAStandbyShowsSharesAndVolumes(t *testing.T) {
	o, _, s := newOverview(t, control.NewLeadership(&control.Lease{Namespace: "claimdir", Identity: "a"}), pageVolume(3, "fast"))
	if err := os.Mkdir(o.mountPath+"/fast/pvc-000003", 0o755); err != nil {
		t.Fatal(err)
	}
	s.run(t.Context(), func() {})
	for end := time.Now().Add(20 * time.Second); s.ready() != nil && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	d := o.data()
	if d.Leads || d.Shares[1].Size == 0 || d.Shares[1].Trouble != "" || d.Shares[1].Volumes != 1 || d.Volumes.Total != 1 || d.Refused.Total != 0 || d.Shares[1].Trash.Known {
		t.Errorf("%+v", d)
	}
}

func TestThePageHasAnAddressOfItsOwn(t *testing.T) {
	data := func() page.Data { return page.Data{At: time.Now(), Provisioner: pageProvisioner} }
	var config net.ListenConfig
	taken, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := taken.Addr().String()
	servePage(t.Context(), address, data)() // only logged
	servePage(t.Context(), pageOff, data)()
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	stop := servePage(t.Context(), address, data)
	get := func() (string, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return string(body), err
	}
	if body, err := get(); err != nil || !strings.Contains(body, pageProvisioner) {
		t.Errorf("%v: %s", err, body)
	}
	stop()
	if _, err := get(); err == nil {
		t.Error("it is still served")
	}
}

func BenchmarkGather(b *testing.B) {
	const many = 100_000
	objects := make([]runtime.Object, 0, many)
	for i := range many {
		objects = append(objects, pageVolume(i, []string{"bulk", "fast"}[i%2]))
	}
	o, _, _ := newOverview(b, control.NewLeadership(nil), objects...)
	for b.Loop() {
		if d := o.data(); d.Volumes.Total != many {
			b.Fatal(d.Volumes.Total)
		}
	}
}
