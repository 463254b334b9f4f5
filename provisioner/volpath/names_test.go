package volpath

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestShortenKeepsWhatFits(t *testing.T) {
	for _, s := range []string{"", "a", strings.Repeat("a", 255)} {
		if got := Shorten(s, 255); got != s {
			t.Errorf("Shorten(%q) = %q", s, got)
		}
	}
}

func TestShortenCutsToTheLimitAndKeepsTextsApart(t *testing.T) {
	long := strings.Repeat("a", 300)
	got := Shorten(long, 255)
	// The hash is part of names on shares: it must never change.
	if want := strings.Repeat("a", 238) + "-9835fa6bf4e20a9b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if other := Shorten(long+"b", 255); other == got {
		t.Error("two texts became one")
	}
}

func TestShortenNeverSplitsACharacter(t *testing.T) {
	long := strings.Repeat("é", 100) + strings.Repeat("数", 100)
	for limit := range len(long) {
		if got := Shorten(long, limit); len(got) > limit || !utf8.ValidString(got) {
			t.Errorf("limit %d: %q of %d bytes", limit, got, len(got))
		}
	}
}

func TestDefaultNameIsOneElementForAnyName(t *testing.T) {
	for name, tt := range map[string]struct {
		v    Vars
		want string
	}{
		"the peer's name":       {Vars{Namespace: "team", Name: "data", PVName: "pvc-1"}, "team-data-pvc-1"},
		"names Kubernetes bars": {Vars{Namespace: "../x", Name: "a\nb", PVName: "p\xff"}, "..-x-a-b-p-"},
		"a name that is cut":    {Vars{Namespace: strings.Repeat("n", 63), Name: strings.Repeat("c", 253), PVName: "pvc-1"}, "nnn"},
	} {
		t.Run(name, func(t *testing.T) {
			got := DefaultName(tt.v)
			if p, err := Parse(got); err != nil || len(p.Elements()) != 1 || !strings.HasPrefix(got, tt.want) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestArchiveNames(t *testing.T) {
	long := strings.Repeat("c", 253)
	for name, tt := range map[string]struct {
		namespace, claim, pv string
		n                    int
		prefix, suffix       string
	}{
		"are the peer's for default paths":    {"team", "data", "pvc-1", 1, "archived-team-data-pvc-1", "-pvc-1"},
		"have no number before the second":    {"team", "data", "pvc-1", 0, "archived-team-data-pvc-1", "-pvc-1"},
		"are numbered from the second on":     {"team", "data", "pvc-1", 2, "archived-team-data-pvc-1-2", "-2"},
		"keep the number when they are cut":   {"team", long, "pvc-1", 12, "archived-team-ccc", "-12"},
		"are cut to fit":                      {"team", long, "pvc-1", 1, "archived-team-ccc", ""},
		"are one element whatever the inputs": {"../..", "a/b\x00\n", "\xff", 1, "archived-..-..-a-b----", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := Archive(tt.namespace, tt.claim, tt.pv, tt.n)
			if !strings.HasPrefix(p.String(), tt.prefix) || !strings.HasSuffix(p.String(), tt.suffix) {
				t.Errorf("got %q", p)
			}
			if back, err := ParseRecorded(p.String()); err != nil || back != p {
				t.Errorf("the ledger reads %q, %v", back, err)
			}
		})
	}
}

func TestArchiveNamesStayApartWhenCut(t *testing.T) {
	long := strings.Repeat("c", 253)
	seen := map[Path]bool{}
	for _, pv := range []string{"pvc-1", "pvc-2"} {
		for n := range 4 {
			seen[Archive("team", long, pv, n+1)] = true
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d names for 8 archives", len(seen))
	}
}
