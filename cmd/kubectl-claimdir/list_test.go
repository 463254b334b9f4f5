package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// volume is a PersistentVolume of a provisioner, with the claim NAMESPACE/NAME or none.
func volume(name, claim, provisioner, server, path string, change ...func(*corev1.PersistentVolume)) corev1.PersistentVolume {
	pv := corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{annotationProvisionedBy: provisioner}, CreationTimestamp: metav1.NewTime(time.Now().Add(-3 * 24 * time.Hour))},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete, StorageClassName: "nfs",
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound},
	}
	if server != "" {
		pv.Spec.NFS = &corev1.NFSVolumeSource{Server: server, Path: path}
	}
	if namespace, name, is := strings.Cut(claim, "/"); is {
		pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: namespace, Name: name}
	}
	for _, c := range change {
		c(&pv)
	}
	return pv
}

func policy(policy string) func(*corev1.PersistentVolume) {
	return func(pv *corev1.PersistentVolume) { pv.Annotations[annotationOnDelete] = policy }
}

func newList(t *testing.T) *api {
	a := newAPI(t)
	a.pod("claimdir", "claimdir-a")
	a.volumes = []corev1.PersistentVolume{
		volume("pvc-2", "team/logs", "claimdir/nfs", "nas", "/export/team/logs", policy("delete")),
		volume("pvc-1", "team/data", "claimdir/nfs", "nas", "/export/team-data-pvc-1", policy("archive")),
		volume("pvc-3", "other/data", "old/nfs", "nas", "/export/other-data-pvc-3"),
		volume("pvc-4", "team/kept", "claimdir/nfs", "nas", "/export/kept", policy("retain"), func(pv *corev1.PersistentVolume) {
			pv.Spec.PersistentVolumeReclaimPolicy, pv.Status.Phase = corev1.PersistentVolumeReclaimRetain, corev1.VolumeReleased
		}),
		volume("pvc-5", "team/moved", "claimdir/nfs", "before", "/export/moved", policy("archive")),
		volume("pvc-6", "team/migrated", "csi.example.com", "nas", "/export/migrated", func(pv *corev1.PersistentVolume) {
			pv.Annotations[annotationMigratedTo] = "older/nfs"
		}),
		volume("pvc-7", "team/foreign", "other/nfs", "nas", "/export/foreign"),
		volume("by-hand", "", "", "nas", "/export"),
		volume("claimdir-share", "claimdir/claimdir-share", "", "nas", "/export/"),
	}
	return a
}

func TestList(t *testing.T) {
	a := newList(t)
	r := a.kubectl("list")
	r.want(t, exitDone)
	want := `CLAIM          VOLUME  PATH                  POLICY   SIZE  STATUS    AGE
other/data     pvc-3   other-data-pvc-3      class    5Gi   Bound     3d
team/data      pvc-1   team-data-pvc-1       archive  5Gi   Bound     3d
team/kept      pvc-4   kept                  Retain   5Gi   Released  3d
team/logs      pvc-2   team/logs             delete   5Gi   Bound     3d
team/migrated  pvc-6   migrated              class    5Gi   Bound     3d
team/moved     pvc-5   before:/export/moved  archive  5Gi   Bound     3d
`
	if r.out != want {
		t.Errorf("got:\n%s\nwant:\n%s", r.out, want)
	}
	if len(a.calls) > 0 {
		t.Error("it ran something in a pod")
	}
	for args, names := range map[string]string{
		"list team/data":                       "pvc-1",
		"list other":                           "pvc-3",
		"list --provisioner-name=other/nfs":    "pvc-7",
		"list team --provisioner-name=old/nfs": "",
	} {
		var got []string
		for line := range strings.Lines(a.kubectl(strings.Fields(args)...).out) {
			got = append(got, strings.Fields(line)[1])
		}
		if want := strings.TrimSpace("VOLUME " + names); names != "" && strings.Join(got, " ") != want || names == "" && len(got) > 0 {
			t.Errorf("%s: %q", args, got)
		}
	}
	r = a.kubectl("list", "nobody")
	if r.want(t, exitDone); r.out != "" || r.stderr != "No volumes found of \"nobody\".\n" {
		t.Errorf("%+v", r)
	}
	var rows []row
	if err := json.Unmarshal([]byte(a.kubectl("list", "team/kept", "-o", "json").out), &rows); err != nil || len(rows) != 1 ||
		rows[0].Volume != "pvc-4" || rows[0].Policy != "Retain" || rows[0].Status != "Released" || rows[0].Class != "nfs" {
		t.Errorf("%+v, %v", rows, err)
	}
	if r = a.kubectl("list", "nobody", "-o", "json"); r.out != "[]\n" || r.stderr != "" {
		t.Errorf("%+v", r)
	}
}

func TestListOfSeveralShares(t *testing.T) {
	a := newAPI(t)
	a.pod("claimdir", "claimdir-a", func(pod *corev1.Pod) {
		pod.Spec.Containers[1].VolumeMounts = []corev1.VolumeMount{
			{Name: "fast", MountPath: "/persistentvolumes/fast"}, {Name: "bulk", MountPath: "/persistentvolumes/bulk/"}, {Name: "tmp", MountPath: "/tmp"},
		}
		claim := func(name string) corev1.VolumeSource {
			return corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "share-" + name}}
		}
		pod.Spec.Volumes = []corev1.Volume{{Name: "fast", VolumeSource: claim("fast")}, {Name: "bulk", VolumeSource: claim("bulk")}, {Name: "tmp"}}
	})
	a.volumes = []corev1.PersistentVolume{
		volume("pvc-1", "team/data", "claimdir/nfs", "nas", "/fast/a/b"),
		volume("pvc-2", "team/logs", "claimdir/nfs", "nas", "/bulk/c"),
		volume("pvc-3", "team/none", "claimdir/nfs", "nas", "/fast2/c"),
		volume("x", "claimdir/share-fast", "", "nas", "/fast"),
		volume("y", "claimdir/share-bulk", "", "nas", "/bulk"),
	}
	want := `CLAIM      VOLUME  SHARE  PATH          POLICY  SIZE  STATUS  AGE
team/data  pvc-1   fast   a/b           class   5Gi   Bound   3d
team/logs  pvc-2   bulk   c             class   5Gi   Bound   3d
team/none  pvc-3   -      nas:/fast2/c  class   5Gi   Bound   3d
`
	if r := a.kubectl("list"); r.out != want {
		t.Errorf("%+v", r)
	}
}

// A user who may read PersistentVolumes and no pods says whose volumes are meant.
func TestListWithoutTheRightToPods(t *testing.T) {
	a := newList(t)
	a.refuse = []string{"/api/v1/pods", "/api/v1/namespaces/mine/pods"}
	a.kubectl("list").want(t, exitFailed, "find claimdir's pod: you may not do that; or give claimdir's names with --provisioner-name")
	a.kubectl("list", "--provisioner-name=claimdir/nfs").want(t, exitDone, "nas:/export/team-data-pvc-1")
	a.refuse = []string{"/api/v1/persistentvolumes"}
	a.kubectl("list").want(t, exitFailed, "list the PersistentVolumes: you may not do that")
}

// What somebody wrote into a path does nothing to the terminal.
func TestListShowsNoControlCharacters(t *testing.T) {
	a := newList(t)
	a.volumes = []corev1.PersistentVolume{volume("pvc-1", "team/data", "claimdir/nfs", "nas", "/x/\x1b[31m\nred")}
	if r := a.kubectl("list"); !strings.Contains(r.out, "nas:/x/?[31m?red") {
		t.Errorf("%q", r.out)
	}
}
