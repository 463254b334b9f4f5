package volpath

import (
	"strings"
	"testing"
)

func claim() Vars {
	return Vars{
		Namespace: "team", Name: "data", UID: "u-1", PVName: "pvc-1",
		Labels: map[string]string{"app": "shop", "app.kubernetes.io/part-of_it": "web", "empty": ""},
		Annotations: map[string]string{
			"nfs.io/storage-path": "in/here", "slash": "/", "slashes": "//", "lead": "/x", "trail": "x/", "out": "../other", "in": "a/../../b",
			"dot": ".", "records": ".claimdir/volumes", "archive": "Archived-x", "nul": "a\x00", "long": strings.Repeat("v", 256),
			"braces": "$a{b}\\", "blank": " ", "blanks": "x/ y", "tail": "x ", "dots": "././",
			"pattern": "${.PVC.name}", "half": "${.PVC", "name}": "x",
		},
	}
}

func TestExpandGives(t *testing.T) {
	const annotation = "${.PVC.annotations."
	for name, tt := range map[string]struct{ pattern, want string }{
		"the default name for the default pattern": {DefaultPattern, "team-data-pvc-1"},
		"every variable": {"${.PVC.namespace}/${.PVC.name}.${.PVC.uid}/${.PV.name}", "team/data.u-1/pvc-1"},
		"labels":         {"${.PVC.labels.app}", "shop"},
		"keys with every character they may have":            {"${.PVC.labels.app.kubernetes.io/part-of_it}", "web"},
		"values of several elements":                         {"${.PVC.namespace}/${.PVC.annotations.nfs.io/storage-path}", "team/in/here"},
		"literals alone":                                     {"shared/data", "shared/data"},
		"a leading slash means the share":                    {"/${.PVC.namespace}/${.PVC.name}/", "team/data"},
		"leading slashes and dots":                           {"//./${.PVC.name}/./x", "data/x"},
		"a value with a leading slash":                       {annotation + "lead}", "x"},
		"a value of a dot in the middle":                     {"a/" + annotation + "dot}/b", "a/b"},
		"the default name for a last element of a dot":       {"${.PVC.namespace}/" + annotation + "dot}", "team/team-data-pvc-1"},
		"values with dollars and braces":                     {annotation + "braces}", "$a{b}\\"},
		"a fallback for what is missing":                     {"${.PVC.labels.none:-x}", "x"},
		"a fallback for what is empty":                       {"${.PVC.labels.empty:-x}", "x"},
		"no fallback for what is there":                      {"${.PVC.labels.app:-x}", "shop"},
		"a fallback that is a pattern":                       {"${.PVC.labels.none:-${.PVC.name}}", "data"},
		"a fallback of a fallback":                           {"${.PVC.labels.none:-a-${.PVC.labels.no:-${.PVC.uid}}-b}/x", "a-u-1-b/x"},
		"a fallback of several elements":                     {"${.PVC.labels.none:-a/b}/c", "a/b/c"},
		"a fallback with dashes and colons":                  {"${.PVC.labels.none:-a:-b}", "a:-b"},
		"the default name for a missing last element":        {"${.PVC.namespace}/" + annotation + "none}", "team/team-data-pvc-1"},
		"the default name for an empty fallback":             {"x/${.PVC.labels.none:-}", "x/team-data-pvc-1"},
		"the default name for a last element of slashes":     {"x/" + annotation + "slashes}", "x/team-data-pvc-1"},
		"the default name for an only element of slashes":    {annotation + "slash}", "team-data-pvc-1"},
		"the default name before a trailing slash":           {"${.PVC.namespace}/" + annotation + "none}/", "team/team-data-pvc-1"},
		"the default name after the trailing slash of one":   {annotation + "trail}/${.PVC.labels.none}", "x/team-data-pvc-1"},
		"no empty element in the middle of the pattern":      {"a//b", "a/b"},
		"no empty element in the middle for a missing value": {"a/${.PVC.labels.none}/b", "a/b"},
		"no trailing slash of the pattern":                   {"a/b/", "a/b"},
		"no trailing slash of a value":                       {"a/" + annotation + "trail}", "a/x"},
		"no doubled slash of a value":                        {"a/" + annotation + "lead}", "a/x"},
		"values that look like patterns as they are":         {annotation + "pattern}", "${.PVC.name}"},
		"reserved names below the root":                      {"a/" + annotation + "records}", "a/.claimdir/volumes"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := ParsePattern(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.Expand(claim()); err != nil || got.String() != tt.want || p.String() != tt.pattern {
				t.Errorf("%s = %q, %v; want %q", p, got, err, tt.want)
			}
		})
	}
}

