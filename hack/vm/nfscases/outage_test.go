//go:build vm

package nfscases

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// A hard mount, as in the manifests: a call waits for the server, however long
// it takes, and is then done once.
func TestAServerThatStopsAndComesBack(t *testing.T) {
	e := export(t, "no_root_squash")
	s := open(t, e.mount())
	calls := map[string]func() error{
		"create": func() error { _, err := s.Create(pathOf(t, "team/data"), share.Attributes{Mode: 0o2770}); return err },
		"exists": func() error { _, err := s.Exists(pathOf(t, "other")); return err },
		"record": func() error { return s.CreateMeta("one.json", []byte("{}")) },
	}
	must(t, s.MakeMeta("volumes"))
	makeParent(t, s, "team")
	e.shell("rpc.nfsd 0")
	type answer struct {
		name string
		err  error
	}
	answers := make(chan answer, len(calls))
	for name, call := range calls {
		go func() { answers <- answer{name, call()} }()
	}
	select {
	case a := <-answers:
		t.Errorf("%s answers without a server: %v", a.name, a.err)
	case <-time.After(5 * time.Second):
	}
	e.shell("nfs_start")
	for range calls {
		select {
		case a := <-answers:
			wantError(t, a.name, a.err, nil)
		case <-time.After(time.Minute):
			t.Fatal("a minute after the server's return a call still waits")
		}
	}
	wantExists(t, e.onServer("team", "data"), true)
	wantExists(t, e.onServer(".claimdir", "one.json"), true)
}

// A soft mount gives up: with EIO, or, where it fails to look at the mount's own
// root again, with ESTALE, although nothing is stale. What was asked for may be done or not, and a
// repeat is right in either case.
func TestASoftMountGivesUp(t *testing.T) {
	e := export(t, "no_root_squash")
	dir := e.mountWith("nfs_mount", "", "soft,timeo=10,retrans=2,lookupcache=positive")
	s := open(t, dir)
	p := pathOf(t, "data")
	e.shell("rpc.nfsd 0")
	start := time.Now()
	_, err := s.Create(p, share.Attributes{Mode: 0o777})
	e.shell("nfs_start")
	if text := fmt.Sprint(err); !strings.HasSuffix(text, syscall.EIO.Error()) && !strings.HasSuffix(text, syscall.ESTALE.Error()) {
		t.Errorf("create without a server: %v", err)
	}
	if took := time.Since(start); took > 40*time.Second {
		t.Errorf("it took %v", took)
	}
	eventually(t, "the server is back", func() error {
		_, err := s.Create(p, share.Attributes{Mode: 0o777})
		return err
	})
	wantExists(t, e.onServer("data"), true)
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("in a minute not: %s: %v", what, err)
}

// The server forgets what it answered when it restarts, so a call is repeated
// that was done already: mkdir and link say "exists", rename and unlink say "not
// there". Volumes come and go meanwhile, and none is lost or left.
func TestVolumesComeAndGoWhileTheServerRestarts(t *testing.T) {
	e := export(t, "no_root_squash")
	s := open(t, e.mount())
	records, err := ledger.Open(s, "id")
	must(t, err)
	var restarts atomic.Int32
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for restarts.Load() < 3 {
			e.shell("rpc.nfsd 0; nfs_start")
			restarts.Add(1)
			time.Sleep(1500 * time.Millisecond)
		}
	}()
	volumes := 0
	for ; volumes < 2 || restarts.Load() < 3; volumes++ {
		comeAndGo(t, s, records, volumes)
	}
	<-ended
	for i := range volumes {
		wantExists(t, e.onServer(fmt.Sprint("data-", i)), false)
		wantExists(t, e.onServer(fmt.Sprint("aside-", i), "f"), i%2 == 0)
	}
}

// comeAndGo makes a volume and releases it: each step again until it succeeds,
// as the provisioner does.
func comeAndGo(t *testing.T, s *share.Share, records *ledger.Ledger, i int) {
	t.Helper()
	p, aside := pathOf(t, fmt.Sprint("data-", i)), pathOf(t, fmt.Sprint("aside-", i))
	record := ledger.Record{
		State: ledger.Creating, PV: fmt.Sprint("pvc-", i), Cluster: "c",
		Claim: ledger.Claim{Namespace: "ns", Name: fmt.Sprint("data-", i)}, Policy: "delete",
	}
	var err error
	eventually(t, "the path is claimed", func() error { record, err = records.Claim(p, record, false); return err })
	eventually(t, "the directory is made", func() error { _, err := s.Create(p, share.Attributes{Mode: 0o777}); return err })
	eventually(t, "the record is active", func() error { return records.Activate(p, record) })
	write(t, s.Dir()+"/"+p.String()+"/f", "x")
	if i%2 == 0 {
		eventually(t, "it is renamed", func() error {
			if present, err := s.Exists(p); err == nil && !present {
				return nil
			}
			return s.Rename(p, aside)
		})
	} else {
		eventually(t, "it is removed", func() error { return s.Remove(p) })
	}
	eventually(t, "the record is forgotten", func() error { return records.Forget(p) })
	if _, known, err := records.Lookup(p); known || err != nil {
		t.Errorf("record of %s: %v, %v", p, known, err)
	}
}
