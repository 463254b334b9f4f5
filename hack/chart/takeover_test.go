package chart

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

const peerImage = "registry.k8s.io/sig-storage/nfs-subdir-external-provisioner:v4.0.2"

// variant is a release of nfs-subdir-external-provisioner.
type variant struct {
	name     string
	release  string   // name of the release; NAME in it is the world's
	values   []string // that its users have set
	flags    []string // with which helm installed it
	refused  string   // what is said first, if it takes
	with     []string // these flags
	fullname string
	root     bool                   // it has a PersistentVolume and a claim for its share
	archived func(pv string) string // what is on the share when the volume of claim "goes" was released; NAME is the world's
}

var variants = []variant{
	{
		name: "with the defaults and from an earlier helm", release: "NAME", fullname: "NAME-nfs-subdir-external-provisioner",
		flags: []string{"--server-side=false"}, archived: func(pv string) string { return "archived-NAME-goes-" + pv },
	},
	{
		name: "whose name contains that of the chart and with mount options", release: "NAME-nfs-subdir-external-provisioner", fullname: "NAME-nfs-subdir-external-provisioner",
		values: []string{"nfs.mountOptions={hard,nfsvers=4.1}"}, root: true,
		archived: func(pv string) string { return "archived-NAME-goes-" + pv },
	},
	{
		name: "with a pattern and a policy", release: "NAME", fullname: "NAME-nfs-subdir-external-provisioner",
		values:   []string{`storageClass.pathPattern=$\{.PVC.namespace\}/$\{.PVC.name\}`, "storageClass.onDelete=retain", "storageClass.archiveOnDelete=false"},
		archived: func(string) string { return "NAME/goes" },
	},
	{
		name: "with names and a strategy of its own", release: "NAME", fullname: "NAME-storage",
		values: []string{"fullnameOverride=NAME-storage", "nameOverride=storage", "strategyType=RollingUpdate", "storageClass.provisionerName=example.com/NAME",
			"nfs.mountOptions={hard}", "storageClass.accessModes=ReadWriteMany", "serviceAccount.name=NAME-account", "labels.owner=storage"},
		root: true, archived: func(pv string) string { return "archived-NAME-goes-" + pv },
		// Applied by the server, it keeps what the API server has filled in.
		refused: "spec.strategy.rollingUpdate: Forbidden", with: []string{"--server-side=false"},
	},
}

// peerRelease is a release of the peer with volumes in use, which was installed by helm.
type peerRelease struct {
	*world
	fullname, class, provisioner string
	roots                        []string // claims of the chart's own
	volumes                      map[string]*v1.PersistentVolume
	jobs                         *jobs
}

// newPeer installs what stands for the peer's chart, and makes what its provisioner would for two claims.
func newPeer(t *testing.T, bed *testbed.Bed, v variant) *peerRelease {
	t.Helper()
	w := newWorld(t, bed, "privileged") // the peer's pod has an nfs volume, which the baseline profile allows and its users' may not
	named := func(text string) string { return strings.ReplaceAll(text, "NAME", w.Name) }
	w.release = named(v.release)
	p := &peerRelease{world: w, fullname: named(v.fullname), class: w.Name + "-class", volumes: map[string]*v1.PersistentVolume{}}
	args := append([]string{"install", w.release, peer, "--set", "nfs.server=" + testbed.Server + ",nfs.path=" + testbed.Export + ",storageClass.name=" + p.class}, v.flags...)
	for _, value := range v.values {
		args = append(args, "--set", named(value))
	}
	w.chart(args...)
	if v.root {
		p.roots = []string{"pvc-" + p.fullname}
		w.Bound(p.roots[0])
	}
	class, err := bed.Admin.StorageV1().StorageClasses().Get(t.Context(), p.class, metav1.GetOptions{})
	w.Must(err)
	p.provisioner = class.Provisioner
	for _, name := range []string{"stays", "goes"} {
		dir := w.Name + "-" + name + "-pvc-" + w.Name + "-" + name
		if class.Parameters["pathPattern"] != "" {
			dir = w.Name + "/" + name
		}
		p.volumes[name] = p.volume(name, dir)
	}
	w.podWith(peerImage)
	p.jobs = w.runJobs()
	return p
}

// volume makes a claim, and the volume that the peer makes for it.
func (p *peerRelease) volume(name, dir string) *v1.PersistentVolume {
	p.T.Helper()
	pvc := p.Claim(name, clustertest.OfClass(p.class), func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeName = "pvc-" + p.Name + "-" + name })
	p.Must(os.MkdirAll(filepath.Join(p.share, dir), 0o777))
	p.Must(os.WriteFile(filepath.Join(p.share, dir, "file"), []byte(name), 0o600))
	pv := clustertest.VolumeOfPeer(pvc, p.provisioner, testbed.Server, testbed.Export+"/"+dir)
	_, err := p.bed.Admin.CoreV1().PersistentVolumes().Create(p.T.Context(), pv, metav1.CreateOptions{})
	p.Must(err)
	return p.Bound(name)
}

