package archives

import (
	"testing"

	"claimdir/provisioner/ledger"
)

func TestNear(t *testing.T) {
	s := newShare(t, "",
		kept{claim: "team-a/data", pv: "pvc-1", since: daysAgo(1)}, kept{claim: "team-a/logs", pv: "pvc-2", since: daysAgo(2)}, kept{claim: "team-b/data", pv: "pvc-3"},
		kept{claim: "web/data", pv: "pvc-4"}, kept{claim: "other/data", pv: "pvc-5", change: func(r *ledger.Record) { r.Claim.Namespace = "we\x1b" }})
	write(t, s, "archived-team-peer/file", "")
	all := findAll(t, s)
	for _, tt := range []struct{ namespace, claim, want string }{
		{"team-a", "dat", "the namespace has archives of team-a/data (pvc-1), team-a/logs (pvc-2)"},
		{"team", "", "there are archives of namespace team-a, team-b"},
		{"team", "data", "there are archives of namespace team-a, team-b"},
		{"taem-a", "", "there are archives of namespace team-a"},
		{"teamb", "", "there are archives of namespace team-a, team-b"},
		{"w", "", "there are archives of 4 namespaces"},
		{"", "", "there are archives of 4 namespaces"},
		{"wex", "", "there are archives of namespace we?, web"},
		{"shop", "data", "there are archives of 4 namespaces"},
	} {
		if got := Near(all, "archives", tt.namespace, tt.claim); got != tt.want {
			t.Errorf("%s/%s: %q, want %q", tt.namespace, tt.claim, got, tt.want)
		}
	}
	if got := Near(nil, "archives", "team", ""); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"team", "team", 0}, {"team", "tema", 2}, {"team", "teams", 1}, {"team", "beam", 1}, {"kitten", "sitting", 3}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
