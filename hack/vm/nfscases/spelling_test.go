//go:build vm

package nfscases

import (
	"os"
	"strings"
	"testing"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// A server may take upper and lower case for the same, and two ways to write one
// letter. Then two paths are one directory, and the second claim must not get
// it, nor anything inside. Only ext4 can be made so by the directory.
func TestAShareThatIgnoresSpelling(t *testing.T) {
	version, _ := setting(t)
	t.Setenv("NFS_MOUNT", version+"-ext4")
	e := export(t, "no_root_squash")
	e.shell(`chattr +F "$1"`, e.onServer())
	s := open(t, e.mount())
	for first, others := range map[string][]string{
		"Data":          {"data", "DATA", "data/inside"},
		"caf\u00e9":     {"cafe\u0301", "CAF\u00c9", "cafe\u0301/inside"},
		"Team/Database": {"team/Database", "Team/database", "Team/database/inside"},
	} {
		id := create(t, s, pathOf(t, first), 0o770)
		if present, err := s.Exists(pathOf(t, first)); err != nil || !present {
			t.Errorf("%s: exists %v, %v", first, present, err)
		}
		if found, err := s.Look(pathOf(t, first), nil); err != nil || id.Match(found) != share.Same {
			t.Errorf("%s: it is %+v, %v; made was %+v", first, found, err, id)
		}
		for _, other := range others {
			_, err := s.Create(pathOf(t, other), share.Attributes{Mode: 0o777}, nil)
			wantError(t, "create "+other, err, share.ErrSpelling)
			if !strings.HasSuffix(other, "/inside") {
				_, err = s.Exists(pathOf(t, other))
				wantError(t, "exists "+other, err, share.ErrSpelling)
				_, err = s.Look(pathOf(t, other), nil)
				wantError(t, "look at "+other, err, share.ErrSpelling)
			}
		}
		info, err := os.Stat(e.onServer(first))
		if err != nil || info.Mode().Perm() != 0o770 {
			t.Errorf("%s: %v, %v", first, info.Mode(), err)
		}
	}

	l, err := ledger.Open(s, "id")
	must(t, err)
	_, err = l.Take(pathOf(t, "Ledger"), ledger.Record{State: ledger.Creating, PV: "pvc-1"}, false)
	must(t, err)
	_, err = l.Take(pathOf(t, "ledger"), ledger.Record{State: ledger.Creating, PV: "pvc-2"}, true)
	if err == nil || !strings.Contains(err.Error(), `it is that of path "Ledger"; the share does not tell the two names apart`) {
		t.Errorf("a second record of the same file: %v", err)
	}
}
