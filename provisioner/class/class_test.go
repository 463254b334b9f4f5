package class

import (
	"slices"
	"strings"
	"testing"

	"claimdir/provisioner/volpath"
)

func TestNothingGivenMeansTheDefaults(t *testing.T) {
	empty, written := map[string]string{"example.com/team": "x"}, map[string]string{}
	for _, p := range Parameters() {
		empty[p.Name] = ""
		if p.Default != "" {
			written[p.Name] = p.Default
		}
	}
	for name, params := range map[string]map[string]string{
		"no parameters": nil, "empty values, as the charts write them": empty, "the defaults of the table": written,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Parse(params)
			if err != nil {
				t.Fatal(err)
			}
			if c.Pattern.String() != volpath.DefaultPattern || c.OnDelete != Archive || c.OnExisting != Refuse || c.Mode != 0o777 {
				t.Errorf("got %+v", c)
			}
			if c.UID != nil || c.GID != nil {
				t.Error("an owner is set that nobody asked for")
			}
		})
	}
}

func TestParseReadsEveryParameter(t *testing.T) {
	c, err := Parse(map[string]string{
		"pathPattern": "${.PVC.namespace}/${.PVC.name}", "onDelete": "Retain", "onExisting": "ADOPT", "mode": "3770", "uid": "0", "gid": "4294967294",
		"onOverSize": "Freeze",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Pattern.String() != "${.PVC.namespace}/${.PVC.name}" || c.OnDelete != Retain || c.OnExisting != Adopt || c.Mode != 0o3770 || c.OnOverSize != Freeze {
		t.Errorf("got %+v", c)
	}
	if c.UID == nil || *c.UID != 0 || c.GID == nil || *c.GID != 4294967294 {
		t.Error("owner or group is not the one given")
	}
}

func TestSharesAreNames(t *testing.T) {
	for given, want := range map[string][]string{"": nil, "fast": {"fast"}, "fast,bulk": {"fast", "bulk"}, "fast , bulk-2.x": {"fast", "bulk-2.x"}} {
		if c, err := Parse(map[string]string{"share": given}); err != nil || !slices.Equal(c.Shares, want) {
			t.Errorf("%q: %q, %v", given, c.Shares, err)
		}
	}
}

func TestSubDirIsTheOtherSpelling(t *testing.T) {
	c, err := Parse(map[string]string{"pathPattern": "", "subDir": "${pvc.metadata.namespace}/${pvc.metadata.name}"})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := c.Pattern.Expand(volpath.Vars{Namespace: "team", Name: "data"}); err != nil || p.String() != "team/data" {
		t.Errorf("%q, %v", p, err)
	}
}

func TestOnDeleteWinsOverArchiveOnDelete(t *testing.T) {
	for _, tt := range []struct {
		onDelete, archiveOnDelete string
		want                      Policy
	}{
		{"", "", Archive}, {"", "true", Archive}, {"", "FALSE", Delete}, {"", "False", Delete}, {"", "0", Delete}, {"", "tRuE", Archive},
		{"delete", "true", Delete}, {"DELETE", "", Delete}, {"retain", "false", Retain}, {"Archive", "false", Archive},
	} {
		c, err := Parse(map[string]string{"onDelete": tt.onDelete, "archiveOnDelete": tt.archiveOnDelete})
		if err != nil || c.OnDelete != tt.want {
			t.Errorf("%+v: %q, %v", tt, c.OnDelete, err)
		}
	}
}

func TestModeIsWrittenAsForChmod(t *testing.T) {
	for s, want := range map[string]uint32{"0": 0, "700": 0o700, "0750": 0o750, "2770": 0o2770, "1777": 0o1777, "3777": 0o3777} {
		if c, err := Parse(map[string]string{"mode": s}); err != nil || c.Mode != want {
			t.Errorf("%s: %o, %v", s, c.Mode, err)
		}
	}
}

func TestParseRefusesAndSaysWhatIsAllowed(t *testing.T) {
	for name, tt := range map[string]struct{ key, value, want string }{
		"an unknown key":             {"onDelte", "x", `unknown parameter "onDelte"; allowed are "pathPattern", "subDir", "onDelete"`},
		"a key in other letter case": {"ondelete", "delete", `unknown parameter "ondelete"`},
		"an unknown key, empty":      {"server", "", `unknown parameter "server"`},
		"a share by path":            {"share", "/export", `parameter "share": "/export" is an exported path`},
		"a share without a name":     {"share", "fast,", `parameter "share": "" is no name of a share`},
		"a share named twice":        {"share", "fast,bulk, fast", `parameter "share": "fast" is named twice`},
		"a bad pattern":              {"pathPattern", "${.PVC.nmae}", `parameter "pathPattern": pattern "${.PVC.nmae}": unknown variable "${.PVC.nmae}"; allowed are`},
		"a bad subDir":               {"subDir", "${.PVC.name}", `parameter "subDir": pattern "${.PVC.name}": unknown variable`},
		"a pattern that gets out":    {"pathPattern", "a/../b", `element ".." is not allowed`},
		"an unknown policy":          {"onDelete", "keep", `parameter "onDelete": "keep" is not allowed; allowed are "delete", "archive" and "retain"`},
		"a padded policy":            {"onDelete", " delete", `" delete" is not allowed`},
		"a bad boolean":              {"archiveOnDelete", "yes", `parameter "archiveOnDelete": "yes" is not allowed; allowed are "true" (archive) and "false" (delete)`},
		"an unknown answer":          {"onExisting", "share", `parameter "onExisting": "share" is not allowed; allowed are "refuse" and "adopt"`},
		"an unknown limit":           {"onOverSize", "stop", `parameter "onOverSize": "stop" is not allowed; allowed are "ignore", "tell" and "freeze"`},
		"a mode with a nine":         {"mode", "0779", `parameter "mode": "0779" is not a mode; allowed are octal digits up to 3777`},
		"a mode with words":          {"mode", "u=rwx", "octal digits up to 3777"},
		"a mode of six digits":       {"mode", "002770", "octal digits up to 3777"},
		"a signed mode":              {"mode", "-1", "octal digits up to 3777"},
		"a mode in Go's spelling":    {"mode", "0o77", "octal digits up to 3777"},
		"setuid":                     {"mode", "4755", `"4755" has the setuid bit (4000), which means nothing on a directory; up to 3777 is allowed`},
		"a user by name":             {"uid", "nobody", `parameter "uid": "nobody" is not an id; a decimal number from 0 to 4294967294 is allowed`},
		"a negative group":           {"gid", "-1", `parameter "gid": "-1" is not an id`},
		"the id that means none":     {"gid", "4294967295", `"4294967295" is not an id`},
		"an id that is too large":    {"uid", "4294967296", `"4294967296" is not an id`},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Parse(map[string]string{tt.key: tt.value})
			if err == nil || !strings.Contains(err.Error(), tt.want) || c.OnDelete != "" {
				t.Errorf("%+v, %v; want an error with %q", c, err, tt.want)
			}
		})
	}
}

