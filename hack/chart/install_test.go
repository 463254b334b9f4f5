package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

// testInstall goes the way of somebody new: the README's lines, the first claim as the notes have it that helm prints, and later
// another version from a registry, a second replica, mount options and a second share.
func testInstall(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed, "baseline")
	fullname, class := w.release+"-claimdir", w.Name
	said := w.block("README.md", "helm install", "install claimdir", "install "+w.release, "--namespace claimdir", "--namespace "+w.Name,
		"nfs.example.com", testbed.Server, "path=/exports/claimdir", "path="+testbed.Export+" --set storageClass.name="+class)
	w.podWith(image + ":v0.1.0")
	w.sameRights(fullname)

	_, notes, _ := strings.Cut(said, "<<END\n")
	claim, _, ok := strings.Cut(notes, "END\n")
	if !ok || !strings.Contains(said, "deployment/"+fullname) || !strings.Contains(said, testbed.Server+":"+testbed.Export) {
		t.Fatalf("the notes say\n%s", said)
	}
	_, err := bed.KubectlInput(t.Context(), strings.ReplaceAll("\n"+claim, "\n    ", "\n"), "apply", "-n", w.Name, "-f", "-")
	w.Must(err)
	one := map[string]string{"": testbed.Export}
	process := w.start(fullname, one)
	pv := w.Bound("data")
	if pv.Spec.StorageClassName != class || pv.Annotations["claimdir/on-delete"] != "archive" {
		t.Errorf("the first volume is of class %s, with %v", pv.Spec.StorageClassName, pv.Annotations)
	}

	before := w.uids(fullname, class, fullname+"-share")
	next, packaged := pushed(t, w.helm, "0.2.0")
	w.chart("upgrade", w.release, next, "--plain-http", "--version", "0.2.0", "--reset-then-reuse-values")
	w.podWith(image + ":v0.2.0")
	w.unchanged(before, fullname, class, fullname+"-share")
	next = packaged
	w.chart("upgrade", w.release, next, "--reuse-values", "--set", "replicaCount=2")
	d := w.deployment(fullname)
	if *d.Spec.Replicas != 2 || d.Spec.Strategy.Type != "RollingUpdate" || len(d.Spec.Template.Spec.TopologySpreadConstraints) != 1 {
		t.Errorf("after two upgrades the Deployment is %+v", d.Spec)
	}
	w.unchanged(before, fullname, class, fullname+"-share")
	checksum := d.Spec.Template.Annotations["checksum/shares"]
	w.chart("upgrade", w.release, next, "--reset-then-reuse-values", "--set", "nfs.mountOptions={hard,nfsvers=4.2}")
	if d := w.deployment(fullname); d.Spec.Template.Annotations["checksum/shares"] == checksum {
		t.Error("other mount options reach no pod")
	}
	w.unchanged(before, fullname, class, fullname+"-share")
	w.chart("upgrade", w.release, next, "--reset-then-reuse-values", "--set", "strategyType=Recreate")
	if strategy := w.deployment(fullname).Spec.Strategy; strategy.Type != "Recreate" || strategy.RollingUpdate != nil {
		t.Errorf("the strategy is %+v", strategy)
	}
	w.healthy(process)

	process = w.severalShares(next, fullname)
	w.DeleteClaim("data") // of the one share, which now has a name
	w.VolumeGone(pv.Name)
	w.has("fast/archived-" + w.Name + "-data-" + pv.Name)

	kept := w.Bound("kept")
	w.healthy(process) // before its rights go
	w.chart("uninstall", w.release)
	if kept, err = bed.Admin.CoreV1().PersistentVolumes().Get(t.Context(), kept.Name, metav1.GetOptions{}); err != nil || kept.DeletionTimestamp != nil {
		t.Errorf("helm uninstall takes a volume with it: %v, %v", kept.DeletionTimestamp, err)
	}
	for _, gone := range []string{"persistentvolume/" + fullname + "-fast", "clusterrole/" + fullname, "storageclass/" + class + "-both"} {
		w.Eventually(gone+" is gone", func() error {
			out, err := bed.Kubectl(t.Context(), "get", gone, "--ignore-not-found")
			if err == nil && out != "" {
				err = fmt.Errorf("it is there: %s", out)
			}
			return err
		})
	}
}

