package main

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A wrong command line has one error, asks no cluster, and names the help.
func TestAWrongCommandLine(t *testing.T) {
	a := newAPI(t)
	for _, tt := range []struct{ args, want, help string }{
		{"frobnicate", `there is no command "frobnicate"; commands are: status, list, usage, archive, snapshot, doctor, recover, version`, ""},
		{"archive", "archive needs a command: archive list, archive restore, archive purge", "archive "},
		{"archive frobnicate", `there is no command "archive frobnicate"; commands are: archive list, archive restore, archive purge`, "archive "},
		{"snapshot lst", `there is no command "snapshot lst"; commands are: snapshot list, snapshot purge`, "snapshot "},
		{"archive list a b", `arguments ["a" "b"]: only one is allowed, NAMESPACE or NAMESPACE/CLAIM`, "archive list "},
		{"archive list a/b/c", `argument "a/b/c": allowed are NAMESPACE and NAMESPACE/CLAIM`, "archive list "},
		{"archive list --yes", "unknown flag: --yes", "archive list "},
		{"archive purge", "choose archives: NAMESPACE/CLAIM, NAMESPACE, the name of a PersistentVolume, --all or --ended", "archive purge "},
		{"archive purge a//b", `argument "a//b": allowed are NAMESPACE/CLAIM, NAMESPACE and the name of a PersistentVolume`, "archive purge "},
		{"snapshot purge", "choose snapshots: NAMESPACE/CLAIM, NAMESPACE, the name of a VolumeSnapshotContent, or --all", "snapshot purge "},
		{"archive restore", "exactly one is required, NAMESPACE/CLAIM of the archived claim", "archive restore "},
		{"archive restore team", `arguments ["team"]: exactly one is required`, "archive restore "},
		{"archive restore team/data --to A_b", `--to "A_b": not a valid name of a claim`, "archive restore "},
		{"archive restore team/data --dry-run=yes", `--dry-run "yes": allowed are none, client and server`, "archive restore "},
		{"archive restore team/data -o wide", `--output "wide": allowed are yaml, json and name`, "archive restore "},
		{"archive restore team/data --dry-run=client --wait", "--wait and --dry-run exclude each other", "archive restore "},
		{"archive restore team/data --timeout=0s", "--timeout 0s: must be more than 0", "archive restore "},
		{"archive restore team/data --timeout=soon", `invalid argument "soon" for "--timeout"`, "archive restore "},
		{"doctor now", `unexpected argument "now"`, "doctor "},
		{"status now", `unexpected argument "now"`, "status "},
		{"status -o wide", `--output "wide": allowed are table and json`, "status "},
		{"list -o wide", `--output "wide": allowed are table and json`, "list "},
		{"usage -A -n claimdir", "--all-namespaces and --namespace exclude each other: give one of them", "usage "},
	} {
		r := a.kubectl(strings.Fields(tt.args)...)
		if r.code != exitUsage || r.out != "" || !strings.HasPrefix(r.stderr, "kubectl claimdir: ") || !strings.Contains(r.stderr, tt.want) ||
			!strings.HasSuffix(r.stderr, "\nSee kubectl claimdir "+tt.help+"--help.\n") || strings.Count(r.stderr, "\n") != 2 {
			t.Errorf("%s: %+v", tt.args, r)
		}
	}
	if len(a.users) > 0 {
		t.Errorf("the cluster was asked %d times", len(a.users))
	}
}

func TestVersion(t *testing.T) {
	a := newAPI(t)
	r := a.kubectl("version", "--client")
	if r.want(t, exitDone); r.out != "kubectl-claimdir devel\n" || len(a.users) > 0 {
		t.Errorf("%+v", r)
	}
	a.pod("claimdir", "claimdir-a")
	a.program = func(c *call) int {
		if !slices.Equal(c.args, []string{"/claimdir", "--version"}) {
			t.Errorf("%q", c.args)
		}
		_, _ = c.stdout.Write([]byte("claimdir v1.2.3\n"))
		return 0
	}
	if r = a.kubectl("version"); r.out != "kubectl-claimdir devel\nclaimdir v1.2.3\n" {
		t.Errorf("%+v", r)
	}
}

func notReady(pod *corev1.Pod) { pod.Status.Conditions = nil }

func crashing(pod *corev1.Pod) {
	pod.Status.Conditions = nil
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{
		{Name: "other", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		{Name: "claimdir", RestartCount: 7, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}},
	}
}

func pending(pod *corev1.Pod) { pod.Status = corev1.PodStatus{Phase: corev1.PodPending} }

func ending(pod *corev1.Pod) { now := metav1.Now(); pod.DeletionTimestamp = &now }

func provisioner(name string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.Containers[1].Env[0].Value = name }
}

