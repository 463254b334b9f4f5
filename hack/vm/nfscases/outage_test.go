//go:build vm

package nfscases

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"claimdir/provisioner/share"
)

// A hard mount, as in the manifests: a call waits for the server, however long
// it takes, and is then done once.
func TestAServerThatStopsAndComesBack(t *testing.T) {
	e := export(t, "no_root_squash")
	s := open(t, e.mount())
	calls := map[string]func() error{
		"create": func() error {
			_, err := s.Create(pathOf(t, "team/data"), share.Attributes{Mode: 0o2770}, nil)
			return err
		},
		"exists": func() error { _, err := s.Exists(pathOf(t, "other")); return err },
		"record": func() error { return s.CreateFile("one.json", "one.new", []byte("{}")) },
	}
	must(t, s.MakeMeta("records"))
	create(t, s, pathOf(t, "team/other"), 0o777)
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
	_, err := s.Create(p, share.Attributes{Mode: 0o777}, nil)
	e.shell("nfs_start")
	if text := fmt.Sprint(err); !strings.HasSuffix(text, syscall.EIO.Error()) && !strings.HasSuffix(text, syscall.ESTALE.Error()) {
		t.Errorf("create without a server: %v", err)
	}
	if took := time.Since(start); took > 40*time.Second {
		t.Errorf("it took %v", took)
	}
	eventually(t, "the server is back", func() error {
		_, err := s.Create(p, share.Attributes{Mode: 0o777}, nil)
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
	dir := e.mount()
	p, err := openProcess(dir)
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
		comeAndGo(t, p, volumes)
	}
	<-ended
	for i := range volumes {
		wantExists(t, e.onServer(fmt.Sprint("data-", i)), false)
		wantExists(t, e.onServer(fmt.Sprint("archived-ns-claim-pvc-", i), "f"), i%2 == 0)
	}
	names, err := os.ReadDir(e.onServer(".claimdir", "trash"))
	if err != nil || len(names) > 0 {
		t.Errorf("the trash holds %v, %v", names, err)
	}
}

// comeAndGo makes a volume and releases it: each step again until it succeeds,
// as the provisioner does.
func comeAndGo(t *testing.T, p process, i int) {
	t.Helper()
	policy := "delete"
	if i%2 == 0 {
		policy = "archive"
	}
	v, err := volumeOf(fmt.Sprint("data-", i), fmt.Sprint("pvc-", i), policy)
	must(t, err)
	eventually(t, "it is made", func() error { return p.provision(t.Context(), v) })
	write(t, p.on.Store.Dirs.Dir()+"/"+v.Path.String()+"/f", "x")
	eventually(t, "it is released", func() error { return p.release(t.Context(), v) })
	eventually(t, "the trash is emptied", func() error { return p.lookAfter(t.Context()) })
	if r, known, err := p.on.Store.Records.Lookup(v.Path); known || err != nil {
		t.Errorf("record of %s: %+v, %v, %v", v.Path, r, known, err)
	}
}
