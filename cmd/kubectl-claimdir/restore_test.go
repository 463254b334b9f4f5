package main

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

const manifest = `---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  annotations:
    claimdir/restore: pvc-1
  name: data2
  namespace: team
spec:
  accessModes:
  - ReadWriteMany
  resources:
    requests:
      storage: 1Gi
  storageClassName: nfs
`

// newRestore is an API server whose pod prints the manifest.
func newRestore(t *testing.T, manifest string) *api {
	a := newAPI(t)
	a.pod("claimdir", "claimdir-a")
	a.program = func(c *call) int {
		if got := strings.Join(c.args, " "); got != "/claimdir archive restore --to=data2 --volume=pvc-1 -- team/data" {
			t.Errorf("it ran %s", got)
		}
		fmt.Fprint(c.stdout, manifest)
		fmt.Fprint(c.stderr, "claimdir: a remark\n")
		return 0
	}
	return a
}

var restoreArgs = []string{"archive", "restore", "team/data", "--to=data2", "--volume", "pvc-1"}

func TestRestoreCreatesTheClaim(t *testing.T) {
	a := newRestore(t, manifest)
	r := a.kubectl(append(restoreArgs, "--as=jane")...)
	if r.want(t, exitDone); r.out != "persistentvolumeclaim/data2 created\n" || r.stderr != "Using pod claimdir/claimdir-a\nclaimdir: a remark\n" {
		t.Errorf("%+v", r)
	}
	claim := a.claims["team/data2"]
	if claim == nil || claim.Annotations["claimdir/restore"] != "pvc-1" || *claim.Spec.StorageClassName != "nfs" || claim.Spec.Resources.Requests.Storage().String() != "1Gi" {
		t.Fatalf("%+v", a.claims)
	}
	if got := a.users[len(a.users)-1]; got != "jane" {
		t.Errorf("%q created it", got)
	}
	a.kubectl(restoreArgs...).want(t, exitFailed, "create claim team/data2: it exists")
	a.refuse = []string{"/api/v1/namespaces/team/persistentvolumeclaims"}
	a.kubectl(restoreArgs...).want(t, exitFailed, "create claim team/data2: you may not do that")
}

func TestRestoreShowsTheClaim(t *testing.T) {
	for args, want := range map[string]string{
		"--dry-run=client -o yaml": strings.TrimPrefix(manifest, "---\n"),
		"--dry-run -o name":        "persistentvolumeclaim/data2\n",
		"--dry-run":                "persistentvolumeclaim/data2 created (dry run)\n",
		"--dry-run=server":         "persistentvolumeclaim/data2 created (server dry run)\n",
		"--dry-run=client -o json": `"claimdir/restore": "pvc-1"`,
	} {
		a := newRestore(t, manifest)
		r := a.kubectl(append(restoreArgs, strings.Fields(args)...)...)
		if r.want(t, exitDone, want); len(a.claims) > 0 || !strings.HasSuffix(args, "json") && r.out != want {
			t.Errorf("%s: %+v, claims %v", args, r, a.claims)
		}
	}
}

