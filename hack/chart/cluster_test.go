package chart

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
)

// patience is how long something may take that should take moments.
const patience = 4 * time.Minute

// TestCluster installs the chart on a real API server. No kubelet runs the pods: that they are admitted is what it says of them, and
// claimdir runs as a process with their environment and as their ServiceAccount.
func TestCluster(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	bed, err := testbed.Start(ctx, testbed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := bed.ApplySnapshotCRDs(ctx); err != nil {
		t.Fatal(err)
	}
	t.Run("case", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *testbed.Bed){
			"from the README to the first claim and upgrades": testInstall,
			"all that the chart can add":                      testEverything,
			"a release of the peer and back":                  testTakeover,
			"a volume that the way back has left":             testFinalizerOff,
			"what is refused of a takeover":                   testTakeoverRefused,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, bed)
			})
		}
		for _, v := range variants {
			t.Run("a release of the peer "+v.name, func(t *testing.T) {
				t.Parallel()
				testVariant(t, bed, v)
			})
		}
	})
}

// world is one test's part of the cluster: a namespace, a release in it, and a share.
type world struct {
	*clustertest.Namespace
	bed     *testbed.Bed
	helm    helm
	release string
	share   string
}

// newWorld makes a namespace that enforces a Pod Security profile. The release has the name of the namespace.
func newWorld(t *testing.T, bed *testbed.Bed, profile string) *world {
	t.Helper()
	namespace := clustertest.New(t, bed.Admin, patience, 50*time.Millisecond, map[string]string{"pod-security.kubernetes.io/enforce": profile})
	share, err := bed.NewShare()
	if err != nil {
		t.Fatal(err)
	}
	return &world{Namespace: namespace, bed: bed, helm: newHelm(t, bed.Kubeconfig()), release: namespace.Name, share: share}
}

// chart runs helm in the world's namespace.
func (w *world) chart(args ...string) string {
	w.T.Helper()
	return w.helm.must(w.T, append(args, "--namespace", w.Name)...)
}

// deployment is the release's, by its full name.
func (w *world) deployment(fullname string) *appsv1.Deployment {
	w.T.Helper()
	d, err := w.bed.Admin.AppsV1().Deployments(w.Name).Get(w.T.Context(), fullname, metav1.GetOptions{})
	w.Must(err)
	return d
}

// podWith waits until a pod of the image was admitted to the namespace that is none of a Job.
func (w *world) podWith(image string) *v1.Pod {
	w.T.Helper()
	var found *v1.Pod
	w.Eventually("a pod of "+image+" is admitted", func() error {
		pods, err := w.bed.Admin.CoreV1().Pods(w.Name).List(w.T.Context(), metav1.ListOptions{LabelSelector: "!" + batchv1.JobNameLabel})
		if err != nil {
			return err
		}
		for i := range pods.Items {
			if pods.Items[i].Spec.Containers[0].Image == image {
				found = &pods.Items[i]
				return nil
			}
		}
		return fmt.Errorf("%d others; events of the namespace: %q", len(pods.Items), w.Warnings(w.Name, ""))
	})
	return found
}

// start runs claimdir as the pods of the Deployment would, and waits until it is ready. Where the share lies in them is where it lies
// here; and what a mount tells there, the environment tells here.
func (w *world) start(fullname string, shares map[string]string) *testbed.Process {
	w.T.Helper()
	pod := w.deployment(fullname).Spec.Template.Spec
	kubeconfig, err := w.kubeconfigOf(w.T.Context(), pod.ServiceAccountName)
	w.Must(err)
	config := testbed.Config{Share: w.share, Env: []string{"KUBECONFIG=" + kubeconfig}}
	for _, e := range pod.Containers[0].Env {
		switch {
		case e.Name == "PROVISIONER_NAME":
			config.Provisioner = e.Value
		case e.ValueFrom != nil && e.ValueFrom.FieldRef.FieldPath == "metadata.namespace":
			config.Env = append(config.Env, e.Name+"="+w.Name)
		default:
			config.Env = append(config.Env, e.Name+"="+e.Value)
		}
	}
	w.Must(w.mounts(pod, shares))
	if len(shares) > 1 {
		var paths []string
		for name, path := range shares {
			paths = append(paths, name+"="+path)
			w.Must(os.MkdirAll(filepath.Join(w.share, name), 0o777))
		}
		slices.Sort(paths)
		config.Env = append(config.Env, "NFS_PATH="+strings.Join(paths, ","))
	}
	p, err := w.bed.Claimdir(config)
	w.Must(err)
	w.T.Cleanup(func() {
		p.Kill()
		if w.T.Failed() {
			w.T.Logf("claimdir's log:\n%s", p.Log())
		}
	})
	ctx, cancel := context.WithTimeout(w.T.Context(), patience)
	defer cancel()
	w.Must(p.WaitReady(ctx))
	return p
}