// takeover is the way that docs/migrate.md shows.
func (p *peerRelease) takeover(more ...string) []string {
	args := []string{"upgrade", p.release, ours, "--reset-then-reuse-values", "--set", "takeover.enabled=true", "--set", "image.repository=" + image}
	return append(args, append(more, "--namespace", p.Name)...)
}

// testVariant: nothing is made anew, the old pod is gone before the new one is made, and claimdir serves the old volumes as their class
// says, and new claims of it.
func testVariant(t *testing.T, bed *testbed.Bed, v variant) {
	p := newPeer(t, bed, v)
	before := p.uids(p.fullname, p.class, p.roots...)
	never := p.neverBoth()
	if v.refused != "" {
		p.helm.refused(t, []string{v.refused}, p.takeover()...)
		p.unchanged(before, p.fullname, p.class, p.roots...)
	}
	p.helm.must(t, p.takeover(v.with...)...)
	p.podWith(image + ":v0.1.0")
	never()
	p.unchanged(before, p.fullname, p.class, p.roots...)
	d := p.deployment(p.fullname)
	if len(d.Spec.Template.Spec.Containers) != 1 || d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType || d.Spec.Strategy.RollingUpdate != nil {
		t.Errorf("the Deployment is %+v", d.Spec)
	}
	process := p.start(p.fullname, map[string]string{"": testbed.Export})
	p.Claim("new", clustertest.OfClass(p.class))
	p.Bound("new")
	p.DeleteClaim("goes")
	p.VolumeGone(p.volumes["goes"].Name)
	p.has(strings.ReplaceAll(v.archived(p.volumes["goes"].Name), "NAME", p.Name) + "/file")
	if stays := p.Bound("stays"); stays.UID != p.volumes["stays"].UID {
		t.Error("a volume in use was made anew")
	}
	p.healthy(process)
	p.helm.must(t, p.takeover()...) // once more changes nothing
	p.unchanged(before, p.fullname, p.class, p.roots...)
	if again := p.deployment(p.fullname); again.Generation != d.Generation {
		t.Error("the same upgrade once more changes the Deployment")
	}
}

// neverBoth watches the pods of the namespace. What it returns fails the test if ever pods of the old and the new image were there
// together.
func (p *peerRelease) neverBoth() (check func()) {
	p.T.Helper()
	ctx, cancel := context.WithCancel(p.T.Context())
	pods, err := p.bed.Admin.CoreV1().Pods(p.Name).Watch(ctx, metav1.ListOptions{LabelSelector: "!" + batchv1.JobNameLabel})
	p.Must(err)
	var mu sync.Mutex
	var story []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range pods.ResultChan() {
			if pod, ok := event.Object.(*v1.Pod); ok {
				mu.Lock()
				story = append(story, fmt.Sprintf("%s %s", event.Type, pod.Spec.Containers[0].Image))
				mu.Unlock()
			}
		}
	}()
	return func() {
		p.T.Helper()
		gone, come := fmt.Sprintf("%s %s", watch.Deleted, peerImage), fmt.Sprintf("%s %s:v0.1.0", watch.Added, image)
		p.Eventually("the old pod is gone before the new one is there", func() error {
			mu.Lock()
			defer mu.Unlock()
			if !slices.Contains(story, come) {
				return fmt.Errorf("there was %q", story)
			}
			return nil
		})
		cancel()
		<-done
		if i, j := slices.Index(story, gone), slices.Index(story, come); i < 0 || i > j {
			p.T.Errorf("the old pod was there when the new one was made: %q", story)
		}
	}
}

