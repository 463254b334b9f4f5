package provisioner

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/class"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volume"
)

// FuzzHostileClaim makes and releases the volume of a claim on a real share.
// Nothing outside of its path may change, and the path is held against the
// promise in other words than the code's. TMPDIR on a file system in memory
// makes it fast.
func FuzzHostileClaim(f *testing.F) {
	for n, pattern := range []string{
		"${.PVC.annotations.v}", "${.PVC.namespace}/${.PVC.annotations.v}", "a/${.PVC.annotations.v}/b", "${.PVC.annotations.v}${.PVC.labels.v}",
		"${.PVC.labels.v:-${.PVC.annotations.v}}/x", "${.PVC.name}/", ".${.PVC.annotations.v}", "archived${.PVC.annotations.v}", "x${.PVC.annotations.v}x", "",
	} {
		for i, value := range []string{
			"data", "a/b", "..", "../..", "/../", ".claimdir", ".claim\u200bdir/records", "-", "rival", "rival/volumes", "rival/volumes/tree", "rival//volumes/new",
			"stranger/new", "stranger", "link", "link/new", "up/x", "rival%2Fvolumes", "rival/volumes2", "．．", "e\u0301", "a\nb", "\xff", "", strings.Repeat("x/", 100), strings.Repeat("x", 255),
		} {
			if (n+i)%times(1, 8) == 0 {
				f.Add(pattern, "ns", "data", value, "w", byte(i))
			}
		}
	}
	f.Fuzz(func(t *testing.T, pattern, namespace, name, annotation, label string, choice byte) {
		s := newSite(t)
		must(t, os.Symlink("../"+fullCanary, s.Dir+"/link"))
		must(t, os.Symlink("..", s.Dir+"/up"))
		policy, existing := []string{"delete", "archive", "retain"}[choice%3], []string{"refuse", "adopt"}[choice/3%2]
		o := options("", "pvc-1", params("pathPattern", pattern, "mode", "0710", "onDelete", policy, "onExisting", existing))
		o.PVC.Namespace, o.PVC.Name, o.PVC.Annotations, o.PVC.Labels = namespace, name, params("v", annotation), params("v", label)

		path := expected(o)
		before, whole := s.outside(t, path, "archived-"+andMore), s.outside(t, path+"/"+andMore)
		pv, _, err := s.Provision(t.Context(), o)
		if err != nil {
			var refusing *refusal.Refusal
			if text := err.Error(); !errors.As(err, &refusing) || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("%T %q", err, text)
			}
			whole.same(t, s.outside(t, path+"/"+andMore)) // but parents
			return
		}
		promised(t, pv.Annotations[volume.AnnotationPath], path)
		before.same(t, s.outside(t, path, "archived-"+andMore))
		for name, target := range map[string]string{"out": s.top + "/" + fullCanary, "across": s.Dir + "/rival", "records": s.Dir + "/.claimdir"} {
			must(t, os.Symlink(target, s.Dir+"/"+path+"/"+name))
		}
		must(t, s.Delete(t.Context(), pv))
		before.same(t, s.outside(t, path, "archived-"+andMore))
		if _, err := os.Lstat(s.Dir + "/" + path); errors.Is(err, fs.ErrNotExist) != (policy != "retain") {
			t.Errorf("after %s: %v", policy, err)
		}
	})
}

// expected is the path that the claim gives, or one that nobody has. Whether it
// is allowed is not taken from here.
func expected(o controller.ProvisionOptions) string {
	c, err := class.Parse(o.StorageClass.Parameters)
	if err != nil {
		return "none"
	}
	path, err := c.Pattern.Expand(volume.Vars(o.PVName, o.PVC))
	if err != nil {
		return "none"
	}
	return path.String()
}

// promised fails the test unless path, which was made, may be one.
func promised(t *testing.T, path, expected string) {
	t.Helper()
	elements := strings.Split(path, "/")
	for _, element := range elements {
		if element == "" || element == "." || element == ".." || len(element) > 255 || strings.ContainsFunc(element, unicode.IsControl) {
			t.Errorf("path %q has element %q", path, element)
		}
	}
	first := strings.ToLower(elements[0])
	if path != expected || first == ".claimdir" || strings.HasPrefix(first, "archived-") || !utf8.ValidString(path) {
		t.Errorf("path %q, expected %q", path, expected)
	}
	if strings.HasPrefix(path+"/", "rival/volumes/") || path == "rival" {
		t.Errorf("path %q lies in or above another volume", path)
	}
	if elements[0] == "link" || elements[0] == "up" {
		t.Errorf("path %q leads over a link", path)
	}
}
