package cluster

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"claimdir/provisioner/ledger"
)

func TestVolumesArePaged(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("list", "persistentvolumes", func(action clienttesting.Action) (bool, runtime.Object, error) {
		page, name := &v1.PersistentVolumeList{}, "first"
		if options := action.(clienttesting.ListActionImpl).ListOptions; options.Continue == "" {
			page.Continue = "more"
		} else {
			name = "second"
		}
		page.Items = []v1.PersistentVolume{{ObjectMeta: metav1.ObjectMeta{Name: name, ManagedFields: []metav1.ManagedFieldsEntry{{}}}}}
		return true, page, nil
	})
	volumes, err := Live{client}.Volumes(t.Context())
	if err != nil || len(volumes) != 2 || volumes[1].Name != "second" || volumes[1].ManagedFields != nil {
		t.Error(volumes, err)
	}
}

// What is asked of a live read, and the answers to it, about the record of pvc-1.
func TestWhatIsGone(t *testing.T) {
	claim := func(namespace, name, uid string) *v1.PersistentVolumeClaim {
		return &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)}}
	}
	bound := func(pv string) *v1.PersistentVolumeClaim {
		c := claim("team", "data", "uid-1")
		c.Spec.VolumeName = pv
		return c
	}
	begun := func(r *ledger.Record) { r.State = ledger.Creating }
	type answer struct{ gone, forGood, noVolume error }
	for name, tt := range map[string]struct {
		objects []runtime.Object
		change  func(*ledger.Record)
		want    answer
	}{
		"nothing is there":              {},
		"others are there":              {objects: []runtime.Object{claim("other", "data", "uid-1"), claim("team", "data-2", "uid-1"), at("pvc-2", "nas", "/a", ours)}},
		"its claim":                     {objects: []runtime.Object{claim("team", "data", "uid-1")}, want: answer{ErrClaimed, ErrClaimed, nil}},
		"its claim with another volume": {objects: []runtime.Object{bound("pvc-2")}, change: begun, want: answer{nil, ErrClaimed, nil}},
		"its claim with its volume":     {objects: []runtime.Object{bound("pvc-1")}, change: begun, want: answer{ErrClaimed, ErrClaimed, nil}},
		"its claim that waits":          {objects: []runtime.Object{claim("team", "data", "uid-1")}, change: begun, want: answer{ErrClaimed, ErrClaimed, nil}},
		"another volume, once complete": {objects: []runtime.Object{bound("pvc-2")}, want: answer{ErrClaimed, ErrClaimed, nil}},
		"a later claim of that name":    {objects: []runtime.Object{claim("team", "data", "uid-2")}, want: answer{nil, ErrClaimed, nil}},
		"its volume":                    {objects: []runtime.Object{at("pvc-1", "nas", "/a", "x/y")}, want: answer{ErrNeeded, ErrNeeded, ErrNeeded}},
		"a record that names no claim":  {change: func(r *ledger.Record) { r.Claim.UID = "" }, want: answer{ErrNeeded, ErrNeeded, nil}},
		"a record without a claim name": {change: func(r *ledger.Record) { r.Claim.Name = "" }, want: answer{ErrNeeded, ErrNeeded, nil}},
		"a record without a namespace":  {change: func(r *ledger.Record) { r.Claim.Namespace = "" }, want: answer{ErrNeeded, ErrNeeded, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			live := Live{fake.NewClientset(tt.objects...)}
			record := ledger.Record{PV: "pvc-1", Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "uid-1"}}
			if tt.change != nil {
				tt.change(&record)
			}
			for _, c := range []struct {
				name string
				ask  func(context.Context, ledger.Record) error
				want error
			}{{"Gone", live.Gone, tt.want.gone}, {"GoneForGood", live.GoneForGood, tt.want.forGood}, {"NoVolume", live.NoVolume, tt.want.noVolume}} {
				err := c.ask(t.Context(), record)
				if !errors.Is(err, c.want) || err != nil && !errors.Is(err, ErrNeeded) || errors.Is(err, ErrClaimed) != errors.Is(c.want, ErrClaimed) {
					t.Errorf("%s: %v, want %v", c.name, err, c.want)
				}
			}
		})
	}
}

// A proxy between claimdir and the API server can answer "404" on its own.
func TestAProxysNotFoundIsNoAnswer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	live, record := Live{client}, ledger.Record{PV: "pvc-1", Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "uid-1"}}
	for _, ask := range []func(context.Context, ledger.Record) error{live.Gone, live.GoneForGood, live.NoVolume} {
		if err := ask(t.Context(), record); err == nil || errors.Is(err, ErrNeeded) {
			t.Error(err)
		}
	}
}