// severalShares gives the release a second share. The class of the one share makes way: nobody can give it the parameter share.
// It returns the claimdir that serves both, which has bound the claim "kept".
func (w *world) severalShares(chart, fullname string) *testbed.Process {
	w.T.Helper()
	values := filepath.Join(w.T.TempDir(), "values.yaml")
	w.Must(os.WriteFile(values, fmt.Appendf(nil, `
image: {repository: %s}
shares:
- {name: fast, server: %s, path: %s}
- {name: bulk, server: %s, path: /exports/bulk}
storageClass: {create: false}
storageClasses: [{name: %s-both, parameters: {share: "fast,bulk", onDelete: retain}}]
`, image, testbed.Server, testbed.Export, testbed.Server, w.Name), 0o600))
	w.chart("upgrade", w.release, chart, "--reset-values", "--values", values)
	// What was the share is now one of several: elsewhere the server does this.
	earlier := w.share
	w.share = w.T.TempDir()
	w.Must(os.Rename(earlier, filepath.Join(w.share, "fast")))
	process := w.start(fullname, map[string]string{"fast": testbed.Export, "bulk": "/exports/bulk"})
	w.Claim("kept", clustertest.OfClass(w.Name+"-both"))
	w.Bound("kept")
	return process
}

// testEverything installs all that can be added and whose kinds the API server has, in a namespace that enforces the restricted
// profile. Kinds of the Prometheus Operator and of OpenShift are not among them.
func testEverything(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed, "restricted")
	fullname := w.release + "-claimdir"
	w.chart("install", w.release, ours, "--values", ci("everything"), "--set", "metrics.podMonitor.enabled=false,metrics.serviceMonitor.enabled=false,metrics.rules.enabled=false",
		"--set", "openshift.scc.create=false,namespace.create=false", "--set", "storageClass.name="+w.Name+",storageClass.defaultClass=false",
		"--set", "snapshots.className="+w.Name, "--set", "storageClass.provisionerName=example.com/"+w.Name,
		"--set", "nfs.server="+testbed.Server+",nfs.path="+testbed.Export, "--set", "storageClasses[0].name="+w.Name+"-late", "--set", "image.digest=")
	pod := w.podWith(image + ":v0.1.0")
	if *pod.Spec.SecurityContext.RunAsUser != 1000 || pod.Spec.SecurityContext.SupplementalGroups[0] != 2000 || !*pod.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem {
		t.Errorf("the pod runs as %+v, %+v", pod.Spec.SecurityContext, pod.Spec.Containers[0].SecurityContext)
	}
	w.sameRights(fullname)
	process := w.start(fullname, map[string]string{"": testbed.Export})
	w.Claim("data", clustertest.OfClass(w.Name))
	pv := w.Bound("data")
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name) // the admission policy lets claimdir do that
	w.healthy(process)
	_, err := bed.Kubectl(t.Context(), "auth", "can-i", "delete", "volumesnapshots", "--as", "system:serviceaccount:"+w.Name+":storage", "-A")
	if err == nil {
		t.Error("claimdir may delete VolumeSnapshots")
	}
	w.chart("uninstall", w.release)
}

// sameRights wants the release's roles to be those of manifests/base, which the test bed has applied.
func (w *world) sameRights(fullname string) {
	w.T.Helper()
	roles := w.bed.Admin.RbacV1()
	rules := func(cluster, namespace, name string) [][]rbacv1.PolicyRule {
		c, err := roles.ClusterRoles().Get(w.T.Context(), cluster, metav1.GetOptions{})
		w.Must(err)
		r, err := roles.Roles(namespace).Get(w.T.Context(), name, metav1.GetOptions{})
		w.Must(err)
		return [][]rbacv1.PolicyRule{c.Rules, r.Rules}
	}
	if got, want := rules(fullname, w.Name, fullname), rules("claimdir", "claimdir", "claimdir"); !reflect.DeepEqual(got, want) {
		w.T.Errorf("the release may do\n%v\nmanifests/base\n%v", got, want)
	}
}

// unchanged wants the same objects as before.
func (w *world) unchanged(before any, fullname, class string, claims ...string) {
	w.T.Helper()
	if now := w.uids(fullname, class, claims...); !reflect.DeepEqual(any(now), before) {
		w.T.Errorf("objects were made anew: before %v, now %v", before, now)
	}
}

// healthy stops claimdir, which must end well.
func (w *world) healthy(p *testbed.Process) {
	w.T.Helper()
	if code := p.Stop(); code != 0 {
		w.T.Errorf("claimdir ended with exit code %d", code)
	}
}

// has wants a directory on the share.
func (w *world) has(path string) {
	w.T.Helper()
	if _, err := os.Stat(filepath.Join(w.share, path)); err != nil {
		entries, _ := filepath.Glob(filepath.Join(w.share, "*"))
		w.T.Errorf("%v; the share has %q", err, entries)
	}
}
