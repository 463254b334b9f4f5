package volpath

import (
	"strings"
	"testing"
)

func TestParsePatternRefuses(t *testing.T) {
	const all = "allowed are ${.PVC.namespace}, ${.PVC.name}, ${.PVC.uid}, ${.PVC.labels.KEY}, ${.PVC.annotations.KEY} and ${.PV.name}"
	nested := func(n int) string { return strings.Repeat("${.PVC.labels.a:-", n) + "x" + strings.Repeat("}", n) }
	for name, tt := range map[string]struct{ s, want string }{
		"nothing":                           {"", `pattern "": empty; a path relative to the share is needed`},
		"slashes alone":                     {"//", `pattern "//": the root of the share itself`},
		"dots and slashes alone":            {"./.", `the root of the share itself; a directory below it is needed, with the variables ${.PVC.namespace}`},
		"an escaped dollar":                 {"$${.PVC.name}", `'$' outside of a variable in "$${.PVC.name}"; allowed are the variables ${.PVC.namespace}`},
		"an escaped dollar with backslash":  {"\\${.PVC.name}", `'\\' outside of a variable`},
		"a template of Helm":                {"a/{{ .PVC.Name }}", `'{' outside of a variable in "{{ .PVC.Name }}"`},
		"a variable without dollar":         {"{.PVC.name}", `'{' outside of a variable`},
		"a brace too many":                  {"${.PVC.name}}", `'}' outside of a variable in "}"`},
		"a dollar in a fallback":            {"${.PVC.labels.a:-$x}", `'$' outside of a variable in "$x}"`},
		"a blank before":                    {" ${.PVC.name}", `element " " begins or ends with a blank`},
		"a blank behind":                    {"a/${.PVC.name} /b", "begins or ends with a blank"},
		"a blank behind a literal":          {"a /b", `element "a " begins or ends with a blank`},
		"an unknown variable":               {"x/${.PVC.nmae}", `unknown variable "${.PVC.nmae}"; ` + all},
		"a variable in other letter case":   {"${.PVC.Name}", `unknown variable "${.PVC.Name}"`},
		"a variable of the other spelling":  {"${pvc.metadata.name}", `unknown variable "${pvc.metadata.name}"; ` + all},
		"a nameless variable":               {"a${}", `unknown variable "${}"`},
		"a fallback for nothing":            {"a${:-x}", `unknown variable "${}"`},
		"an unknown variable in a fallback": {"${.PVC.name:-${.x}}", `unknown variable "${.x}"`},
		"another operator":                  {"${.PVC.name:=x}", `unknown variable "${.PVC.name:=x}"`},
		"a label without a key":             {"${.PVC.labels.}", `no key of a label or annotation in variable "${.PVC.labels.}"`},
		"an annotation without a key":       {"${.PVC.annotations.:-x}", `no key of a label or annotation`},
		"labels as such":                    {"${.PVC.labels}", "unknown variable"},
		"a key that cannot be":              {"${.PVC.labels.a b}", `impossible key (only letters, digits`},
		"a variable without an end":         {"x/${.PVC.name", `variable "${.PVC.name" is not closed by "}"; ` + all},
		"a variable that eats the next":     {"${.PVC.name/${.PV.name}", `variable "${.PVC.name/${.PV.name}" is not closed`},
		"a fallback without an end":         {"${.PVC.name:-x", "is not closed"},
		"a nested fallback without an end":  {"${.PVC.name:-${.PV.name}", `variable "${.PVC.name:-${.PV.name}" is not closed`},
		"a lone opening":                    {"a${", `variable "${" is not closed`},
		"nine levels":                       {nested(9), "nested too deep; at most 8"},
		"a million levels":                  {strings.Repeat("${.PVC.labels.a:-", 1e6), "at most 4095 are allowed"},
		"a literal way out":                 {"a/../${.PVC.name}", `element ".." is not allowed`},
		"a literal that is too long":        {"a/" + strings.Repeat("x", 256) + "${.PVC.name}", "at most 255 are allowed"},
		"the records":                       {".claimdir/${.PVC.name}", "reserved name"},
		"the archives":                      {"archived-${.PVC.name}/x", "reserved name"},
		"the archives in capitals":          {"ARCHIVED-", "reserved name"},
		"control characters":                {"a\t${.PVC.name}", "control character U+0009"},
		"control characters in a fallback":  {"${.PVC.name:-\n}", "control character U+000A"},
		"text that is not UTF-8":            {"a\xff", "not valid UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			if p, err := ParsePattern(tt.s); err == nil || !strings.Contains(err.Error(), tt.want) || p.String() != "" {
				t.Errorf("%q, %v; want an error with %q", p, err, tt.want)
			}
		})
	}
	if _, err := ParsePattern(nested(8)); err != nil {
		t.Errorf("eight levels: %v", err)
	}
}

