package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"claimdir/provisioner/cluster/pvs"
)

// ofClaimdir is a bound volume that claimdir made.
func ofClaimdir(name, path string) *v1.PersistentVolume {
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: "uid-1", Finalizers: []string{"kubernetes.io/pv-protection", pvs.Finalizer},
			Annotations: map[string]string{pvs.AnnotationProvisionedBy: doctored, "claimdir/path": "a", "claimdir/on-delete": "archive"},
		},
		Spec: v1.PersistentVolumeSpec{
			StorageClassName: "nfs", PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nas", Path: path}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	}
}

func TestHandback(t *testing.T) {
	forbid := func(verb, resource string) func(*fake.Clientset) {
		return func(c *fake.Clientset) {
			c.PrependReactor(verb, resource, refuse)
		}
	}
	// renewing is a leader that renews its lease between any two looks at it.
	renewing := func(c *fake.Clientset) {
		renewals := 0
		c.PrependReactor("get", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			renewals++
			return true, renewed(leaseOf("one", doctored, "pod-1"), renewals), nil
		})
	}
	killed := func(c *fake.Clientset) {
		c.PrependReactor("get", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, renewed(leaseOf("one", doctored, "pod-1"), 1), nil
		})
	}
	// beginning is one that begins to lead while the question waits for its answer.
	beginning := func(c *fake.Clientset) {
		looks := 0
		c.PrependReactor("get", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			if looks++; looks == 1 {
				return true, leaseOf("one", doctored, ""), nil
			}
			return true, renewed(leaseOf("one", doctored, "pod-1"), looks), nil
		})
	}
	again := func(c *fake.Clientset) { // a claimdir without election runs
		c.PrependReactor("patch", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, nil })
	}
	for name, tt := range map[string]struct {
		client  func(*fake.Clientset)
		answer  string
		yes     bool
		off     bool // claimdir's marks are off then
		wantErr string
		want    []string
	}{
		"yes":                {answer: "y\n", off: true, want: []string{"pvc-1", "ON RELEASE THERE", "Take claimdir's finalizer and annotations off 1 PersistentVolume? [y/N]", "Handed back 1 of 1 volume."}, wantErr: "left 1 volume"},
		"not asked":          {yes: true, off: true, want: []string{"pvc-1", "Handed back 1 of 1"}, wantErr: "do not start the other provisioner"},
		"no":                 {answer: "n\n", want: []string{"Nothing was changed."}},
		"no terminal":        {want: []string{"pvc-1", "pvc-far is left: it is not on nas:/export"}, wantErr: "nothing was changed: stdin is not a terminal"},
		"one leads":          {client: renewing, yes: true, wantErr: "a claimdir leads (pod-1, by lease one/claimdir-example-com-nfs-"},
		"one was killed":     {client: killed, yes: true, off: true, want: []string{"Handed back 1 of 1"}, wantErr: "left 1 volume"},
		"one begins to lead": {client: beginning, answer: "y\n", wantErr: "a claimdir leads (pod-1"},
		"nobody can tell":    {client: forbid("get", "leases"), yes: true, wantErr: "check that no claimdir leads: "},
		"no volumes":         {client: forbid("list", "persistentvolumes"), yes: true, wantErr: "list volumes: "},
		"no classes":         {client: forbid("list", "storageclasses"), yes: true, wantErr: "list classes: "},
		"changed meanwhile":  {client: forbid("patch", "persistentvolumes"), yes: true, want: []string{"pvc-1: forbidden", "Handed back 0 of 1"}, wantErr: "could not change 1 volume: run it again"},
		"taken up again":     {client: again, yes: true, wantErr: "pvc-1 has claimdir's finalizer again"},
	} {
		t.Run(name, func(t *testing.T) {
			far := ofClaimdir("pvc-far", "/elsewhere/a")
			far.UID = "uid-far"
			client := fake.NewClientset(ofClaimdir("pvc-1", "/export/a"), far, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "nfs"}, Provisioner: doctored})
			if tt.client != nil {
				tt.client(client)
			}
			var out bytes.Buffer
			o := handbackOptions{options: options{provisionerName: doctored, podNamespace: "one", nfsServer: "nas", nfsPath: "/export/"}, yes: tt.yes}
			err := handBack(t.Context(), o, client, streams{in: strings.NewReader(tt.answer), terminal: tt.answer != "", out: &out, err: &out})
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %v, want %q", err, tt.wantErr)
			}
			holds(t, out.String(), tt.want...)
			for _, name := range []string{"pvc-1", "pvc-far"} {
				pv, err := client.Tracker().Get(v1.SchemeGroupVersion.WithResource("persistentvolumes"), "", name)
				if err != nil {
					t.Fatal(err)
				}
				isMarked(t, pv, !tt.off || name == "pvc-far")
			}
		})
	}
}

func renewed(l *coordinationv1.Lease, times int) *coordinationv1.Lease {
	l.Spec.LeaseDurationSeconds = new(int32(1))
	l.ResourceVersion = strings.Repeat("1", times)
	return l
}

func isMarked(t *testing.T, object runtime.Object, want bool) {
	t.Helper()
	pv, ok := object.(*v1.PersistentVolume)
	if !ok {
		t.Fatalf("%T", object)
	}
	finalizers, annotations := 1, 1
	if want {
		finalizers, annotations = 2, 3
	}
	if pv.Annotations[pvs.AnnotationProvisionedBy] != doctored || pv.Finalizers[0] != "kubernetes.io/pv-protection" || len(pv.Finalizers) != finalizers || len(pv.Annotations) != annotations {
		t.Errorf("%s: finalizers %q, annotations %q", pv.Name, pv.Finalizers, pv.Annotations)
	}
}

func TestHandbackOfNothing(t *testing.T) {
	var out bytes.Buffer
	o := handbackOptions{options: options{provisionerName: doctored, nfsServer: "nas", nfsPath: "/export"}}
	if err := handBack(t.Context(), o, fake.NewClientset(), streams{out: io.Discard, err: &out}); err != nil || out.String() != "No volumes to hand back.\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestHandbackEndsWithTheProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := checkNobodyLeads(ctx, fake.NewClientset(leaseOf("one", doctored, "pod")), options{provisionerName: doctored})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestHandbackNamesEveryMistake(t *testing.T) {
	err := run(t.Context(), []string{"handback", "more", "--nfs-path=export"}, noEnv, silent)
	if err == nil {
		t.Fatal("accepted")
	}
	holds(t, err.Error(), `unexpected argument "more"`, "--provisioner-name (PROVISIONER_NAME) is required", "--nfs-server (NFS_SERVER)", `--nfs-path (NFS_PATH) "export": must begin with a slash`)
}
