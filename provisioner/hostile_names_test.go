package provisioner

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volume"
)

// maxEvent is how many bytes of text an event holds.
const maxEvent = 1024

// sources are the variables that bring a text into a path, and what sets them.
// The API server lets few of the texts below into some of these; nothing here
// may count on that.
func sources() map[string]func(o *controller.ProvisionOptions, value string) {
	return map[string]func(*controller.ProvisionOptions, string){
		"${.PVC.annotations.v}":                   func(o *controller.ProvisionOptions, v string) { o.PVC.Annotations = params("v", v) },
		"${.PVC.labels.v}":                        func(o *controller.ProvisionOptions, v string) { o.PVC.Labels = params("v", v) },
		"${.PVC.labels.x:-${.PVC.annotations.v}}": func(o *controller.ProvisionOptions, v string) { o.PVC.Annotations = params("v", v) },
		"${.PVC.namespace}":                       func(o *controller.ProvisionOptions, v string) { o.PVC.Namespace = v },
		"${.PVC.name}":                            func(o *controller.ProvisionOptions, v string) { o.PVC.Name = v },
		"${.PVC.uid}":                             func(o *controller.ProvisionOptions, v string) { o.PVC.UID = types.UID(v) },
		"${.PV.name}":                             func(o *controller.ProvisionOptions, v string) { o.PVName = v },
	}
}

// annotated are the options of a claim whose annotation v is put into pattern.
func annotated(pv, pattern, value string, more ...string) controller.ProvisionOptions {
	o := options("ns/data", pv, at(strings.ReplaceAll(pattern, "V", "${.PVC.annotations.v}"), more...))
	o.PVC.Annotations = params("v", value)
	return o
}

// everyPlace are the places of a value that is one element or more.
func everyPlace() []string { return []string{"V", "V/in/side", "in/V/side", "in/side/V"} }

// refusedAnywhere are values that no pattern makes a path of.
func refusedAnywhere() []string {
	return []string{
		"..", "../x", "x/..", "x/../y", "x/../../y", "../../../../etc", ".. ", " ..", " ", "\u00a0", ".claimdir ", "x/ y", "..//x", "x//..", "../.claimdir",
		"x\ny", "\n", "x\n", "x\x00y", "\x1b[2Jx", "x\u0085y", "\x7f", "\t", "\r\n", "\xff", "x\xc0\xae\xc0\xae", "..\xff", "\xed\xa0\x80",
		strings.Repeat("x", 256), strings.Repeat("名", 86), "x/" + strings.Repeat("y", 256), strings.Repeat("xxxxxxx/", 512), strings.Repeat("x", 1<<18),
	}
}

// refusedThere are values that some patterns make no path of.
func refusedThere() map[string][]string {
	reserved := []string{
		"..\u200b", "\u202e../x", ".claimdir", ".claimdir/records", ".claimdir/records/rival%2Fvolumes", ".CLAIMDIR", ".ClaimDir/staged", ".claim\u200bdir", "\ufeff.claimdir",
		".claimdir\u00ad", ".claim\u2060dir/x", "\u180e.claimdir", ".claimdir\ufe0f", "archived-", "archived-x", "ARCHIVED-x", "Archived-x/y",
		"archived-ns-data-pvc-1", "arch\u00adived-x", "archived\u200d-x", "\u200barchived-x", "archived-/x", "aRcHiVeD-\u200b",
	}
	reserved = append(reserved, "///..", "/.claimdir", "././.claimdir", "/archived-x")
	return map[string][]string{
		"V": reserved, "V/in/side": append([]string{"", "/", "//", ".", "./", "/./."}, reserved...),
		"xV": {"/..", "/../x", "/../../.claimdir"}, "Vx": {"../", "x/../"}, "in/xVx": {"/../", "/..//", "\n"},
		".V": {".", "claimdir", "CLAIMdir", "claimdir/x", "./x"}, "in/.V/x": {"."}, ".claimV": {"dir", "dir/x", "\u200bdir", "DIR\u00ad"},
		".claimVdir": {"", "\u200b"}, "archV": {"ived-", "IVED-x"}, "V-x": {"archived", "Archived"}, "VV": {"."},
	}
}

func TestHostileNoValueIsAWayOut(t *testing.T) {
	s := newSite(t)
	before := s.outside(t)
	cases := 0
	try := func(o controller.ProvisionOptions, value string) {
		cases++
		_, _, err := s.Provision(t.Context(), o)
		if err == nil {
			t.Fatalf("value %.40q makes a path of %s", value, o.StorageClass.Parameters["pathPattern"])
		}
		refused(t, err, refusal.ReasonPath, true)
		if text := err.Error(); len(text) > maxEvent || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("value %.40q makes an event of %d bytes: %.2000q", value, len(text), text)
		}
	}
	for _, value := range refusedAnywhere() {
		for variable, set := range sources() {
			for _, place := range everyPlace() {
				o := options("ns/data", "pvc-1", at(strings.ReplaceAll(place, "V", variable)))
				set(&o, value)
				try(o, value)
			}
		}
		before.same(t, s.outside(t))
	}
	for pattern, values := range refusedThere() {
		for _, value := range values {
			try(annotated("pvc-1", pattern, value), value)
		}
	}
	before.same(t, s.outside(t))
	t.Logf("%d cases", cases)
}