// A command runs in the pod that leads, else in one that is ready, else in one that runs.
func TestWhichPodIsTaken(t *testing.T) {
	for name, tt := range map[string]struct {
		setUp func(a *api)
		args  string
		want  string // the pod, or the error
	}{
		"the leader": {func(a *api) {
			a.pod("claimdir", "a")
			a.pod("claimdir", "b")
			a.leads("claimdir", "b")
		}, "", "claimdir/b"},
		"the leader though another one is ready": {func(a *api) {
			a.pod("claimdir", "a")
			a.pod("claimdir", "b", notReady)
			a.leads("claimdir", "b")
		}, "", "claimdir/b"},
		"not a leader that ends": {func(a *api) {
			a.pod("claimdir", "a", ending)
			a.pod("claimdir", "b", notReady)
			a.leads("claimdir", "a")
		}, "", "claimdir/b"},
		"one that is ready, where leases may not be read": {func(a *api) {
			a.pod("claimdir", "a", notReady)
			a.pod("claimdir", "b")
			a.refuse = []string{"/apis/coordination.k8s.io/v1/namespaces/claimdir/leases"}
		}, "", "claimdir/b"},
		"one that is not ready, if there is no better one": {func(a *api) {
			a.pod("claimdir", "a", crashing)
			a.pod("claimdir", "b", notReady)
		}, "", "claimdir/b"},
		"none that cannot run anything": {func(a *api) {
			a.pod("claimdir", "a", crashing)
			a.pod("claimdir", "b", pending)
			a.pod("claimdir", "c", ending)
		}, "", "no pod of claimdir in namespace claimdir (provisioner claimdir/nfs) runs: a is CrashLoopBackOff, b is Pending, c is Terminating"},
		"in whatever namespace": {func(a *api) { a.pod("storage", "a") }, "", "storage/a"},
		"in the namespace that is asked for": {func(a *api) {
			a.pod("claimdir", "a")
			a.pod("storage", "b", provisioner("b/nfs"))
		}, "-n storage", "storage/b"},
		"with the labels that are asked for": {func(a *api) {
			a.pod("claimdir", "a")
			a.pod("claimdir", "b", provisioner("b/nfs"), func(pod *corev1.Pod) { pod.Labels["app.kubernetes.io/instance"] = "b" })
		}, "-l app.kubernetes.io/instance=b", "claimdir/b"},
		"not one of several": {func(a *api) {
			a.pod("claimdir", "a")
			a.pod("storage", "b")
			a.pod("storage", "c", provisioner("c/nfs"))
		}, "", "there are several claimdirs: namespace claimdir (provisioner claimdir/nfs), namespace storage (provisioner claimdir/nfs), namespace storage (provisioner c/nfs); choose one with --namespace or --selector"},
		"none where there is none": {func(a *api) { a.pod("claimdir", "a") }, "-n team",
			"there is no pod of claimdir, with the labels app.kubernetes.io/name=claimdir, in namespace team: --namespace is the namespace of claimdir itself"},
		"none at all": {func(*api) {}, "", "there is no pod of claimdir, with the labels app.kubernetes.io/name=claimdir, in any namespace"},
		"in the context's namespace, for a user of that alone": {func(a *api) {
			a.pod("mine", "a")
			a.refuse = []string{"/api/v1/pods"}
		}, "", "mine/a"},
		"not elsewhere, for a user of a namespace alone": {func(a *api) {
			a.pod("claimdir", "a")
			a.refuse = []string{"/api/v1/pods"}
		}, "", "in namespace mine; you may not look into all namespaces, so give claimdir's with --namespace"},
		"in all or nowhere": {func(a *api) {
			a.pod("mine", "a")
			a.refuse = []string{"/api/v1/pods"}
		}, "-A", "find claimdir's pod: you may not do that"},
		"by labels that are none": {func(*api) {}, "-l a=b=c", "find claimdir's pod: "},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			a.program = func(*call) int { return 0 }
			tt.setUp(a)
			r := a.kubectl(append([]string{"usage"}, strings.Fields(tt.args)...)...)
			if len(a.calls) == 1 {
				if r.want(t, exitDone); a.calls[0].pod != tt.want {
					t.Errorf("it ran in %s", a.calls[0].pod)
				}
				told := "Using pod " + tt.want + "\n"
				if strings.HasPrefix(tt.args, "-n ") {
					told = "" // the user has said where
				}
				if r.stderr != told {
					t.Errorf("it tells %q, want %q", r.stderr, told)
				}
				return
			}
			r.want(t, exitFailed, tt.want)
			if strings.Count(r.stderr, "\n") != 1 {
				t.Errorf("more than one line: %s", r.stderr)
			}
		})
	}
}

// A pod of a tenant may have the labels of claimdir's. What recover prints is applied, so no pod is taken for it that the user has
// not named the namespace of.
func TestRecoverNeedsTheNamespace(t *testing.T) {
	a := newAPI(t)
	a.pod("tenant", "a")
	a.program = func(*call) int { return 0 }
	for _, args := range []string{"recover", "recover --readdress", "recover --snapshots -A", "recover -l app.kubernetes.io/name=claimdir"} {
		r := a.kubectl(strings.Fields(args)...)
		r.want(t, exitFailed, "recover needs --namespace, that of claimdir: ", "are in: namespace tenant (provisioner claimdir/nfs)\n")
		if len(a.calls) > 0 || r.out != "" || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s: %+v, %d calls", args, r, len(a.calls))
		}
	}
	a.kubectl("recover", "-n", "claimdir").want(t, exitFailed, "there is no pod of claimdir")
	a.pod("claimdir", "b")
	r := a.kubectl("recover", "--readdress", "-n", "claimdir")
	if r.want(t, exitDone); len(a.calls) != 1 || a.calls[0].pod != "claimdir/b" || r.stderr != "" {
		t.Errorf("%+v, %d calls", r, len(a.calls))
	}
}
