package recovery

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

var (
	oldAddress = share.Source{Server: "nas", Path: "/export"}
	newAddress = share.Source{Server: "nas2", Path: "/srv/nfs"}
)

// volumeOf returns the PersistentVolume of a volume of ours at the earlier address.
func volumeOf(name, path string, change ...func(*v1.PersistentVolume)) v1.PersistentVolume {
	pv := v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID("uid-of-" + name), ResourceVersion: "17", Labels: map[string]string{"team": "a"},
			Finalizers: []string{"kubernetes.io/pv-protection", "external-provisioner.volume.kubernetes.io/finalizer"},
			Annotations: map[string]string{
				"pv.kubernetes.io/provisioned-by": "example.com/nfs", "claimdir/path": path, "claimdir/on-delete": "retain",
				"kubectl.kubernetes.io/last-applied-configuration": "{}",
			},
		},
		Spec: v1.PersistentVolumeSpec{
			AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteMany}, Capacity: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")},
			ClaimRef:                      &v1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "a", Name: name, UID: "uid-of-claim", ResourceVersion: "3"},
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete, StorageClassName: "nfs", MountOptions: []string{"hard"},
			PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: oldAddress.Server, Path: oldAddress.Path + "/" + path}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	}
	for _, c := range change {
		c(&pv)
	}
	return pv
}

func ofHere(r ledger.Record) ledger.Record {
	r.Cluster = "here"
	return r
}

func TestTheScriptIsTheGoldenFile(t *testing.T) {
	s := share1{records: []ledger.Record{ofHere(record("a/data", "pvc-1", "a/data")), ofHere(record("a/odd", "pvc-2", "it's \"odd\""))}}
	c := Cluster{ID: "here", Names: []string{"example.com/nfs"}, Served: []share.Source{newAddress}, Volumes: []v1.PersistentVolume{
		volumeOf("pvc-2", "it's \"odd\"", func(pv *v1.PersistentVolume) { pv.Status.Phase = v1.VolumeReleased }), volumeOf("pvc-1", "a/data"),
	}}
	var out bytes.Buffer
	n, leftOut, err := Readdress(&out, []Share{{"", newAddress, s, s}}, c)
	if n != 2 || err != nil || len(leftOut) > 0 {
		t.Fatal(n, leftOut, err)
	}
	const golden = "testdata/readdress.sh"
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || out.String() != string(want) {
		t.Errorf("%v: changed; if that is wanted, run make update:\n%s", err, out.String())
	}
	if c.Volumes[1].Spec.NFS.Server != oldAddress.Server {
		t.Error("it changed the PersistentVolume that it was given")
	}
}

// A tenant chooses the path.
func TestAShellTakesAPathAsOneWord(t *testing.T) {
	for _, path := range []string{"it's", "$(touch x)", "`touch x`", `a"b\c`, "; touch x", "two  blanks", "'", "-n"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s/ "+quote(path)).Output()
		if err != nil || string(out) != path+"/" {
			t.Errorf("%q is %q, %v", path, out, err)
		}
	}
}

// A shell that gets half of the script, because somebody pipes it there and the command dies, does
// nothing at all.
func TestHalfAScriptDoesNothing(t *testing.T) {
	data, err := os.ReadFile("testdata/readdress.sh")
	if err != nil {
		t.Fatal(err)
	}
	run := func(script []byte) (string, error) {
		cmd := exec.CommandContext(t.Context(), "sh")
		cmd.Stdin, cmd.Env = bytes.NewReader(script), []string{"PATH=" + os.Getenv("PATH"), "KUBECTL=echo"}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, _ := run(data); !strings.Contains(out, "pv") {
		t.Errorf("the whole script calls nothing: %s", out)
	}
	for end := range data[:len(data)-len("main\n")] {
		if end%97 != 0 {
			continue
		}
		if out, _ := run(data[:end]); strings.Contains(out, "get pv") || strings.Contains(out, "delete pv") {
			t.Errorf("the first %d bytes did: %s", end, out)
		}
	}
}

func TestWhichVolumesGetANewAddress(t *testing.T) {
	one := ofHere(record("a/data", "pvc-1", "a/data"))
	elsewhere := share.Source{Server: "nas", Path: "/export"}
	for name, tt := range map[string]struct {
		records, second []ledger.Record // of two shares
		missing         string
		pv              v1.PersistentVolume
		served          []share.Source
		want            int
		leftOut         []string // in the errors
	}{
		"one that moved":                    {records: []ledger.Record{one}, pv: volumeOf("pvc-1", "a/data"), want: 1},
		"one that another share serves":     {records: []ledger.Record{one}, pv: volumeOf("pvc-1", "a/data"), served: []share.Source{elsewhere}},
		"one without a record":              {pv: volumeOf("pvc-1", "a/data")},
		"one of another provisioner's name": {records: []ledger.Record{one}, pv: volumeOf("pvc-1", "a/data", func(pv *v1.PersistentVolume) { pv.Annotations["pv.kubernetes.io/provisioned-by"] = "x/y" })},
		"one that was not copied": {
			records: []ledger.Record{one}, pv: volumeOf("pvc-1", "a/data"), missing: "a/data",
			leftOut: []string{`left out path "a/data" of claim a/data (active, volume pvc-1): its directory is missing at the new address, nas2:/srv/nfs; copy it there`},
		},
		"one of which two shares have a record": {
			records: []ledger.Record{one}, second: []ledger.Record{one}, pv: volumeOf("pvc-1", "a/data"),
			leftOut: []string{`share "bulk": left out path "a/data" of claim a/data (active, volume pvc-1): share "fast" has a record of it too`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			fast, bulk := share1{records: tt.records, missing: tt.missing}, share1{records: tt.second}
			third := share.Source{Server: "nas3", Path: "/"}
			c := Cluster{ID: "here", Names: []string{"example.com/nfs"}, Volumes: []v1.PersistentVolume{tt.pv}, Served: append(tt.served, newAddress, third)}
			var out bytes.Buffer
			n, leftOut, err := Readdress(&out, []Share{{"fast", newAddress, fast, fast}, {"bulk", third, bulk, bulk}}, c)
			if err != nil || n != tt.want || strings.Count(out.String(), "\nreaddress 'pvc-1' 'uid-of-pvc-1' 'nas2:/srv/nfs/a/data' 'Delete' <<'END'\n") != tt.want {
				t.Errorf("%d, %v:\n%s", n, err, &out)
			}
			if len(leftOut) != len(tt.leftOut) || slices.ContainsFunc(tt.leftOut, func(want string) bool { return !strings.Contains(leftOut[0].Error(), want) }) {
				t.Errorf("left out %v, want %q", leftOut, tt.leftOut)
			}
		})
	}
}