// literal are values that look like something else and are just names.
func literal() []string {
	return []string{
		"%2e%2e", "..%2f..%2fx", "%2F", "%00", "．．", "．．／x", "․․", "‥", "…", "...", "....", "..a", "a..", "/etc", "//etc", "/x/y", "./x", "x/.", "x/./y",
		"..\u0307", "\u2215etc", "\\..\\..", "~", "~root", "-rf", "--", "*", "?", "$HOME", "$(id)", "`id`", "a;b", "a|b", "x:y", "'\"",
		"${.PV.name}", "${.PVC.annotations.v}", "$}{", "a%2Fb", "a+b", "x+", "x.json", ".json", "share.json", "volumes", "tmp", "trash", ".hidden",
		"claimdir", ".claimdi", ".claimdir2", ".claimdir.", "．claimdir", ".claımdir", "archived", "archive-x", "xarchived-", "ａrchived-x",
		strings.Repeat("x", 255), strings.Repeat("名", 85), strings.Repeat("%", 255), "e\u0301", "é", "\u212b", "ﬁ", "🏴\u200d☠️", "con", "NUL.txt",
		"x/%2e%2e/y", "．．/．．", "p//q", "r/s/", ".hidden/.claimdi",
	}
}

func TestHostileWhatOnlyLooksLikeAWayOutIsAName(t *testing.T) {
	s := newSite(t)
	cases := 0
	for i, value := range literal() {
		for j, place := range everyPlace() {
			if brief() && j != i%len(everyPlace()) {
				continue
			}
			cases++
			s.literal(t, annotated(fmt.Sprint("pvc-", cases), place, value, "onDelete", "delete"), strings.ReplaceAll(place, "V", value))
		}
	}
	for _, name := range []string{".claimdir", "archived-x", ".CLAIMDIR/records"} { // reserved at the root only
		cases++
		s.literal(t, annotated(fmt.Sprint("pvc-", cases), "in/V", name, "onDelete", "delete"), "in/"+name)
	}
	t.Logf("%d cases", cases)
}

// literal provisions and releases a volume that must lie at want, without empty elements
// and ".".
func (s *site) literal(t *testing.T, o controller.ProvisionOptions, want string) {
	t.Helper()
	want = strings.Join(slices.DeleteFunc(strings.Split(want, "/"), func(e string) bool { return e == "" || e == "." }), "/")
	before := s.outside(t, want)
	pv := s.provision(t, o)
	if pv.Annotations[volume.AnnotationPath] != want || s.Record(t, want).PV != o.PVName {
		t.Errorf("%q lies at %q", want, pv.Annotations[volume.AnnotationPath])
	}
	if _, there := s.outside(t)["share/"+want]; !there { // listed, not looked up
		t.Errorf("no entry is named %q", want)
	}
	s.Tree(t, want+"/file")
	before.same(t, s.outside(t, want))
	must(t, s.Delete(t.Context(), pv))
	before.same(t, s.outside(t, want))
	after := s.outside(t)
	if _, there := after["share/"+want]; there {
		t.Errorf("%q is still there", want)
	}
}

// The default name and the name of an archive are made of texts that the API
// server checks. They stay one element if it did not.
func TestHostileDefaultAndArchiveNamesAreOneElementWhateverTheyAreMadeOf(t *testing.T) {
	s := newSite(t)
	for i, name := range []string{
		"..", "../..", "/", "", "a/../../b", "x\ny", "\x00", "\u202e", ".claimdir", "${.PV.name}", strings.Repeat("x", 300), strings.Repeat("名", 300), "ns/data",
	} {
		for _, part := range []string{"namespace", "name", "volume"} {
			o := options("ns/data", fmt.Sprint("pvc-", i, part), at(""))
			switch part {
			case "namespace":
				o.PVC.Namespace = name
			case "name":
				o.PVC.Name = name
			case "volume":
				o.PVName = "pv-" + name
			}
			before := s.outside(t, "archived-"+andMore)
			pv := s.provision(t, o)
			path := pv.Annotations[volume.AnnotationPath]
			if strings.Contains(path, "/") || len(path) > 255 {
				t.Errorf("%s %q gives %q", part, name, path)
			}
			before.same(t, s.outside(t, path, "archived-"+andMore))
			must(t, s.Delete(t.Context(), pv))
			before.same(t, s.outside(t, path, "archived-"+andMore))
			for entry := range s.outside(t, "rival", "stranger", ".claimdir") {
				if in := strings.TrimPrefix(entry, "share/"); in != entry && (!strings.HasPrefix(in, "archived-") || strings.Contains(in, "/")) {
					t.Errorf("%s %q leaves %q", part, name, in)
				}
			}
		}
	}
}
