package main

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// healthy and standby are what pods serve as metrics; of the others there are many.
const (
	common = `# HELP claimdir_build_info Always 1; the labels give the version.
# TYPE claimdir_build_info gauge
claimdir_build_info{go_version="go1.26.0",version="v1.2.3"} 1
# TYPE claimdir_share_free_bytes gauge
claimdir_share_free_bytes{export="nas:/export",share=""} 5.36870912e+08
# TYPE claimdir_share_size_bytes gauge
claimdir_share_size_bytes{export="nas:/export",share=""} 1.073741824e+09
# TYPE go_gc_duration_seconds summary
go_gc_duration_seconds{quantile="0"} 1e-05
go_gc_duration_seconds_sum 1
go_gc_duration_seconds_count 1
`
	leading = "# TYPE claimdir_leader gauge\nclaimdir_leader 1\n"
	standby = "# TYPE claimdir_leader gauge\nclaimdir_leader 0\n"
	healthy = "# TYPE claimdir_share_ready gauge\nclaimdir_share_ready{export=\"nas:/export\",share=\"\"} 1\n"
	stalled = `# TYPE claimdir_share_ready gauge
claimdir_share_ready{export="nas:/export",share=""} 0
# TYPE claimdir_share_trouble_seconds gauge
claimdir_share_trouble_seconds{export="nas:/export",reason="failing",share=""} 0
claimdir_share_trouble_seconds{export="nas:/export",reason="stalled",share=""} 300.5
`
)

func TestStatus(t *testing.T) {
	a := newAPI(t)
	a.pod("claimdir", "claimdir-a")
	a.pod("claimdir", "claimdir-b", crashing)
	a.pod("claimdir", "claimdir-c")
	a.leads("claimdir", "claimdir-a")
	a.answers["claimdir-a:8080/metrics"] = common + leading + healthy
	a.answers["claimdir-c:8080/metrics"] = common + standby + healthy
	r := a.kubectl("status")
	r.want(t, exitDone)
	want := `NAMESPACE  POD         STATE             READY  LEADS  VERSION  RESTARTS  AGE
claimdir   claimdir-a  Running           yes    yes    v1.2.3   0         90m
claimdir   claimdir-b  CrashLoopBackOff  no     no     unknown  7         90m
claimdir   claimdir-c  Running           yes    no     v1.2.3   0         90m

SHARE  EXPORT       POD         STATE  FREE     SIZE
-      nas:/export  claimdir-a  ready  512.0Mi  1.0Gi
-      nas:/export  claimdir-c  ready  512.0Mi  1.0Gi
`
	if r.out != want || r.stderr != "" {
		t.Errorf("got:\n%s%s\nwant:\n%s", r.out, r.stderr, want)
	}
	if len(a.calls) > 0 {
		t.Error("it ran something in a pod")
	}
	var pods []podState
	if err := json.Unmarshal([]byte(a.kubectl("status", "-o", "json").out), &pods); err != nil || len(pods) != 3 || !*pods[0].Leads || *pods[2].Leads ||
		pods[0].Version != "v1.2.3" || len(pods[0].Shares) != 1 || !pods[0].Shares[0].Ready || *pods[0].Shares[0].Free != 512<<20 || pods[1].Shares != nil {
		t.Errorf("%+v, %v", pods, err)
	}
}