// A failed read is neither "gone" nor "needed".
func TestAFailedReadIsNoAnswer(t *testing.T) {
	failed := errors.New("etcdserver: request timed out")
	for resource, asks := range map[string]int{"persistentvolumeclaims": 2, "persistentvolumes": 3} {
		client := fake.NewClientset()
		client.PrependReactor("*", resource, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, failed })
		live, record := Live{client}, ledger.Record{PV: "pvc-1", Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "uid-1"}}
		for _, ask := range []func(context.Context, ledger.Record) error{live.Gone, live.GoneForGood, live.NoVolume}[:asks] {
			if err := ask(t.Context(), record); !errors.Is(err, failed) || errors.Is(err, ErrNeeded) {
				t.Errorf("%s: %v", resource, err)
			}
		}
		if _, err := live.Volumes(t.Context()); errors.Is(err, failed) != (resource == "persistentvolumes") {
			t.Errorf("all volumes: %v", err)
		}
	}
}

func TestWhatIsReleased(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1.PersistentVolume) // nil: there is none
		says   string                     // empty: it is released
	}{
		"released":  {func(*v1.PersistentVolume) {}, ""},
		"bound":     {func(pv *v1.PersistentVolume) { pv.Status.Phase = v1.VolumeBound }, "it is Bound"},
		"available": {func(pv *v1.PersistentVolume) { pv.Status.Phase, pv.Spec.ClaimRef = v1.VolumeAvailable, nil }, "it is Available"},
		"kept": {func(pv *v1.PersistentVolume) {
			pv.Spec.PersistentVolumeReclaimPolicy = v1.PersistentVolumeReclaimRetain
		}, "its reclaim policy is Retain"},
		"by another claim":  {func(pv *v1.PersistentVolume) { pv.Spec.ClaimRef.UID = "uid-2" }, "spec.claimRef names another claim"},
		"of no claim":       {func(pv *v1.PersistentVolume) { pv.Spec.ClaimRef = nil }, "spec.claimRef names another claim"},
		"another is":        {func(pv *v1.PersistentVolume) { pv.Name = "pvc-2" }, "it does not exist"},
		"it does not exist": {nil, "it does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			if tt.change != nil {
				pv := at("pvc-1", "nas", "/a", ours)
				pv.Spec.PersistentVolumeReclaimPolicy, pv.Status.Phase = v1.PersistentVolumeReclaimDelete, v1.VolumeReleased
				pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: "team", Name: "data", UID: "uid-1"}
				tt.change(pv)
				client = fake.NewClientset(pv)
			}
			err := Live{client}.Released(t.Context(), "pvc-1", ledger.Claim{Namespace: "team", Name: "data", UID: "uid-1"})
			if tt.says == "" && err == nil {
				return
			}
			if !errors.Is(err, ErrNotReleased) || tt.says == "" || !strings.HasSuffix(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
}

// The namespace that is read is the claim's if the claim exists after that.
func TestTheNamespaceOfAClaim(t *testing.T) {
	namespace := &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team", UID: "n-1"}}
	claim := func(namespace, name, uid string) *v1.PersistentVolumeClaim {
		return &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)}}
	}
	no := func(verb, resource string, err error) func(*fake.Clientset) {
		return func(client *fake.Clientset) {
			client.PrependReactor(verb, resource, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, err })
		}
	}
	broken := errors.New("no answer")
	forbidden := apierrors.NewForbidden(v1.Resource("namespaces"), "team", broken)
	for name, tt := range map[string]struct {
		objects []runtime.Object
		change  func(*fake.Clientset)
		want    string
		err     func(error) bool
	}{
		"the claim is there":         {objects: []runtime.Object{namespace, claim("team", "data", "uid-1")}, want: "n-1"},
		"the claim is gone":          {objects: []runtime.Object{namespace, claim("team", "other", "uid-1"), claim("other", "data", "uid-1")}, err: isError(ErrNoClaim)},
		"a later claim of the name":  {objects: []runtime.Object{namespace, claim("team", "data", "uid-2")}, err: isError(ErrNoClaim)},
		"the namespace is gone":      {objects: []runtime.Object{claim("team", "data", "uid-1")}, err: apierrors.IsNotFound},
		"namespaces may not be read": {objects: []runtime.Object{namespace}, change: no("get", "namespaces", forbidden)},
		"namespaces cannot be read":  {objects: []runtime.Object{claim("team", "data", "uid-1")}, change: no("get", "namespaces", broken), err: isError(broken)},
		"claims cannot be read":      {objects: []runtime.Object{namespace}, change: no("get", "persistentvolumeclaims", broken), err: isError(broken)},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(tt.objects...)
			if tt.change != nil {
				tt.change(client)
			}
			got, err := Live{client}.Namespace(t.Context(), ledger.Claim{Namespace: "team", Name: "data", UID: "uid-1"})
			if got != tt.want || (tt.err == nil) != (err == nil) || err != nil && !tt.err(err) {
				t.Errorf("%q, %v", got, err)
			}
			if reads := client.Actions(); len(reads) > 1 && (reads[0].GetResource().Resource != "namespaces" || len(reads) != 2) {
				t.Errorf("read %v", reads)
			}
		})
	}
}

func isError(want error) func(error) bool {
	return func(err error) bool { return errors.Is(err, want) }
}
