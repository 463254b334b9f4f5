package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"
)

func TestPreflight(t *testing.T) {
	live := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: "nfs", Labels: map[string]string{"a": "b"}}, Provisioner: "example.com/nfs",
		ReclaimPolicy: ptr.To(v1.PersistentVolumeReclaimDelete), VolumeBindingMode: ptr.To(storagev1.VolumeBindingImmediate),
		Parameters: map[string]string{"onDelete": "retain", "empty": ""},
	}
	for name, tt := range map[string]struct {
		change func(*storagev1.StorageClass)
		want   []string
	}{
		"the same": {change: func(*storagev1.StorageClass) {}},
		"what the API server fills in": {change: func(c *storagev1.StorageClass) {
			c.ReclaimPolicy, c.VolumeBindingMode = nil, nil
		}},
		"what can be changed": {change: func(c *storagev1.StorageClass) {
			c.Labels, c.MountOptions, c.AllowVolumeExpansion = nil, []string{"hard"}, new(true)
		}},
		"none of that name": {change: func(c *storagev1.StorageClass) { c.Name, c.Provisioner = "other", "other" }},
		"parameters": {
			change: func(c *storagev1.StorageClass) { c.Parameters = map[string]string{"onDelete": "delete", "new\n": "x"} },
			want: []string{
				"claimdir: StorageClass nfs: the parameter empty is \"\" in the cluster, and would have to be not set",
				"claimdir: StorageClass nfs: the parameter new? is not set in the cluster, and would have to be \"x\"",
				"claimdir: StorageClass nfs: the parameter onDelete is \"retain\" in the cluster, and would have to be \"delete\"",
				"3 fields cannot be changed (see above): set the value to what the class has in the cluster, or make another class in storageClasses",
			},
		},
		"the other fields": {
			change: func(c *storagev1.StorageClass) {
				c.Provisioner, c.ReclaimPolicy, c.VolumeBindingMode = "claimdir/nfs", ptr.To(v1.PersistentVolumeReclaimRetain), ptr.To(storagev1.VolumeBindingWaitForFirstConsumer)
			},
			want: []string{
				"claimdir: StorageClass nfs: provisioner is \"example.com/nfs\" in the cluster, and would have to be \"claimdir/nfs\"",
				"claimdir: StorageClass nfs: reclaimPolicy is Delete in the cluster, and would have to be Retain",
				"claimdir: StorageClass nfs: volumeBindingMode is Immediate in the cluster, and would have to be WaitForFirstConsumer",
				"3 fields cannot be changed (see above): set the value to what the class has in the cluster, or make another class in storageClasses",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := live.DeepCopy()
			tt.change(want)
			client := fake.NewClientset(live.DeepCopy())
			var out, stderr bytes.Buffer
			err := preflight(t.Context(), client, []storagev1.StorageClass{*want}, streams{out: &out, err: &stderr})
			if len(tt.want) == 0 {
				if err != nil || out.String() != "No StorageClass would have to change.\n" {
					t.Fatalf("%v, %s%s", err, &out, &stderr)
				}
			} else if got := append(strings.Split(strings.TrimSpace(stderr.String()), "\n"), messageOf(err)); !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			for _, action := range client.Actions() {
				if action.GetVerb() != "list" {
					t.Errorf("it asked for %s", action.GetVerb())
				}
			}
		})
	}
}

func TestPreflightWithoutAnAnswer(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("list", "storageclasses", refuse)
	err := preflight(t.Context(), client, []storagev1.StorageClass{{ObjectMeta: metav1.ObjectMeta{Name: "nfs"}}}, streams{})
	if messageOf(err) != "list StorageClasses: forbidden" {
		t.Error(err)
	}
}

func TestPreflightOptions(t *testing.T) {
	for _, tt := range []struct {
		texts []string
		want  string
	}{
		{nil, "--class is missing: give each StorageClass of the release"},
		{[]string{"{"}, `--class "{": must be a StorageClass as JSON: unexpected end of JSON input`},
		{[]string{`{"provisioner":"a"}`}, `metadata.name is missing`},
		{[]string{`{"metadata":{"name":"a"},"parameters":{"x":1}}`}, "must be a StorageClass as JSON: json: cannot unmarshal number"},
	} {
		o := preflightOptions{options: newOptions(), texts: tt.texts}
		if got := o.complete(nil); len(got) != 1 || !strings.Contains(got[0].Error(), tt.want) {
			t.Errorf("%q: got %v, want %s", tt.texts, got, tt.want)
		}
	}
}

func messageOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
