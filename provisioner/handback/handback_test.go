package handback

import (
	"bytes"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/share"
)

const (
	ours      = "claimdir/nfs"
	finalizer = "external-provisioner.volume.kubernetes.io/finalizer"
)

// made is a bound volume that claimdir made with the policy archive, of the class "archives".
func made(change ...func(*v1.PersistentVolume)) v1.PersistentVolume {
	pv := v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: "pvc-1", UID: "uid", ResourceVersion: "7", Finalizers: []string{"kubernetes.io/pv-protection", finalizer},
			Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": ours, "claimdir/path": "a", "claimdir/on-delete": "archive"},
		},
		Spec: v1.PersistentVolumeSpec{
			ClaimRef:                      &v1.ObjectReference{Namespace: "team", Name: "data"},
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
			StorageClassName:              "archives",
			PersistentVolumeSource:        v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nas", Path: "/export/a"}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	}
	for _, c := range change {
		c(&pv)
	}
	return pv
}

func classes() (all []storagev1.StorageClass) {
	for name, parameters := range map[string]map[string]string{
		"archives":     nil,
		"archives too": {"onDelete": "archive"},
		"retains":      {"onDelete": "retain"},
		"deletes":      {"onDelete": "delete"},
		"both":         {"onDelete": "archive", "archiveOnDelete": "false"},
		"upper case":   {"onDelete": "Retain", "archiveOnDelete": "false"},
		"bad":          {"archiveOnDelete": "perhaps"},
	} {
		all = append(all, storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: ours, Parameters: parameters})
	}
	return all
}

func TestChoose(t *testing.T) {
	annotated := func(key, value string) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) { pv.Annotations[key] = value }
	}
	without := func(keys ...string) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) {
			for _, key := range keys {
				delete(pv.Annotations, key)
			}
		}
	}
	ofClass := func(name string) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) { pv.Spec.StorageClassName = name }
	}
	phase := func(phase v1.PersistentVolumePhase) func(*v1.PersistentVolume) {
		return func(pv *v1.PersistentVolume) { pv.Status.Phase = phase }
	}
	retained := func(pv *v1.PersistentVolume) {
		pv.Spec.PersistentVolumeReclaimPolicy = v1.PersistentVolumeReclaimRetain
	}
	peers := without("claimdir/path", "claimdir/on-delete")
	for name, tt := range map[string]struct {
		change        []func(*v1.PersistentVolume)
		policy, there string // of the volume; empty: it is not chosen
		left          string // part of it
	}{
		"archived by both":             {nil, "archive", "archive", ""},
		"archived by both, spelled":    {[]func(*v1.PersistentVolume){ofClass("archives too")}, "archive", "archive", ""},
		"retained there":               {[]func(*v1.PersistentVolume){ofClass("retains")}, "archive", "retain", ""},
		"deleted there":                {[]func(*v1.PersistentVolume){ofClass("deletes")}, "archive", "delete", `would delete its directory, by its class "deletes": set its reclaim policy to Retain; or, if the directory may be deleted: kubectl annotate --overwrite pv pvc-1 claimdir/on-delete=delete`},
		"deleted there, by both":       {[]func(*v1.PersistentVolume){ofClass("both")}, "archive", "delete", "would delete"},
		"deleted there, by upper case": {[]func(*v1.PersistentVolume){ofClass("upper case"), annotated("claimdir/on-delete", "retain")}, "retain", "delete", "would delete"},
		"deleted by both":              {[]func(*v1.PersistentVolume){ofClass("deletes"), annotated("claimdir/on-delete", "delete")}, "delete", "delete", ""},
		"an unclear policy":            {[]func(*v1.PersistentVolume){ofClass("deletes"), annotated("claimdir/on-delete", "shred")}, "unclear", "delete", "would delete"},
		"no policy":                    {[]func(*v1.PersistentVolume){ofClass("deletes"), without("claimdir/on-delete")}, "unclear", "delete", "would delete"},
		"kept by Kubernetes":           {[]func(*v1.PersistentVolume){ofClass("deletes"), retained}, "nothing", "nothing", ""},
		"no class":                     {[]func(*v1.PersistentVolume){ofClass("gone")}, "archive", "nothing: no class", ""},
		"a bad class":                  {[]func(*v1.PersistentVolume){ofClass("bad")}, "archive", "nothing: bad class", ""},
		"the peer's":                   {[]func(*v1.PersistentVolume){peers, ofClass("deletes")}, "delete", "delete", ""},
		"the peer's, by both":          {[]func(*v1.PersistentVolume){peers, ofClass("both")}, "archive", "delete", "would delete"},
		"the peer's, without class":    {[]func(*v1.PersistentVolume){peers, ofClass("gone")}, "archive", "nothing: no class", ""},
		"the peer's, annotated":        {[]func(*v1.PersistentVolume){without("claimdir/path"), annotated("claimdir/on-delete", "retain"), ofClass("deletes")}, "retain", "delete", "would delete"},
		"only annotated":               {[]func(*v1.PersistentVolume){func(pv *v1.PersistentVolume) { pv.Finalizers = nil }}, "archive", "archive", ""},
		"released":                     {[]func(*v1.PersistentVolume){phase(v1.VolumeReleased)}, "archive", "archive", "it is to be released"},
		"failed":                       {[]func(*v1.PersistentVolume){phase(v1.VolumeFailed)}, "archive", "archive", "it is to be released"},
		"released, kept":               {[]func(*v1.PersistentVolume){phase(v1.VolumeReleased), retained}, "nothing", "nothing", ""},
		"being deleted":                {[]func(*v1.PersistentVolume){func(pv *v1.PersistentVolume) { pv.DeletionTimestamp = new(metav1.Now()) }}, "archive", "archive", "it is being deleted"},
		"on another server": {[]func(*v1.PersistentVolume){func(pv *v1.PersistentVolume) { pv.Spec.NFS.Server = "nas2" }}, "archive", "archive",
			"it is not on nas:/export, and the other provisioner takes every volume with its name"},
		"on another path": {[]func(*v1.PersistentVolume){func(pv *v1.PersistentVolume) { pv.Spec.NFS.Path = "/export2/a" }}, "archive", "archive", "it is not on nas:/export"},
		"nothing of ours": {[]func(*v1.PersistentVolume){peers, func(pv *v1.PersistentVolume) { pv.Finalizers = pv.Finalizers[:1] }}, "", "", ""},
		"another's":       {[]func(*v1.PersistentVolume){annotated("pv.kubernetes.io/provisioned-by", "other.example.com/nfs")}, "", "", ""},
		"by hand":         {[]func(*v1.PersistentVolume){without("pv.kubernetes.io/provisioned-by")}, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			chosen := Choose([]v1.PersistentVolume{made(tt.change...)}, classes(), []string{ours}, share.Source{Server: "nas", Path: "/export"})
			if tt.policy == "" {
				if len(chosen) > 0 {
					t.Errorf("chosen: %+v", chosen)
				}
				return
			}
			if len(chosen) != 1 {
				t.Fatal(chosen)
			}
			v := chosen[0]
			if v.Policy != tt.policy || v.There != tt.there || v.Left == "" != (tt.left == "") || !strings.Contains(v.Left, tt.left) {
				t.Errorf("got %q, %q, left because %q", v.Policy, v.There, v.Left)
			}
		})
	}
}

