package cluster

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"claimdir/provisioner/cluster/pvs"
)

const ours, peers = "example.com/nfs", "cluster.local/nfs-subdir-external-provisioner"

func at(name, server, path, provisioner string) *v1.PersistentVolume {
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{pvs.AnnotationProvisionedBy: provisioner}},
		Spec:       v1.PersistentVolumeSpec{PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: server, Path: path}}},
	}
}

// started returns filled informers of a cluster with these objects.
func started(t *testing.T, objects ...runtime.Object) *Informers {
	t.Helper()
	i := NewInformers(fake.NewClientset(objects...), ours, peers)
	if i.Synced() {
		t.Error("they are filled before they start")
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); i.Factory().Shutdown() })
	i.Factory().StartWithContext(ctx)
	for of, synced := range i.Factory().WaitForCacheSync(ctx.Done()) {
		if !synced {
			t.Fatalf("%v are not filled", of)
		}
	}
	if !i.Synced() {
		t.Error("they are not filled")
	}
	return i
}

func namesOf(volumes []*v1.PersistentVolume) (names []string) {
	for _, pv := range volumes {
		names = append(names, pv.Name)
	}
	slices.Sort(names)
	return names
}

func TestOverlappingVolumesAreFound(t *testing.T) {
	i := started(t,
		at("same", "nas", "/export/team/data", ours),
		at("same-unclean", "nas", "/export//team/data/", "somebody"),
		at("below", "nas", "/export/team/data/x/y", "somebody"),
		at("above", "nas", "/export/team", peers),
		at("above-by-hand", "nas", "/export/team", "somebody"),
		at("root", "nas", "/", ours),
		at("beside", "nas", "/export/team/data2", ours),
		at("elsewhere", "other", "/export/team/data", ours),
		&v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "no-nfs"}},
	)
	for export, want := range map[string][]string{
		"/export/team/data": {"above", "below", "root", "same", "same-unclean"},
		"/export/team/new":  {"above", "root"},
		"/":                 {"above", "above-by-hand", "below", "beside", "root", "same", "same-unclean"},
		"/...":              {"root"},
	} {
		if got := namesOf(i.Overlapping("nas", export)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", export, got, want)
		}
	}
}

// The index only makes the search fast: what it finds is what the rule says of each.
func TestTheIndexFindsWhatTheRuleSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	anyPath := func() string {
		path := ""
		for range random.IntN(4) {
			path += []string{"/a", "/b", "/ab", "//a", "/./b"}[random.IntN(5)]
		}
		return path + "/"
	}
	var objects []runtime.Object
	for n := range 200 {
		objects = append(objects, at(fmt.Sprint("pv-", n), []string{"nas", "other"}[random.IntN(2)], anyPath(), []string{ours, peers, "x/y"}[random.IntN(3)]))
	}
	i, found := started(t, objects...), 0
	for range 100 {
		export := anyPath()
		var want []*v1.PersistentVolume
		for _, object := range objects {
			if pv := object.(*v1.PersistentVolume); i.Names().Overlap(pv, "nas", export) {
				want = append(want, pv)
			}
		}
		if got := i.Overlapping("nas", export); !slices.Equal(namesOf(got), namesOf(want)) {
			t.Errorf("%s: %v, want %v", export, namesOf(got), namesOf(want))
		}
		found += len(want)
	}
	if found == 0 || found == 100*len(objects) {
		t.Errorf("found %d: that tests nothing", found)
	}
}

func TestVolumesAndClassesOfOurNames(t *testing.T) {
	migrated := at("migrated", "nas", "/d", "x/y")
	migrated.Annotations[pvs.AnnotationMigratedTo] = ours
	i := started(t, at("a", "nas", "/a", ours), at("b", "nas", "/b", peers), at("c", "nas", "/c", "x/y"), migrated,
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "nfs"}, Provisioner: ours})
	if got := namesOf(slices.Collect(i.Volumes(""))); !slices.Equal(got, []string{"a", "b", "migrated"}) {
		t.Errorf("ours are %v", got)
	}
	if class, found := i.Class("nfs"); !found || class.Provisioner != ours {
		t.Errorf("class nfs: %v, %v", class, found)
	}
	if _, found := i.Class("none"); found {
		t.Error("a class none")
	}
}

func TestAboveAndBound(t *testing.T) {
	claim := &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "data", UID: "uid-1"}}
	bound := func(name string, phase v1.PersistentVolumePhase, uid types.UID) *v1.PersistentVolume {
		pv := at(name, "nas", "/export/lib/a/"+name, ours)
		pv.Status.Phase, pv.Spec.ClaimRef = phase, &v1.ObjectReference{Namespace: "team", Name: "data", UID: uid}
		return pv
	}
	i := started(t, claim, at("root", "nas", "/", "x/y"), at("lib", "nas", "/export/lib/", ""), at("same", "nas", "/export/lib/a", "x/y"), at("ours", "nas", "/export", ours),
		at("beside", "nas", "/export/li", ""), at("other", "nas2", "/export/lib", ""), bound("b", v1.VolumeBound, "uid-1"), bound("r", v1.VolumeReleased, "uid-1"), bound("n", v1.VolumeBound, "uid-2"))
	if got := namesOf(i.Above("nas", "/export/lib/a")); !slices.Equal(got, []string{"lib", "root"}) {
		t.Errorf("above are %q", got)
	}
	for name, want := range map[string]bool{"b": true, "r": false, "n": false, "root": false, "none": false} {
		if i.Bound(name) != want {
			t.Errorf("%s is bound: %v", name, !want)
		}
	}
}