func TestTwoSpellingsOfThePatternAreRefused(t *testing.T) {
	_, err := Parse(map[string]string{"pathPattern": "a", "subDir": "b"})
	if want := `parameters "pathPattern" and "subDir" are two spellings of the same`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v", err)
	}
}

func TestAllProblemsAreNamedAtOnceAndInOrder(t *testing.T) {
	params := map[string]string{
		"zone": "a", "Mode": "0777", "gid": "g", "uid": "u", "share": "/s", "mode": "m", "onExisting": "e", "archiveOnDelete": "b", "onDelete": "d",
		"pathPattern": "${x}", "example.com/zone": "b",
	}
	want := []string{`"pathPattern": `, `"onDelete": `, `"archiveOnDelete": `, `"onExisting": `, `"mode": `, `"uid": `, `"gid": `, `"share": `, `"Mode"; `, `"zone"; `}
	for range 20 { // maps come in any order
		_, err := Parse(params)
		if err == nil {
			t.Fatal("accepted")
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(want) {
			t.Fatalf("%d problems, want %d:\n%v", len(lines), len(want), err)
		}
		for i, line := range lines {
			if !strings.Contains(line, want[i]) {
				t.Errorf("problem %d is %q, want one of %s", i, line, want[i])
			}
		}
	}
}

func TestParsePolicy(t *testing.T) {
	for s, want := range map[string]Policy{"delete": Delete, "Archive": Archive, "RETAIN": Retain} {
		if got, err := ParsePolicy(s); err != nil || got != want {
			t.Errorf("%s: %q, %v", s, got, err)
		}
	}
	if got, err := ParsePolicy(""); err == nil || !strings.Contains(err.Error(), `allowed are "delete", "archive" and "retain"`) {
		t.Errorf("the empty policy: %q, %v", got, err)
	}
}