// kubeconfigOf makes a kubeconfig of a ServiceAccount of the namespace.
func (w *world) kubeconfigOf(ctx context.Context, account string) (file string, err error) {
	token, err := w.bed.Kubectl(ctx, "create", "token", account, "-n", w.Name, "--duration=1h")
	if err != nil {
		return "", err
	}
	return w.bed.KubeconfigFor(w.Name, strings.TrimSpace(token))
}

// mounts wants each share, by name and path, to be a bound claim of the pod that is mounted where claimdir looks for it. A share
// without name is the only one.
func (w *world) mounts(pod v1.PodSpec, shares map[string]string) error {
	claims := map[string]string{}
	for _, volume := range pod.Volumes {
		claims[volume.Name] = volume.PersistentVolumeClaim.ClaimName
	}
	if len(pod.Volumes) != len(shares) || len(pod.Containers[0].VolumeMounts) != len(shares) {
		return fmt.Errorf("the pod has the volumes %v and mounts %v, want %d", claims, pod.Containers[0].VolumeMounts, len(shares))
	}
	for _, mount := range pod.Containers[0].VolumeMounts {
		name := strings.TrimPrefix(strings.TrimPrefix(mount.MountPath, "/persistentvolumes"), "/")
		path, ok := shares[name]
		if !ok {
			return fmt.Errorf("the pod mounts %s", mount.MountPath)
		}
		pv := w.Bound(claims[mount.Name])
		if pv.Spec.NFS == nil || pv.Spec.NFS.Path != path || pv.Spec.NFS.Server != testbed.Server {
			return fmt.Errorf("%s is %v, want %s", mount.MountPath, pv.Spec.NFS, path)
		}
	}
	return nil
}

// uids are those of what must not be made anew.
func (w *world) uids(fullname, class string, claims ...string) map[string]types.UID {
	w.T.Helper()
	found := map[string]types.UID{"Deployment": w.deployment(fullname).UID}
	c, err := w.bed.Admin.StorageV1().StorageClasses().Get(w.T.Context(), class, metav1.GetOptions{})
	w.Must(err)
	found["StorageClass"] = c.UID
	for _, name := range claims {
		claim, err := w.bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).Get(w.T.Context(), name, metav1.GetOptions{})
		w.Must(err)
		pv, err := w.bed.Admin.CoreV1().PersistentVolumes().Get(w.T.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
		w.Must(err)
		found["claim "+name], found["volume of "+name] = claim.UID, pv.UID
	}
	return found
}

// pushed packages our chart with a version, pushes it to a registry of this test's, and returns its address and its package.
func pushed(t *testing.T, h helm, version string) (address, file string) {
	t.Helper()
	server := httptest.NewServer(registry.New())
	t.Cleanup(server.Close)
	dir := t.TempDir()
	h.must(t, "package", ours, "--destination", dir, "--version", version, "--app-version", "v"+version)
	file = filepath.Join(dir, "claimdir-"+version+".tgz")
	repository := "oci://" + strings.TrimPrefix(server.URL, "http://") + "/charts"
	h.must(t, "push", file, repository, "--plain-http")
	return repository + "/claimdir", file
}