// A pod that somebody has taken over makes nobody create something else.
func TestRestoreCreatesOnlyWhatWasAskedFor(t *testing.T) {
	for name, tt := range map[string]struct{ manifest, want string }{
		"another namespace": {strings.Replace(manifest, "namespace: team", "namespace: kube-system", 1), "claimdir printed PersistentVolumeClaim data2 of namespace kube-system, and not claim team/data2"},
		"another name":      {strings.Replace(manifest, "name: data2", "name: data3", 1), "and not claim team/data2"},
		"another kind":      {strings.Replace(manifest, "kind: PersistentVolumeClaim", "kind: Pod", 1), "claimdir printed Pod data2"},
		"a field too many":  {manifest + "more: true\n", `unknown field "more"`},
		"another archive":   {strings.Replace(manifest, "restore: pvc-1", "restore: pvc-2", 1), `the archive of volume "pvc-2", and not that of "pvc-1"`},
		"no archive":        {strings.Replace(manifest, "claimdir/restore: pvc-1", "other: pvc-1", 1), `the archive of volume "", and not that of "pvc-1"`},
		"a volume":          {manifest + "  volumeName: pv-other\n", `more than one that restores an archive: {"metadata":{},"spec":{"resources":{},"volumeName":"pv-other"},"status":{}}`},
		"a dataSource":      {manifest + "  dataSource: {kind: PersistentVolumeClaim, name: other}\n", `"dataSource":{"apiGroup":null,"kind":"PersistentVolumeClaim","name":"other"}`},
		"a dataSourceRef":   {manifest + "  dataSourceRef: {kind: PersistentVolumeClaim, name: other}\n", `"dataSourceRef":{"apiGroup":null,`},
		"a selector":        {manifest + "  selector: {matchLabels: {a: b}}\n", `"selector":{"matchLabels":{"a":"b"}}`},
		"a limit":           {strings.Replace(manifest, "    requests:\n", "    limits: {storage: 1Gi}\n    requests:\n", 1), `"resources":{"limits":{"storage":"1Gi"}}`},
		"a finalizer":       {strings.Replace(manifest, "metadata:\n", "metadata:\n  finalizers: [a/b]\n", 1), `"metadata":{"finalizers":["a/b"]}`},
		"an owner":          {strings.Replace(manifest, "metadata:\n", "metadata:\n  ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: u}]\n", 1), `"ownerReferences":[{`},
		"a label":           {strings.Replace(manifest, "metadata:\n", "metadata:\n  labels: {a: b}\n", 1), `"labels":{"a":"b"}`},
		"an annotation":     {strings.Replace(manifest, "  annotations:\n", "  annotations:\n    pv.kubernetes.io/bind-completed: \"yes\"\n", 1), `"annotations":{"pv.kubernetes.io/bind-completed":"yes"}`},
		"a status":          {manifest + "status: {phase: Bound}\n", `"status":{"phase":"Bound"}`},
		"nothing":           {"", "claimdir printed   of namespace , and not claim team/data2"},
	} {
		a := newRestore(t, tt.manifest)
		r := a.kubectl(restoreArgs...)
		if r.want(t, exitFailed, tt.want, "pod claimdir/claimdir-a: ", "; nothing was created"); len(a.claims) > 0 {
			t.Errorf("%s: created %v", name, a.claims)
		}
	}
}

func TestRestoreOfNothing(t *testing.T) {
	a := newRestore(t, "")
	a.program = func(c *call) int {
		fmt.Fprint(c.stderr, "claimdir: there is no archive of claim team/data\n")
		return 1
	}
	r := a.kubectl(restoreArgs...)
	if r.want(t, exitFailed); r.out != "" || r.stderr != "Using pod claimdir/claimdir-a\nclaimdir: there is no archive of claim team/data\n" || len(a.claims) > 0 {
		t.Errorf("%+v", r)
	}
}

func TestRestoreWaits(t *testing.T) {
	for name, tt := range map[string]struct {
		then func(claim *corev1.PersistentVolumeClaim)
		args string
		code int
		want string
	}{
		"until it is Bound": {func(claim *corev1.PersistentVolumeClaim) {
			if claim.Labels != nil { // the second look
				claim.Status.Phase, claim.Spec.VolumeName = corev1.ClaimBound, "pvc-9"
			}
			claim.Labels = map[string]string{}
		}, "", exitDone, "persistentvolumeclaim/data2 is bound to pvc-9\n"},
		"not for one that is deleted":  {func(claim *corev1.PersistentVolumeClaim) { claim.UID = "" }, "", exitFailed, "claim team/data2 was deleted before it was Bound"},
		"not for one that replaced it": {func(claim *corev1.PersistentVolumeClaim) { claim.UID = "u-2" }, "", exitFailed, "claim team/data2 was deleted before it was Bound"},
		"no longer than it may": {func(*corev1.PersistentVolumeClaim) {}, "--timeout=10ms", exitFailed,
			"claim team/data2 is not Bound after 10ms; it was created, and its events say why: kubectl -n team describe pvc data2"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newRestore(t, manifest)
			a.onClaim = tt.then
			r := a.kubectl(append(restoreArgs, append(strings.Fields(tt.args), "--wait")...)...)
			if r.want(t, tt.code, tt.want); r.out != "persistentvolumeclaim/data2 created\n" {
				t.Error(r.out)
			}
		})
	}
}
