package volpath

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestParseAcceptsAndKeeps(t *testing.T) {
	for name, s := range map[string]string{
		"one element":                             "data",
		"several elements":                        "team/app/data",
		"dots inside an element":                  "..a/b../...",
		"text in any script":                      "équipe/数据/👩‍👧",
		"spaces, backslashes and quotes":          `a b/c\d/"e"`,
		"the reserved names below the root":       "team/.claimdir/archived-x",
		"a name that only resembles the records":  ".claimdir2",
		"a name that only resembles the archives": "archived",
		"an element of the greatest length":       strings.Repeat("e", MaxElement),
		"a path of the greatest length":           strings.Repeat("e/", MaxPath/2) + "e",
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse(s)
			if err != nil || p.String() != s {
				t.Errorf("Parse(%q) = %q, %v", s, p, err)
			}
			if recorded, err := ParseRecorded(s); err != nil || recorded != p {
				t.Errorf("ParseRecorded(%q) = %q, %v", s, recorded, err)
			}
		})
	}
}

func TestParseRefusesAndSaysWhatIsAllowed(t *testing.T) {
	for name, tt := range map[string]struct{ s, want string }{
		"the empty path":                {"", `path "": empty; a path relative to the share is needed`},
		"an absolute path":              {"/a", `path "/a": absolute; it must be relative`},
		"the root":                      {"/", "absolute"},
		"the share itself":              {".", `element "." is not allowed`},
		"a dot inside":                  {"a/./b", `element "." is not allowed`},
		"a way out":                     {"../a", `path "../a": element ".." is not allowed; a path is written without "." and ".."`},
		"a way out and in again":        {"ns/../other/data", `element ".." is not allowed`},
		"a way out at the end":          {"a/..", `element ".."`},
		"an empty element":              {"a//b", "empty element"},
		"a trailing slash":              {"a/", "empty element"},
		"a NUL":                         {"a\x00b", `path "a\x00b": control character U+0000`},
		"a line break":                  {"a\nb", "control character U+000A"},
		"a control character over 0x7f": {"a\u0085b", "control character U+0085"},
		"text that is not UTF-8":        {"a\xffb", "not valid UTF-8"},
		"an element that is too long":   {strings.Repeat("e", 256), "is 256 bytes long; at most 255 are allowed"},
		"an element counted in bytes":   {strings.Repeat("é", 128), "is 256 bytes long"},
		"a path that is too long":       {strings.Repeat("e/", 2048), "4096 bytes long; at most 4095 are allowed"},
		"the records":                   {".claimdir", `reserved name; the first element may neither be ".claimdir" nor begin with "archived-"`},
		"below the records":             {".claimdir/volumes/x", "reserved name"},
		"the records in capitals":       {".ClaimDir/x", "reserved name"},
		"the records, invisibly":        {".claim\u200bdir/x", "reserved name"},
		"below an archive":              {"archived-a-b-c/x", "reserved name"},
		"an archive in capitals":        {"ARCHIVED-x/y", "reserved name"},
		"an archive, invisibly":         {"arch\u00adived-x/y", "reserved name"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, parse := range []func(string) (Path, error){Parse, ParseRecorded} {
				p, err := parse(tt.s)
				if err == nil || !strings.Contains(err.Error(), tt.want) || p != (Path{}) {
					t.Errorf("%q, %v; want an error with %q", p, err, tt.want)
				}
			}
		})
	}
}

func TestOnlyRecordedPathsMayBeArchives(t *testing.T) {
	for s, recorded := range map[string]bool{
		"archived-ns-data-pvc-1": true,
		"archived-":              true,
		"Archived-ns":            false, // claimdir never writes that
		"archived-ns/x":          false,
	} {
		if p, err := Parse(s); err == nil {
			t.Errorf("Parse accepts %q", p)
		}
		if p, err := ParseRecorded(s); (err == nil) != recorded || recorded && p.String() != s {
			t.Errorf("ParseRecorded(%q) = %q, %v", s, p, err)
		}
	}
}

func TestErrorsRepeatOnlyTheBeginningOfALongPath(t *testing.T) {
	_, err := Parse(strings.Repeat("é", 1<<20))
	if len(err.Error()) > 1024 || !strings.Contains(err.Error(), "(2097152 bytes)") || !utf8.ValidString(err.Error()) {
		t.Errorf("error of %d bytes: %.400s", len(err.Error()), err)
	}
}

func TestPathTellsItsParts(t *testing.T) {
	p, err := Parse("a/b/c")
	if err != nil {
		t.Fatal(err)
	}
	var above []string
	for _, a := range p.Ancestors() {
		above = append(above, a.String())
	}
	if p.Base() != "c" || !slices.Equal(p.Elements(), []string{"a", "b", "c"}) || !slices.Equal(above, []string{"a/b", "a"}) {
		t.Errorf("base %q, elements %q, ancestors %q", p.Base(), p.Elements(), above)
	}
	single, zero := Path{"a"}, Path{}
	if single.Base() != "a" || len(single.Ancestors()) != 0 || zero.Base() != "" || len(zero.Elements()) != 0 || len(zero.Ancestors()) != 0 {
		t.Error("a single element or the zero path has more parts than it should")
	}
}

func TestContainsMeansStrictlyBelowByWholeElements(t *testing.T) {
	for _, tt := range []struct {
		p, other string
		want     bool
	}{
		{"a", "a/b", true}, {"a", "a/b/c", true}, {"a/b", "a/b/c", true},
		{"a", "a", false}, {"a/b", "a", false}, {"a/b", "a/bc", false}, {"b", "a/b", false}, {"", "a", false}, {"a", "", false},
	} {
		if got := (Path{tt.p}).Contains(Path{tt.other}); got != tt.want {
			t.Errorf("%q contains %q: %v", tt.p, tt.other, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "a", "a/b", "/a", "a/", "a//b", "..", "a/../b", ".claimdir", ".CLAIMDIR/x", "archived-x", "ſ/\u212a",
		"a\x00", "\xff", "a\u0085", ".claim\u200bdir", strings.Repeat("a", 256), "arch\u00adived-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil {
			if p != (Path{}) || !utf8.ValidString(err.Error()) {
				t.Errorf("refused with path %q, error %q", p, err)
			}
			return
		}
		if p.String() != s {
			t.Errorf("%q became %q", s, p)
		}
		checkIndependently(t, s)
		if recorded, err := ParseRecorded(s); err != nil || recorded != p {
			t.Errorf("ParseRecorded(%q) = %q, %v", s, recorded, err)
		}
		for _, a := range p.Ancestors() {
			if _, err := Parse(a.String()); err != nil || !a.Contains(p) {
				t.Errorf("ancestor %q of %q: %v", a, p, err)
			}
		}
	})
}

// checkIndependently holds a path against the promise in other words than the code's.
func checkIndependently(t *testing.T, s string) {
	t.Helper()
	elements := strings.Split(s, "/")
	root := strings.ToLower(elements[0])
	switch {
	case !fs.ValidPath(s) || s == ".":
		t.Errorf("%q is not a path below the root", s)
	case len(s) > 4095 || slices.ContainsFunc(elements, func(e string) bool { return len(e) > 255 }):
		t.Errorf("%q is too long", s)
	case strings.ContainsFunc(s, unicode.IsControl):
		t.Errorf("%q holds a control character", s)
	case root == ".claimdir" || strings.HasPrefix(root, "archived-"):
		t.Errorf("%q is reserved", s)
	}
}