// A tenant may choose a path of 64 elements and 4,095 bytes. Its keys must not take memory with the
// square of that.
func TestTheIndexOfALongPathIsSmall(t *testing.T) {
	long := at("pvc-1", "nas", "/export"+strings.Repeat("/"+strings.Repeat("e", 63), 63), ours)
	held, err := hold(long, true)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := indexExport(held)
	if err != nil || len(keys) != 65 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	if n := len(strings.Join(keys, "")); n > 65*16 {
		t.Errorf("the keys of one volume have %d bytes", n)
	}
}

// Other spellings of a server are the same server.
func TestOverlappingIgnoresTheSpellingOfTheServer(t *testing.T) {
	i := started(t, at("a", "NAS.example.com.", "/export/a", ours), at("b", "fd00:0::1", "/export/a", ours))
	for server, want := range map[string]string{"nas.example.com": "a", "fd00::1": "b", "nas": ""} {
		if got := strings.Join(namesOf(i.Overlapping(server, "/export/a")), " "); got != want {
			t.Errorf("on %s: %q", server, got)
		}
	}
}

func TestNewOwner(t *testing.T) {
	bound := func(uid types.UID, phase v1.PersistentVolumePhase, by string) *v1.PersistentVolume {
		pv := at("pvc-1", "nas", "/a", by)
		pv.Status.Phase = phase
		if uid != "" {
			pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: "team", Name: "data", UID: uid}
		}
		return pv
	}
	for name, tt := range map[string]struct {
		was, now *v1.PersistentVolume
		want     bool
	}{
		"provisioned":             {bound("uid-1", "", ours), bound("uid-1", v1.VolumeBound, ours), false},
		"provisioned, pending":    {bound("uid-1", v1.VolumePending, ours), bound("uid-1", v1.VolumeBound, ours), false},
		"nothing changed":         {bound("uid-1", v1.VolumeBound, ours), bound("uid-1", v1.VolumeBound, ours), false},
		"another claim":           {bound("uid-1", v1.VolumeBound, ours), bound("uid-2", v1.VolumeBound, ours), true},
		"another claim, released": {bound("uid-1", v1.VolumeReleased, ours), bound("uid-2", v1.VolumeBound, ours), true},
		"available until now":     {bound("uid-2", v1.VolumeAvailable, ours), bound("uid-2", v1.VolumeBound, ours), true},
		"nobody's until now":      {bound("", v1.VolumeAvailable, ours), bound("uid-2", v1.VolumeBound, ours), true},
		"not bound yet":           {bound("uid-1", v1.VolumeReleased, ours), bound("uid-2", v1.VolumeAvailable, ours), false},
		"another provisioner's":   {bound("uid-1", v1.VolumeBound, "x/y"), bound("uid-2", v1.VolumeBound, "x/y"), false},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(tt.was)
			i := NewInformers(client, ours)
			var told atomic.Int32
			if err := i.OnNewOwner(func(*v1.PersistentVolume) { told.Add(1) }); err != nil {
				t.Fatal(err)
			}
			i.Factory().StartWithContext(t.Context())
			i.Factory().WaitForCacheSync(t.Context().Done())
			last := bound("uid-9", v1.VolumeBound, ours) // shows that what came before was handled
			for n, pv := range []*v1.PersistentVolume{tt.now, last} {
				pv.ResourceVersion = fmt.Sprint(n + 2)
				if _, err := client.CoreV1().PersistentVolumes().Update(t.Context(), pv, metav1.UpdateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			want := int32(1)
			if tt.want {
				want = 2
			}
			for start := time.Now(); told.Load() < want && time.Since(start) < 10*time.Second; {
				time.Sleep(time.Millisecond)
			}
			if got := told.Load(); got != want {
				t.Errorf("told %d times, the last change included, want %d", got, want)
			}
		})
	}
}

func TestSizesAreReadWithoutDecoding(t *testing.T) {
	sized := func(pv *v1.PersistentVolume, size, namespace string) *v1.PersistentVolume {
		pv.Spec.Capacity = v1.ResourceList{v1.ResourceStorage: resource.MustParse(size)}
		if namespace != "" {
			pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: namespace, Name: "data"}
		}
		return pv
	}
	i := started(t,
		sized(at("a", "nas", "/export/a", ours), "1Gi", "team"),
		sized(at("b", "other", "/b", peers), "5M", ""),
		sized(at("foreign", "nas", "/export/c", "somebody"), "1Ti", "team"),
	)
	got := map[string]Sized{}
	i.EachSized(func(s Sized) { got[s.Name] = s })
	want := map[string]Sized{"a": {"a", "team", "nas", "/export/a", 1 << 30}, "b": {"b", "", "other", "/b", 5_000_000}}
	if !maps.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