// testTakeover goes there and back, with two releases: the other one of the peer goes on as it is.
func testTakeover(t *testing.T, bed *testbed.Bed) {
	v := variant{release: "NAME", fullname: "NAME-nfs-subdir-external-provisioner"}
	p, other := newPeer(t, bed, v), newPeer(t, bed, v)
	before, others := p.uids(p.fullname, p.class), other.uids(other.fullname, other.class)
	p.block("docs/migrate.md", "takeover.enabled=true", "upgrade nfs ", "upgrade "+p.release+" ", "--namespace storage", "--namespace "+p.Name)
	process := p.start(p.fullname, map[string]string{"": testbed.Export})
	p.Claim("new", clustertest.OfClass(p.class))
	made := p.Bound("new")
	p.healthy(process)
	other.unchanged(others, other.fullname, other.class)
	if d := other.deployment(other.fullname); d.Spec.Template.Spec.Containers[0].Image != peerImage {
		t.Errorf("the other release runs %s", d.Spec.Template.Spec.Containers[0].Image)
	}

	said := p.block("docs/migrate.md", "helm rollback", "upgrade nfs ", "upgrade "+p.release+" ", "rollback nfs ", "rollback "+p.release+" ",
		"--namespace storage", "--namespace "+p.Name, "bin/claimdir handback", `"$CLAIMDIR" handback --yes`, "local/nfs-nfs-", "local/"+p.release+"-nfs-",
		"nfs.example.com", testbed.Server, "/exports/data", testbed.Export)
	if pv := p.Bound("new"); len(pv.Finalizers) != 1 || !strings.Contains(said, pv.Name) {
		t.Errorf("handback leaves the finalizers %q, and says\n%s", pv.Finalizers, said)
	}
	p.podWith(peerImage)
	p.unchanged(before, p.fullname, p.class)
	d := p.deployment(p.fullname)
	if c := d.Spec.Template.Spec.Containers; len(c) != 1 || c[0].Image != peerImage || d.Spec.Template.Spec.Volumes[0].NFS == nil {
		t.Errorf("after the way back the pod is %+v", d.Spec.Template.Spec)
	}

	p.chart("uninstall", p.release)
	for _, pv := range []*v1.PersistentVolume{made, p.volumes["stays"], p.volumes["goes"]} {
		if pv, err := bed.Admin.CoreV1().PersistentVolumes().Get(t.Context(), pv.Name, metav1.GetOptions{}); err != nil || pv.DeletionTimestamp != nil || pv.Status.Phase != v1.VolumeBound {
			t.Errorf("after helm uninstall: %v, %v", pv, err)
		}
	}
}

// testTakeoverRefused: what cannot go well is refused, and nothing has changed then.
func testTakeoverRefused(t *testing.T, bed *testbed.Bed) {
	p := newPeer(t, bed, variant{release: "NAME", fullname: "NAME-nfs-subdir-external-provisioner"})
	before := p.uids(p.fullname, p.class)
	same := func() {
		t.Helper()
		p.unchanged(before, p.fullname, p.class)
		if image := p.deployment(p.fullname).Spec.Template.Spec.Containers[0].Image; image != peerImage {
			t.Errorf("the pod's image is %s", image)
		}
	}
	upgrade := []string{"upgrade", p.release, ours, "--namespace", p.Name, "--set", "takeover.enabled=true", "--set"}
	p.helm.refused(t, []string{"--reuse-values keeps its defaults", "--reset-then-reuse-values"}, append(upgrade, "image.repository="+image, "--reuse-values")...)
	p.helm.refused(t, []string{"image of another provisioner"}, append(upgrade, "image.repository=registry.k8s.io/sig-storage/nfs-subdir-external-provisioner", "--reset-then-reuse-values")...)
	p.helm.refused(t, []string{"nfs.server is empty"}, append(upgrade, "image.repository="+image)...)
	same()

	// What users have set themselves comes along, too.
	p.chart("upgrade", p.release, peer, "--reuse-values", "--set", "nfs.reclaimPolicy=Recycle")
	p.helm.refused(t, []string{`nfs.reclaimPolicy is "Recycle"`, "--set nfs.reclaimPolicy=Retain"}, p.takeover()...)
	same()
	p.chart("rollback", p.release, "1")

	p.helm.refused(t, []string{"storageClass.parameters has archiveRetention"}, p.takeover("--set-string", "storageClass.parameters.archiveRetention=30d")...)
	same()

	// No template sees what the class has now, so a Job looks.
	p.helm.refused(t, []string{"pre-upgrade", p.fullname + "-preflight"}, p.takeover("--set", "storageClass.onDelete=delete")...)
	if said, want := p.jobs.last(), "StorageClass "+p.class+": the parameter onDelete is not set in the cluster, and would have to be \"delete\"\n"; !strings.Contains(said, want) {
		t.Errorf("the Job says\n%s, want\n%s", said, want)
	}
	same()
	class, err := bed.Admin.StorageV1().StorageClasses().Get(t.Context(), p.class, metav1.GetOptions{})
	p.Must(err)
	if !maps.Equal(class.Parameters, map[string]string{"archiveOnDelete": "true"}) {
		t.Errorf("the class has %v", class.Parameters)
	}
	p.helm.must(t, p.takeover()...) // the failed attempts are not in the way
	p.podWith(image + ":v0.1.0")
	if left, err := bed.Admin.BatchV1().Jobs(p.Name).List(t.Context(), metav1.ListOptions{}); err != nil || len(left.Items) > 0 {
		t.Errorf("the Jobs %v are left, %v", left.Items, err)
	}
	p.unchanged(before, p.fullname, p.class)
}