func TestParseSubDirKnowsTheSpellingOfCSI(t *testing.T) {
	p, err := ParseSubDir("${pvc.metadata.namespace}/${pvc.metadata.name:-none}/x${pv.metadata.name}")
	if err != nil {
		t.Fatal(err)
	}
	v := claim()
	if got, err := p.Expand(v); err != nil || got.String() != "team/data/xpvc-1" {
		t.Errorf("%q, %v", got, err)
	}
	v.Name = ""
	if got, err := p.Expand(v); err != nil || got.String() != "team/none/xpvc-1" {
		t.Errorf("with a fallback: %q, %v", got, err)
	}
	for _, s := range []string{"${.PVC.name}", "${pvc.metadata.labels.app}", "${pvc.metadata.uid}", "${pv.metadata.name"} {
		_, err := ParseSubDir(s)
		want := "allowed are ${pvc.metadata.namespace}, ${pvc.metadata.name} and ${pv.metadata.name}"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{DefaultPattern, "${.PVC.namespace}/${.PVC.annotations.k}", "${.PVC.labels.k:-${.PVC.name}}/x", "a/${.PV.name}/",
		"$}{/${.PVC.uid:-a/b}", "${.PVC.annotations.k}/${.PVC.labels.k}", "${.PVC.labels.none:-${.PVC.annotations.k:-$}}"} {
		f.Add(s, "team", "data", "pvc-1", "../${.PVC.name}")
		f.Add(s, "", "${.PV.name}", "", "a//b/")
		f.Add(s, "archived-", ".", "/", "${.PVC.annotations.k}")
	}
	f.Fuzz(func(t *testing.T, pattern, namespace, name, pv, value string) {
		p, err := ParsePattern(pattern)
		if err != nil {
			return
		}
		v := Vars{namespace, name, "uid", pv, map[string]string{"k": value}, map[string]string{"k": value}}
		got, err := p.Expand(v)
		if err == nil {
			checkIndependently(t, got.String())
			if parsed, err := Parse(got.String()); err != nil || parsed != got {
				t.Errorf("Parse refuses %q: %v", got, err)
			}
		}
		checkNotScannedAgain(t, p, v, got)
	})
}

// checkNotScannedAgain replaces the dollars in all values by a character that no pattern knows. If values are only ever copied, the
// result must be the same with the replacement undone.
func checkNotScannedAgain(t *testing.T, p Pattern, v Vars, want Path) {
	t.Helper()
	all := p.String() + v.Namespace + v.Name + v.PVName + v.Labels["k"]
	if strings.Contains(all, "%") || len(v.Namespace+v.Name+v.PVName) > MaxElement-2 { // a hash would differ
		return
	}
	inert := func(s string) string { return strings.ReplaceAll(s, "$", "%") }
	k := map[string]string{"k": inert(v.Labels["k"])}
	got, err := p.Expand(Vars{inert(v.Namespace), inert(v.Name), v.UID, inert(v.PVName), k, k})
	if inert(got.String()) != inert(want.String()) || strings.Count(want.String(), "$") < strings.Count(got.String(), "$") {
		t.Errorf("%s = %q, but %q (%v) for values without dollars", p, want, got, err)
	}
}
