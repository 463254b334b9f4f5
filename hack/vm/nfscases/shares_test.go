//go:build vm

package nfscases

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

func (e exported) source() share.Source {
	return share.Source{Server: "127.0.0.1", Path: e.onServer()}
}

func wantMounts(t *testing.T, dir string, want ...share.Mount) {
	t.Helper()
	found, err := share.FindMounts(dir)
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("%s: found %+v, %v; want %+v", dir, found, err, want)
	}
}

// What the kernel writes into the mount table, for each version and form.
func TestSharesAreFoundInTheMountTable(t *testing.T) {
	e := export(t, "no_root_squash")
	must(t, os.MkdirAll(e.onServer("sub", "di r"), 0o755))
	dir := e.mount()
	wantMounts(t, dir, share.Mount{Dir: dir, Source: e.source()})

	bound := t.TempDir()
	e.shell(`mount --bind "$1" "$2"`, filepath.Join(dir, "sub", "di r"), bound)
	t.Cleanup(func() { e.shell(`umount "$1"`, bound) })
	wantMounts(t, bound, share.Mount{Dir: bound, Source: share.Source{Server: "127.0.0.1", Path: e.onServer("sub", "di r")}})

	several := t.TempDir()
	for _, name := range []string{"fast", "bulk"} {
		e.shell(`mkdir "$2" && mount --bind "$1" "$2"`, dir, filepath.Join(several, name))
		t.Cleanup(func() { e.shell(`umount "$1"`, filepath.Join(several, name)) })
	}
	wantMounts(t, several, share.Mount{Name: "bulk", Dir: several + "/bulk", Source: e.source()}, share.Mount{Name: "fast", Dir: several + "/fast", Source: e.source()})
}

func TestAShareByAnIPv6Address(t *testing.T) {
	e := export(t, "no_root_squash")
	version, _ := setting(t)
	dir := t.TempDir()
	e.shell(`ip link set lo up; mount -t nfs -o "vers=$1,nolock" "[::1]:$2" "$3"`, strings.TrimPrefix(version, "v"), e.onServer(), dir)
	t.Cleanup(func() { e.shell(`umount "$1"`, dir) })
	wantMounts(t, dir, share.Mount{Dir: dir, Source: share.Source{Server: "::1", Path: e.onServer()}})
}

// NFSv4 has a root of its own, and mounts what it finds below by itself.
func TestTheRootOfAServer(t *testing.T) {
	e := export(t, "no_root_squash")
	version, _ := setting(t)
	if version == "v3" {
		return // it knows exports only
	}
	dir := t.TempDir()
	e.shell(`mount -t nfs -o "vers=$1" 127.0.0.1:/ "$2"`, strings.TrimPrefix(version, "v"), dir)
	t.Cleanup(func() { e.shell(`umount -R "$1" || umount -l "$1"`, dir) })
	want := share.Mount{Dir: dir, Source: share.Source{Server: "127.0.0.1", Path: "/"}}
	wantMounts(t, dir, want)
	_, err := os.ReadDir(dir + e.onServer())
	must(t, err)
	wantMounts(t, dir, want)
}

// keep runs a keeper of the share at dir.
func keep(t *testing.T, dir string, source share.Source) *access.Keeper {
	t.Helper()
	k := access.New(access.Config{
		Mount: share.Mount{Dir: dir, Source: source}, NewID: "share-1", Timeout: 2 * time.Second, Slots: 4, Changed: func() {},
		Known: func() ([]volpath.Path, bool) { return nil, true },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); k.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	ready(t, k)
	return k
}

func ready(t *testing.T, k *access.Keeper) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := k.WaitReady(ctx); err != nil {
		t.Fatalf("%v; the share says %v", err, k.Ready())
	}
}

func make1(t *testing.T, k *access.Keeper, name string) error {
	t.Helper()
	return k.Do(t.Context(), name, func(_ context.Context, store ledger.Store) error {
		_, err := store.Dirs.Create(pathOf(t, name), share.Attributes{Mode: 0o755}, nil)
		return err
	})
}

func wantTrouble(t *testing.T, err error, kind access.Kind) {
	t.Helper()
	if trouble, ok := errors.AsType[*access.Trouble](err); !ok || trouble.Kind != kind {
		t.Errorf("%v, want trouble of the kind %s", err, kind)
	}
}

// A hard mount whose server is away: operations are given up, and it is ready
// again by itself.
func TestAKeptShareOutlivesItsServer(t *testing.T) {
	e := export(t, "no_root_squash")
	k := keep(t, e.mount(), e.source())
	must(t, make1(t, k, "before"))
	e.shell("rpc.nfsd 0")
	wantTrouble(t, make1(t, k, "during"), access.Stalled)
	eventually(t, "the share is stalled", func() error {
		if k.Ready() == nil {
			return errors.New("it is ready")
		}
		return nil
	})
	wantTrouble(t, make1(t, k, "refused"), access.Stalled)
	e.shell("nfs_start")
	ready(t, k)
	must(t, make1(t, k, "after"))
	eventually(t, "what was given up has ended", func() error {
		if k.Stuck() > 0 {
			return errors.New("it hangs")
		}
		return nil
	})
	wantExists(t, e.onServer("refused"), false)
}

// A share that is unmounted is no empty share, nor is the one that is mounted in
// its place.
func TestAKeptShareThatIsUnmounted(t *testing.T) {
	e := export(t, "no_root_squash")
	must(t, os.MkdirAll(e.onServer("one"), 0o777))
	must(t, os.MkdirAll(e.onServer("two"), 0o777))
	_, filesystem := setting(t)
	version, _ := setting(t)
	dir := t.TempDir()
	mount := func(below string) {
		e.shell(`nfs_mount "$@"`, version, filepath.Join(filesystem, e.squash, e.subtree, below), dir, os.Getenv("NFS_OPTIONS"))
	}
	mount("one")
	unmounted := func() { e.shell(`umount "$1"`, dir) }
	k := keep(t, dir, share.Source{Server: "127.0.0.1", Path: e.onServer("one")})
	must(t, make1(t, k, "data"))
	unmounted()
	wantTrouble(t, make1(t, k, "nowhere"), access.WrongPlace)
	mount("two")
	eventually(t, "it is refused", func() error {
		if err := k.Ready(); err == nil {
			return errors.New("it is ready")
		}
		return nil
	})
	wantTrouble(t, make1(t, k, "nowhere"), access.WrongPlace)
	unmounted()
	mount("one")
	t.Cleanup(unmounted)
	ready(t, k)
	must(t, make1(t, k, "again"))
	entries, err := os.ReadDir(e.onServer("two"))
	if err != nil || len(entries) > 0 {
		t.Errorf("made on the wrong share: %v, %v", entries, err)
	}
	wantExists(t, e.onServer("one", "again"), true)
}
