package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

const doctored = "example.com/nfs"

// sick is a cluster with a bad class and a volume of another server.
func sick() *fake.Clientset {
	return fake.NewClientset(
		&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "here"}},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "bad"}, Provisioner: doctored, Parameters: map[string]string{"bogus": "x"}},
		&v1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: "pvc-1", Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": doctored, "claimdir/path": "a", "claimdir/on-delete": "delete"}},
			Spec:       v1.PersistentVolumeSpec{PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "old", Path: "/export/a"}}},
		},
	)
}

// refuse is a reactor that answers as an API server does whose RBAC does not allow the call.
func refuse(clienttesting.Action) (bool, runtime.Object, error) {
	return true, nil, errors.New("forbidden")
}

// TestExamine: whatever cannot be looked at is told, and the rest is looked at.
func TestExamine(t *testing.T) {
	prepared := func(t *testing.T, dir string) {
		s, err := share.Open(dir)
		if err == nil {
			_, err = ledger.Open(s, "id")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	forbidden := func(action clienttesting.Action) (bool, runtime.Object, error) {
		return action.GetResource().Resource == "storageclasses", nil, errors.New("classes are forbidden")
	}
	for name, tt := range map[string]struct {
		prepare  func(t *testing.T, dir string)
		client   func(*fake.Clientset)
		options  func(*options)
		want     []string // kind and object
		says     string   // in a problem, or in what is left out
		wantLeft bool
	}{
		"everything can be looked at": {prepare: prepared, want: []string{"class bad", "volume pvc-1"}},
		"classes cannot be listed": {prepare: prepared, client: func(c *fake.Clientset) { c.PrependReactor("list", "*", forbidden) },
			want: []string{"access StorageClasses", "volume pvc-1"}, says: "classes are forbidden"},
		"claimdir never ran there": {want: []string{"access DIR", "class bad", "volume pvc-1"}, says: "is the right share mounted there?", wantLeft: true},
		"a newer claimdir ran there": {prepare: func(t *testing.T, dir string) {
			prepared(t, dir)
			if err := os.WriteFile(dir+"/.claimdir/share.json", []byte(`{"layout": 3, "id": "x"}`), 0o600); err != nil {
				t.Fatal(err)
			}
		}, want: []string{"access DIR", "class bad", "volume pvc-1"}, says: "run a newer one", wantLeft: true},
		"the mount is a file": {options: func(o *options) { o.mountPath += "/file" }, prepare: func(t *testing.T, dir string) {
			if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, want: []string{"access DIR/file", "class bad", "volume pvc-1"}, says: "is not a directory", wantLeft: true},
		"no share is mounted": {options: func(o *options) { o.mountPath += "/none"; o.nfsPath = "" },
			want: []string{"class bad"}, says: "kubectl -n claimdir exec deploy/claimdir -- /claimdir doctor", wantLeft: true},
		"a directory, and nothing says what it is": {options: func(o *options) { o.nfsServer = "" },
			want: []string{"class bad"}, says: "no share is mounted at DIR", wantLeft: true},
		"no share is mounted, but known": {options: func(o *options) { o.mountPath += "/none" },
			want: []string{"class bad", "volume pvc-1"}, says: "no share is mounted at DIR/none", wantLeft: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir, client := t.TempDir(), sick()
			o := options{provisionerName: doctored, mountPath: dir, nfsServer: "nas", nfsPath: "/export"}
			if tt.prepare != nil {
				tt.prepare(t, dir)
			}
			if tt.client != nil {
				tt.client(client)
			}
			if tt.options != nil {
				tt.options(&o)
			}
			report, err := examine(t.Context(), o, client)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			said := strings.Join(report.NotChecked, "\n")
			for _, f := range report.Findings {
				got = append(got, strings.ReplaceAll(f.Kind+" "+f.Object, dir, "DIR"))
				said += "\n" + f.Problem
			}
			if !slices.Equal(got, tt.want) || len(report.NotChecked) > 0 != tt.wantLeft || !strings.Contains(strings.ReplaceAll(said, dir, "DIR"), tt.says) {
				t.Errorf("found %q, want %q; it says %s", got, tt.want, said)
			}
		})
	}
}

func TestExamineWithoutVolumesFails(t *testing.T) {
	client := sick()
	client.PrependReactor("list", "persistentvolumes", refuse)
	if _, err := examine(t.Context(), options{mountPath: t.TempDir() + "/none"}, client); err == nil || !strings.Contains(err.Error(), "list volumes: forbidden") {
		t.Error(err)
	}
}

func TestConfirmEndsWithTheProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := confirm(ctx, options{}, sick(), doctor.Report{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