// Each problem is named, and a script notices.
func TestStatusTellsOfProblems(t *testing.T) {
	for name, tt := range map[string]struct {
		setUp func(a *api)
		want  []string // the first of them is in the table
	}{
		"a share that does not answer": {func(a *api) {
			a.leads("claimdir", "claimdir-a")
			a.answers["claimdir-a:8080/metrics"] = common + leading + stalled
			a.answers["claimdir-a:8080/sharez"] = "503 the share has not answered since 2026-11-27 03:00:00 UTC: check the NFS server\n"
		}, []string{"stalled for 5m", "pod claimdir/claimdir-a: the share has not answered since 2026-11-27 03:00:00 UTC: check the NFS server\n", "status found 1 problem\n"}},
		"a share that does not answer, nor the pod": {func(a *api) {
			a.leads("claimdir", "claimdir-a")
			a.answers["claimdir-a:8080/metrics"] = common + leading + stalled
		}, []string{"stalled for 5m", "pod claimdir/claimdir-a: shares that are not ready: 1", "status found 1 problem\n"}},
		"no leader": {func(a *api) { a.answers["claimdir-a:8080/metrics"] = common + standby + healthy },
			[]string{"yes    no     v1.2.3", "no pod of claimdir in namespace claimdir (provisioner claimdir/nfs) leads", "status found 1 problem\n"}},
		"a pod that may not be asked": {func(a *api) {
			a.leads("claimdir", "claimdir-a")
			a.refuse = []string{"/api/v1/namespaces/claimdir/pods/claimdir-a:8080/proxy/metrics"}
		}, []string{"yes    yes    unknown", "pod claimdir/claimdir-a: read its metrics: ", "status found 1 problem\n"}},
		"a pod that talks nonsense": {func(a *api) {
			a.leads("claimdir", "claimdir-a")
			a.answers["claimdir-a:8080/metrics"] = "<html>\n"
		}, []string{"unknown", "pod claimdir/claimdir-a: read its metrics: ", "status found 1 problem\n"}},
		"neither leases nor pods may be asked": {func(a *api) {
			a.refuse = []string{"/api/v1/namespaces/claimdir/pods/claimdir-a:8080/proxy/metrics", "/apis/coordination.k8s.io/v1/namespaces/claimdir/leases"}
		}, []string{"yes    unknown  unknown", "find the leader: you may not do that", "status found 2 problems\n"}},
		"no pod that is ready": {func(a *api) { a.pods = nil; a.pod("claimdir", "claimdir-a", crashing) },
			[]string{"CrashLoopBackOff", "no pod of claimdir in namespace claimdir (provisioner claimdir/nfs) is ready: claimdir-a is CrashLoopBackOff", "status found 1 problem\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			a.pod("claimdir", "claimdir-a")
			tt.setUp(a)
			r := a.kubectl("status")
			if r.want(t, exitFailed, tt.want...); !strings.Contains(r.out, tt.want[0]) {
				t.Error("the table does not say it")
			}
		})
	}
}

// Where leases may not be read, the pods say who leads; and their port may be another one.
func TestStatusWithoutTheRightToLeases(t *testing.T) {
	a := newAPI(t)
	a.pod("claimdir", "claimdir-a", func(pod *corev1.Pod) { pod.Spec.Containers[1].Ports[0].ContainerPort = 9090 })
	a.answers["claimdir-a:9090/metrics"] = common + leading + healthy
	a.refuse = []string{"/apis/coordination.k8s.io/v1/namespaces/claimdir/leases"}
	a.kubectl("status").want(t, exitDone, "yes    yes    v1.2.3")
}

// All claimdirs of a cluster are shown.
func TestStatusOfSeveral(t *testing.T) {
	a := newAPI(t)
	for _, namespace := range []string{"claimdir", "storage"} {
		a.pod(namespace, namespace+"-a")
		a.leads(namespace, namespace+"-a")
		a.answers[namespace+"-a:8080/metrics"] = common + leading + healthy
	}
	r := a.kubectl("status")
	if r.want(t, exitDone, "claimdir   claimdir-a", "storage    storage-a"); strings.Count(r.out, "ready") != 2 {
		t.Error(r.out)
	}
	if r = a.kubectl("status", "-n", "storage"); strings.Contains(r.out, "claimdir-a") {
		t.Error(r.out)
	}
}

func TestAmount(t *testing.T) {
	for bytes, want := range map[int64]string{0: "0", 1023: "1023", 1024: "1.0Ki", 1536 << 20: "1.5Gi", 1 << 62: "4.0Ei"} {
		if got := amount(&bytes); got != want {
			t.Errorf("%d: %s, want %s", bytes, got, want)
		}
	}
	if amount(nil) != "-" {
		t.Error("what is not known is a number")
	}
}