func TestExpandRefuses(t *testing.T) {
	const annotation = "${.PVC.annotations."
	for name, tt := range map[string]struct{ pattern, want string }{
		"a way out":                      {"${.PVC.namespace}/" + annotation + "out}", `gives path "team/../other": element ".." is not allowed`},
		"a way out through the middle":   {"x/" + annotation + "in}/y", `gives path "x/a/../../b/y": element ".."`},
		"a way out made of two values":   {annotation + "dot}" + annotation + "dot}/x", `element ".."`},
		"a first element that is empty":  {"${.PVC.labels.none}/${.PVC.name}", `gives path "/data": its first element came out empty`},
		"a hint with it":                 {"${.PVC.labels.none}/${.PVC.name}", "a fallback such as ${VARIABLE:-text}"},
		"a first element of slashes":     {annotation + "slashes}/x", `gives path "/x": its first element came out empty`},
		"a first element of dots":        {annotation + "dots}/x", `gives path "/x": its first element came out empty`},
		"empty elements at both ends":    {"${.PVC.labels.none}/${.PVC.labels.none}", `gives path "/team-data-pvc-1": its first element`},
		"a value of a blank":             {"a/" + annotation + "blank}", `element " " begins or ends with a blank`},
		"a blank before an element":      {"a/" + annotation + "blanks}", `element " y" begins or ends with a blank; remove the blank from the pattern, label or annotation`},
		"a blank behind an element":      {annotation + "tail}", `element "x " begins or ends with a blank`},
		"a reserved name behind a slash": {"/./" + annotation + "records}", "reserved name"},
		"the records":                    {annotation + "records}", "reserved name"},
		"an archive":                     {annotation + "archive}/x", "reserved name"},
		"a reserved name of two halves":  {"${.PVC.labels.none:-arch}ived-x", "reserved name"},
		"control characters":             {annotation + "nul}", "control character U+0000"},
		"a value that is too long":       {"a/" + annotation + "long}", "256 bytes long; at most 255 are allowed"},
		"a name that is too long, named": {"a${.PVC.name}/" + annotation + "long}", `pattern "a${.PVC.name}/${.PVC.annotations.long}" gives path "adata/vvv`},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := ParsePattern(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.Expand(claim()); err == nil || !strings.Contains(err.Error(), tt.want) || got != (Path{}) {
				t.Errorf("%s = %q, %v; want an error with %q", p, got, err, tt.want)
			}
		})
	}
	if got, err := (Pattern{}).Expand(claim()); err == nil {
		t.Errorf("the zero pattern gives %q", got)
	}
}

func TestDefaultPatternShortensInBothSpellingsAndBelowADirectory(t *testing.T) {
	v := Vars{Namespace: strings.Repeat("n", 63), Name: strings.Repeat("c", 253), PVName: "pvc-1"}
	for s, parse := range map[string]func(string) (Pattern, error){
		DefaultPattern:              ParsePattern,
		"volumes/" + DefaultPattern: ParsePattern,
		"${pvc.metadata.namespace}-${pvc.metadata.name}-${pv.metadata.name}": ParseSubDir,
	} {
		p, err := parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Expand(v); err != nil || got.Base() != DefaultName(v) {
			t.Errorf("%s = %q, %v", s, got, err)
		}
	}
}
