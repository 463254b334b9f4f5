//go:build vm

package cluster

import (
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/project"
	"claimdir/hack/vm/node"
)

// takenOver is a release of what stands for the chart of nfs-subdir-external-provisioner. Its pod sleeps.
type takenOver struct {
	*world
	share, deployment string
	uids              string // of the class and of the Deployment
}

// testTakeover upgrades a release of the peer's chart to ours, goes back, and upgrades it again, while a pod writes.
func testTakeover(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "privileged") // the peer's pod mounts its share itself
	p := &takenOver{world: w, share: rootExport + "/" + w.Name, deployment: w.Name + "-nfs-subdir-external-provisioner"}
	w.server("mkdir -m 777 %s", p.share)
	repository, tag, _ := strings.Cut(shellImage, ":")
	p.helm("install", w.Name, p.chart("hack", "chart", "testdata", "peer"), "--set",
		"nfs.server="+node.Address+",nfs.path="+p.share+",storageClass.name="+w.Name+",image.repository="+repository+",image.tag="+tag)
	p.runs(shellImage)
	p.uids = p.uidsNow()
	for _, name := range []string{"counter", "goes"} {
		p.volume(name)
	}
	w.run("writer", "goes", "echo kept >/data/file")
	w.pod("counter", "counter", count)
	w.phase("counter", v1.PodRunning)
	c := &counter{world: w, file: w.Bound("counter").Spec.NFS.Path + "/count"}
	c.goesOn()

	p.takeOver()
	c.goesOn()
	w.Claim("new")
	w.run("reader", "new", "echo new >/data/file")
	goes := w.release("goes")
	w.wantServer("kept", "cat %s/file", w.archived(goes, "goes"))
	w.release("new")

	p.helm("rollback", w.Name, "1")
	p.runs(shellImage)
	c.goesOn()

	p.takeOver()
	c.goesOn()
	w.release("counter")
	p.helm("uninstall", w.Name, "--wait")
}

// takeOver is the way that docs/migrate.md shows. The Deployment and the class stay the same objects.
func (p *takenOver) takeOver() {
	p.T.Helper()
	p.helm("upgrade", p.Name, p.chart("manifests", "chart", "claimdir"), "--reset-then-reuse-values",
		"--set", "takeover.enabled=true,image.repository="+node.ImageName+",image.tag="+oldTag)
	p.runs(node.ImageName + ":" + oldTag)
	if now := p.uidsNow(); now != p.uids {
		p.T.Errorf("the class and the Deployment are %s, were %s", now, p.uids)
	}
}

func (p *takenOver) chart(path ...string) string {
	p.T.Helper()
	root, err := project.Root()
	p.Must(err)
	return filepath.Join(append([]string{root}, path...)...)
}

func (p *takenOver) helm(args ...string) {
	p.T.Helper()
	_, err := p.node.Helm(p.T.Context(), append(args, "--namespace", p.Name)...)
	p.Must(err)
}

// runs waits until the Deployment's one pod runs this image, and is ready.
func (p *takenOver) runs(image string) {
	p.T.Helper()
	p.kubectl("", "rollout", "status", "deployment/"+p.deployment, "-n", p.Name, "--timeout=4m")
	if got := p.kubectl("", "get", "deployment", p.deployment, "-n", p.Name, "-o", "jsonpath={.spec.template.spec.containers[*].image}"); got != image {
		p.T.Errorf("it runs %s, want %s", got, image)
	}
}

// uidsNow are those of the class and of the Deployment.
func (p *takenOver) uidsNow() string {
	p.T.Helper()
	return p.kubectl("", "get", "storageclass/"+p.Name, "deployment/"+p.deployment, "-n", p.Name, "-o", "jsonpath={.items[*].metadata.uid}")
}

// volume makes a claim, and the volume that the peer makes for it.
func (p *takenOver) volume(name string) {
	p.T.Helper()
	claim := p.Claim(name, func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeName = "pvc-" + p.Name + "-" + name })
	dir := p.share + "/" + p.Name + "-" + name + "-" + claim.Spec.VolumeName
	p.server("mkdir -m 777 %s", dir)
	provisioner := p.kubectl("", "get", "storageclass", p.Name, "-o", "jsonpath={.provisioner}")
	_, err := p.node.Admin.CoreV1().PersistentVolumes().Create(p.T.Context(), clustertest.VolumeOfPeer(claim, provisioner, node.Address, dir), metav1.CreateOptions{})
	p.Must(err)
	p.Bound(name)
}