// The patch takes off what is claimdir's, and only from the very object that was judged.
func TestPatch(t *testing.T) {
	for want, change := range map[string]func(*v1.PersistentVolume){
		`{"metadata":{"annotations":{"claimdir/on-delete":null,"claimdir/path":null},"finalizers":["kubernetes.io/pv-protection"],"resourceVersion":"7","uid":"uid"}}`: func(*v1.PersistentVolume) {},
		`{"metadata":{"annotations":{"claimdir/on-delete":null,"claimdir/path":null},"finalizers":[],"resourceVersion":"7","uid":"uid"}}`:                              func(pv *v1.PersistentVolume) { pv.Finalizers = pv.Finalizers[1:] },
		`{"metadata":{"annotations":{"claimdir/on-delete":null,"claimdir/path":null},"resourceVersion":"7","uid":"uid"}}`:                                              func(pv *v1.PersistentVolume) { pv.Finalizers = pv.Finalizers[:1] },
		`{"metadata":{"annotations":{"claimdir/on-delete":null,"claimdir/path":null},"finalizers":["x/y","z/external-provisioner"],"resourceVersion":"7","uid":"uid"}}`: func(pv *v1.PersistentVolume) {
			pv.Finalizers = []string{"x/y", finalizer, "z/external-provisioner"}
		},
	} {
		pv := made(change)
		got, err := Volume{PV: &pv}.Patch()
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
}

func TestTheTableKeepsTheTerminalInOrder(t *testing.T) {
	pv := made(func(pv *v1.PersistentVolume) { pv.Annotations["pv.kubernetes.io/provisioned-by"] = "a\x1b[2J\nb" })
	var out bytes.Buffer
	if err := WriteTable(&out, []Volume{{PV: &pv, Policy: "archive", There: "delete"}}); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(out.String(), "\n"); len(lines) != 3 || strings.ContainsRune(out.String(), '\x1b') || !strings.Contains(lines[1], "pvc-1") || !strings.Contains(lines[1], "team/data") {
		t.Errorf("%q", out.String())
	}
	out.Reset()
	if err := WriteTable(&out, nil); err != nil || out.Len() > 0 {
		t.Errorf("%q, %v", out.String(), err)
	}
}
