//go:build vm

package nfscases

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/resource"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/quota"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volume"
)

const mebi = 1 << 20

// limited is a file system of its own with project quotas, with an exported share on it.
type limited struct {
	t   *testing.T
	top string // where the server has the file system
	dir string // where it has the share
}

// limit makes a file system of the kind that this run is for.
func limit(t *testing.T) limited {
	t.Helper()
	return limitTo(t, 400)
}

// limitTo makes one of some size.
func limitTo(t *testing.T, mebibytes int64) limited {
	t.Helper()
	_, filesystem := setting(t)
	l := limited{t: t, top: "/srv/quota-" + filesystem + "-" + strings.ReplaceAll(t.Name(), "/", "-")}
	l.dir = filepath.Join(l.top, "share")
	l.shell(`modprobe quota_v2; mkdir -p "$1"; truncate -s "$3M" "$1.img"
		case $2 in
		ext4) mkfs.ext4 -q -O quota,project -E nodiscard,quotatype=prjquota "$1.img" ;;
		xfs) mkfs.xfs -q -K "$1.img" ;;
		esac
		mount -o loop,prjquota "$1.img" "$1"; mkdir -m 777 "$1/share"`, l.top, filesystem, fmt.Sprint(mebibytes))
	t.Cleanup(func() {
		l.shell(`umount "$1" || { sleep 2; umount "$1"; } || umount -l "$1"; rm -f "$1.img"; rmdir "$1"`, l.top)
	})
	return l
}

func (l limited) shell(line string, args ...string) string {
	l.t.Helper()
	return exported{t: l.t}.shell(line, args...)
}

// mount exports the share, and mounts it as claimdir's own mount is.
func (l limited) mount() string {
	l.t.Helper()
	version, filesystem := setting(l.t)
	// Runs on the other file system may have the same test at this time.
	fsid := 100 + len(l.t.Name()) + map[string]int{"xfs": 1000}[filesystem]
	dir := l.t.TempDir()
	must(l.t, os.Chmod(filepath.Dir(dir), 0o755)) // or a user does not reach it
	l.shell(`exportfs -o rw,async,no_subtree_check,no_root_squash,fsid="$2" "*:$1"`, l.dir, fmt.Sprint(fsid))
	l.t.Cleanup(func() { l.shell(`exportfs -u "*:$1"; exportfs -f`, l.dir) })
	l.shell(`nfs_mount "$@"`, version, strings.TrimPrefix(l.dir, "/srv/"), dir, os.Getenv("NFS_OPTIONS"))
	l.t.Cleanup(func() { l.shell(`nfs_umount "$1"`, dir) })
	return dir
}

// claimed is the volume of a claim of some size.
func claimed(t *testing.T, path, pv, policy, size string, archived ...string) (v volume.Volume) {
	t.Helper()
	v, err := volumeOf(append([]string{path, pv, policy}, archived...)...)
	must(t, err)
	v.Size = resource.MustParse(size)
	return v
}

// provisionAll makes volumes on the share as this process sees it at dir.
func provisionAll(t *testing.T, dir string, volumes ...volume.Volume) process {
	t.Helper()
	p, err := openProcess(dir)
	must(t, err)
	for _, v := range volumes {
		must(t, p.provision(t.Context(), v))
	}
	return p
}

// setQuotas makes one run of claimdir quota, and returns what it says.
func setQuotas(t *testing.T, dir string, call share.Call) (said string, err error) {
	t.Helper()
	var out bytes.Buffer
	job, err := quota.Open(quota.Config{Dir: dir, Base: quota.DefaultBase, Once: true, Out: &out, Call: call})
	if err != nil {
		return "", err
	}
	defer job.Close()
	err = job.Run(t.Context())
	return out.String(), err
}

func mustSetQuotas(t *testing.T, dir string) string {
	t.Helper()
	said, err := setQuotas(t, dir, nil)
	t.Logf("claimdir quota says:\n%s", said)
	must(t, err)
	return said
}

// setQuotasAsService makes one run with no more capabilities than manifests/quota/claimdir-quota@.service leaves.
func setQuotasAsService(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	command := exec.Command("setpriv", "--bounding-set=-all,+sys_admin,+sys_resource,+fowner,+dac_override,+dac_read_search", "--no-new-privs", self, "quota", dir)
	command.Env = append(os.Environ(), actingAs+"=1")
	out, err := command.CombinedOutput()
	t.Logf("claimdir quota says:\n%s", out)
	must(t, err)
	return string(out)
}

// attributesOf returns the project id, and whether it is handed down, as the server's file system has them.
func attributesOf(t *testing.T, path string) (id uint32, inherited bool) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	var a struct {
		flags, extentSize, extents, project, cowExtentSize uint32
		_                                                  [8]byte
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), 0x801c581f, uintptr(unsafe.Pointer(&a))); errno != 0 { // FS_IOC_FSGETXATTR
		t.Fatalf("%s: %v", path, errno)
	}
	return a.project, a.flags&0x200 != 0 // FS_XFLAG_PROJINHERIT
}

// wantProject fails unless all below top, itself included, has the id; 0 wants none.
func wantProject(t *testing.T, top string, want uint32) {
	t.Helper()
	must(t, filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() && !e.Type().IsRegular() {
			return err
		}
		id, inherited := attributesOf(t, path)
		if id != want || inherited != (e.IsDir() && want != 0) {
			t.Errorf("%s has project id %d, handed down %v; want %d", path, id, inherited, want)
		}
		return nil
	}))
}

func wantLimit(t *testing.T, dir string, id uint32, want uint64) share.ProjectUsage {
	t.Helper()
	usage, err := open(t, dir).ProjectUsage(id)
	must(t, err)
	if usage.Limit != want {
		t.Errorf("project %d: limit %d, want %d", id, usage.Limit, want)
	}
	return usage
}

// wantEnforced checks what claimdir usage learns of the volume ns/data without a walk: its size, and how much is used,
// which is least to most.
func wantEnforced(t *testing.T, dir string, size uint64, least, most int64) {
	t.Helper()
	s := open(t, dir)
	room, err := s.Room()
	must(t, err)
	found, err := s.Enforced(pathOf(t, "ns/data"), nil, room)
	must(t, err)
	if found.Limit != int64(size) || found.Bytes < least || found.Bytes > most {
		t.Errorf("the server says %+v, want a limit of %d and from %d to %d bytes used", found, size, least, most)
	}
	if found, err := s.Enforced(pathOf(t, "ns"), nil, room); err != nil || found != (share.Usage{}) {
		t.Errorf("of a directory without a limit it says %+v, %v", found, err)
	}
}

// sizeOf is what df shows.
func sizeOf(t *testing.T, dir string) uint64 {
	t.Helper()
	var stat unix.Statfs_t
	must(t, unix.Statfs(dir, &stat))
	return stat.Blocks * uint64(stat.Bsize)
}

// fill writes a file of so many MiB as a user, and returns what dd says; no text if it was written.
func fill(t *testing.T, user, path string, megabytes int) string {
	t.Helper()
	out, err := exec.Command("setpriv", "--reuid", user, "--regid", user, "--clear-groups",
		"dd", "if=/dev/zero", "of="+path, "bs=1M", fmt.Sprint("count=", megabytes), "conv=fsync").CombinedOutput()
	if err == nil {
		return ""
	}
	return string(out)
}

// full is what a program is told past the limit.
func full(t *testing.T) string {
	t.Helper()
	if _, filesystem := setting(t); filesystem == "xfs" {
		return "No space left on device"
	}
	return "Disk quota exceeded"
}

// A volume holds what its claim says, and shows that as its size; an expansion raises both at once.
func TestQuotaHoldsAVolumeToItsClaim(t *testing.T) {
	l := limit(t)
	dir := l.mount()
	v := claimed(t, "ns/data", "pvc-1", "delete", "16Mi")
	p := provisionAll(t, dir, v, claimed(t, "other", "pvc-2", "delete", "300Mi"))
	must(t, os.Mkdir(dir+"/ns/data/before", 0o777))
	must(t, os.Chmod(dir+"/ns/data/before", 0o777))
	whole := sizeOf(t, dir)
	mustSetQuotas(t, l.dir)

	if got := sizeOf(t, dir+"/ns/data"); got != 16*mebi {
		t.Errorf("the volume's size is %d", got)
	}
	if got := sizeOf(t, dir); got != whole {
		t.Errorf("the share's size is %d, was %d", got, whole)
	}
	wantEnforced(t, dir, 16*mebi, 0, 4*mebi)
	if said := fill(t, "1000", dir+"/ns/data/before/small", 8); said != "" {
		t.Errorf("within the limit: %s", said)
	}
	most := int64(12 * mebi)
	if _, filesystem := setting(t); filesystem == "xfs" {
		most = 16 * mebi // it reserves more blocks for a file that grows, gives them back later, and counts them meanwhile
	}
	wantEnforced(t, dir, 16*mebi, 8*mebi, most)
	if said := fill(t, "1000", dir+"/ns/data/large", 16); !strings.Contains(said, full(t)) {
		t.Errorf("past the limit: %q, want %q", said, full(t))
	}
	if said := fill(t, "1000", dir+"/other/large", 24); said != "" {
		t.Errorf("in another volume: %s", said)
	}
	root := fill(t, "0", dir+"/ns/data/of-root", 24)
	if _, filesystem := setting(t); (filesystem == "xfs") != strings.Contains(root, full(t)) {
		t.Errorf("of root, whom only XFS holds to the limit: %q", root)
	}
	must(t, os.RemoveAll(dir+"/ns/data/of-root")) // perhaps there was not even room for its name

	var out bytes.Buffer
	job, err := quota.Open(quota.Config{Dir: l.dir, Base: quota.DefaultBase, Every: time.Second, Out: &out})
	must(t, err)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- job.Run(ctx) }()
	must(t, p.steps.On(t.Context(), p.on, v.Path, "expand", func(_ context.Context, op steps.Op) error { return op.RecordSize(v, resource.MustParse("48Mi")) }))
	grown := time.Now()
	eventually(t, "the volume has grown", func() error {
		if got := sizeOf(t, l.dir+"/ns/data"); got != 48*mebi {
			return fmt.Errorf("it has %d bytes", got)
		}
		return nil
	})
	t.Logf("grown %s after the record, by passes each second", time.Since(grown))
	if said := fill(t, "1000", dir+"/ns/data/large", 24); said != "" {
		t.Errorf("within the new limit: %s", said)
	}
	end()
	must(t, <-ended)
	job.Close()
	if want := "volume ns/data: limit 48Mi, was 16Mi\n"; out.String() != want {
		t.Errorf("it says %q, want %q", out.String(), want)
	}

	// As docs/quota.md takes them off.
	l.shell(`sed -n 's/^{"id":\([0-9]*\),.*/\1/p' "$1/.claimdir/projects.json" |
		while read -r id; do [ "$id" -ge 1000000 ] && setquota -P "$id" 0 0 0 0 "$2"; done`, l.dir, l.top)
	if got := sizeOf(t, dir+"/ns/data"); got != whole {
		t.Errorf("without limits the volume's size is %d, the share's was %d", got, whole)
	}
}

// What a volume holds already gets the id, whatever it is, and nothing outside, wherever links and
// mounts lead; a volume that holds more than its claim says keeps it.
func TestQuotaCoversWhatIsThere(t *testing.T) {
	l := limit(t)
	dir := l.mount()
	provisionAll(t, dir, claimed(t, "data", "pvc-1", "delete", "1Mi"))
	outside := l.top + "/outside"
	must(t, os.MkdirAll(outside+"/sub", 0o777))
	write(t, outside+"/file", "not a volume's")
	data := dir + "/data"
	deep := data + "/deep" + strings.Repeat("/d", 300)
	must(t, os.MkdirAll(deep, 0o755))
	write(t, deep+"/file", "deep")
	for i := range 1500 { // more than one listing gives
		write(t, fmt.Sprintf("%s/data/deep/file-%d", l.dir, i), "")
	}
	write(t, data+"/large", strings.Repeat("x", 3*mebi))
	must(t, os.Link(data+"/large", data+"/deep/second-name"))
	must(t, os.Symlink("../outside", l.dir+"/data/link"))
	must(t, os.Symlink("../outside/file", l.dir+"/data/link-to-file"))
	must(t, unix.Mkfifo(l.dir+"/data/pipe", 0o666))
	must(t, unix.Mknod(l.dir+"/data/device", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, os.Mkdir(l.dir+"/data/mounted", 0o755))
	l.shell(`mount --bind "$1" "$2"`, outside, l.dir+"/data/mounted")
	t.Cleanup(func() { l.shell(`umount "$1" 2>/dev/null || :`, l.dir+"/data/mounted") })

	dry := func() string {
		var out bytes.Buffer
		job, err := quota.Open(quota.Config{Dir: l.dir, Base: quota.DefaultBase, DryRun: true, Out: &out})
		must(t, err)
		must(t, job.Run(t.Context()))
		return out.String()
	}
	said := dry()
	t.Logf("the dry run says:\n%s", said)
	if !strings.HasPrefix(said, "would set volume data: project id 1000000, limit 1Mi\n") || !strings.Contains(said, "more than its limit 1Mi") {
		t.Error("not what a dry run is to say")
	}
	wantExists(t, l.dir+"/.claimdir/projects.json", false)
	wantProject(t, outside, 0)

	said = setQuotasAsService(t, l.dir)
	if !strings.Contains(said, "more than its limit 1Mi, so writes to it fail") {
		t.Error("it does not say that the volume holds more than its limit")
	}
	wantProject(t, outside, 0)
	l.shell(`umount "$1"`, l.dir+"/data/mounted")
	must(t, os.Remove(l.dir+"/data/mounted"))
	wantProject(t, l.dir+"/data", quota.DefaultBase)
	usage := wantLimit(t, l.dir, quota.DefaultBase, mebi)
	if usage.Files < 1803 || usage.Bytes < 3*mebi {
		t.Errorf("usage %+v", usage)
	}
	if said := fill(t, "1000", data+"/more", 1); !strings.Contains(said, full(t)) {
		t.Errorf("a write to the volume that is too large: %q", said)
	}
	if said := mustSetQuotas(t, l.dir); said != "" {
		t.Error("a repeat did something")
	}
	// What no ioctl reaches keeps no id, and cannot be renamed where that is checked.
	t.Logf("rename of a link that was there before: %v; of a pipe: %v", os.Rename(data+"/link", data+"/link2"), os.Rename(data+"/pipe", data+"/pipe2"))
	if left := dry(); left != "" {
		t.Errorf("a dry run after all: %q", left)
	}
}

// nest makes a volume inside another one, as only an administrator's hand does.
func nest(t *testing.T, dir, outer, inner string) {
	t.Helper()
	must(t, os.Mkdir(filepath.Join(dir, inner), 0o777))
	info, err := os.Stat(filepath.Join(dir, inner))
	must(t, err)
	records, err := filepath.Glob(filepath.Join(dir, ledger.FileOf(pathOf(t, outer)), "*.json"))
	must(t, err)
	text, err := os.ReadFile(records[0])
	must(t, err)
	var r ledger.Record
	must(t, json.Unmarshal(text, &r))
	r.Path, r.PV, r.Directory.Number = inner, "pvc-inner", info.Sys().(*syscall.Stat_t).Ino
	text, err = json.Marshal(r)
	must(t, err)
	where := filepath.Join(dir, ledger.FileOf(pathOf(t, inner)))
	must(t, os.Mkdir(where, 0o700))
	must(t, os.WriteFile(filepath.Join(where, strings.Replace(filepath.Base(records[0]), "pvc-outer", r.PV, 1)), text, 0o600))
}

// Whoever gave something in a volume a project id had a reason. The rest is served.
func TestQuotaRefusesForeignProjects(t *testing.T) {
	l := limit(t)
	of := func(name string) volume.Volume {
		return claimed(t, name, "pvc-"+strings.ReplaceAll(name, "/", "-"), "delete", "8Mi")
	}
	provisionAll(t, l.dir, of("below"), of("itself"), of("well"), of("outer"))
	nest(t, l.dir, "outer", "outer/inner")
	must(t, os.MkdirAll(l.dir+"/below/a/b", 0o755))
	write(t, l.dir+"/below/a/b/file", "x")
	l.shell(`chattr -p 7 "$1/below/a/b/file"; chattr -p 8 "$1/itself"`, l.dir)

	said, err := setQuotas(t, l.dir, nil)
	t.Logf("claimdir quota says:\n%s", said)
	wantError(t, "quota", err, quota.ErrLeft)
	for _, want := range []string{
		`volume below: left alone: "below/a/b/file" has project id 7, which claimdir has not given out; if nobody needs it there, clear it: chattr -R -P -p 0 DIRECTORY`,
		`volume itself: left alone: "itself" has project id 8,`,
		`volume outer/inner: left alone: it lies inside the volume outer, whose project id its files have`,
	} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %s", want)
		}
	}
	for path, want := range map[string]uint32{"below": 0, "below/a": 0, "below/a/b": 0, "below/a/b/file": 7, "itself": 8} {
		if got, _ := attributesOf(t, filepath.Join(l.dir, path)); got != want {
			t.Errorf("%s has project id %d, want %d", path, got, want)
		}
	}
	if got := sizeOf(t, l.dir+"/well"); got != 8*mebi {
		t.Errorf("the other volume's size is %d", got)
	}
	l.shell(`chattr -R -P -p 0 "$1/below" "$1/itself"`, l.dir)
	said, _ = setQuotas(t, l.dir, nil)
	t.Logf("claimdir quota says:\n%s", said)
	if sizeOf(t, l.dir+"/below") != 8*mebi || sizeOf(t, l.dir+"/itself") != 8*mebi {
		t.Error("a volume that was cleared has no limit")
	}
}

// Directories with ids are set aside, archived, restored and removed as all others are.
func TestQuotaOnTheWayOfAVolume(t *testing.T) {
	l := limit(t)
	dir := l.mount()
	kept, gone := claimed(t, "ns/kept", "pvc-1", "archive", "16Mi"), claimed(t, "gone", "pvc-2", "delete", "16Mi")
	p := provisionAll(t, dir, kept, gone)
	must(t, os.MkdirAll(dir+"/ns/kept/sub", 0o777))
	write(t, dir+"/ns/kept/sub/file", "kept")
	must(t, os.MkdirAll(l.dir+"/gone"+strings.Repeat("/d", 150), 0o777)) // deep ones are moved up before they are removed
	write(t, dir+"/gone/file", "x")
	mustSetQuotas(t, l.dir)
	id, _ := attributesOf(t, l.dir+"/ns/kept")
	idGone, _ := attributesOf(t, l.dir+"/gone")
	wantLimit(t, l.dir, id, 16*mebi)
	wantLimit(t, l.dir, idGone, 16*mebi)

	must(t, p.release(t.Context(), kept))
	must(t, p.release(t.Context(), gone))
	mustSetQuotas(t, l.dir)
	wantLimit(t, l.dir, id, 0)
	wantLimit(t, l.dir, idGone, 0)
	must(t, p.lookAfter(t.Context()))
	wantExists(t, l.dir+"/gone", false)
	eventually(t, "the id of what was removed is forgotten", func() error {
		mustSetQuotas(t, l.dir)
		text, err := os.ReadFile(l.dir + "/.claimdir/projects.json")
		must(t, err)
		if strings.Contains(string(text), `"gone"`) {
			return errors.New(string(text))
		}
		return nil
	})

	back := claimed(t, "back", "pvc-3", "delete", "32Mi", "pvc-1")
	must(t, p.provision(t.Context(), back))
	wantFile(t, dir+"/back/sub/file", "kept")
	mustSetQuotas(t, l.dir)
	wantProject(t, l.dir+"/back", id)
	wantLimit(t, l.dir, id, 32*mebi)
	if got := sizeOf(t, dir+"/back"); got != 32*mebi {
		t.Errorf("the restored volume's size is %d", got)
	}
	must(t, p.release(t.Context(), back))
	must(t, p.lookAfter(t.Context()))
	mustSetQuotas(t, l.dir)
	wantLimit(t, l.dir, id, 0)
}

// quotaStory is a share on which a pass has something of each kind to do: a limit to raise, one to
// drop, one to set, a tree to walk.
func quotaStory(t *testing.T, dir string) {
	t.Helper()
	grows, goes := claimed(t, "grows", "pvc-1", "delete", "1Mi"), claimed(t, "goes", "pvc-2", "archive", "1Mi")
	p := provisionAll(t, dir, grows, goes)
	_, err := setQuotas(t, dir, nil)
	must(t, err)
	must(t, p.release(t.Context(), goes))
	must(t, p.steps.On(t.Context(), p.on, grows.Path, "expand", func(_ context.Context, op steps.Op) error { return op.RecordSize(grows, resource.MustParse("2Mi")) }))
	must(t, p.provision(t.Context(), claimed(t, "comes", "pvc-3", "delete", "4Mi")))
	must(t, os.MkdirAll(dir+"/comes/a/b", 0o755))
	write(t, dir+"/comes/a/file", "x")
	write(t, dir+"/comes/a/b/file", "x")
}

// wantStory fails unless all of it was done, by however many runs.
func wantStory(t *testing.T, dir, after string) {
	t.Helper()
	said, err := setQuotas(t, dir, nil)
	if err != nil {
		t.Errorf("%s: the repeat: %v\n%s", after, err, said)
		return
	}
	ids := map[uint32]bool{}
	for name, want := range map[string]uint64{"grows": 2 * mebi, "comes": 4 * mebi} {
		id, _ := attributesOf(t, dir+"/"+name)
		if id == 0 || ids[id] {
			t.Errorf("%s: %s has project id %d", after, name, id)
		}
		ids[id] = true
		wantProject(t, dir+"/"+name, id)
		wantLimit(t, dir, id, want)
	}
	archives, err := filepath.Glob(dir + "/archived-*")
	must(t, err)
	id, _ := attributesOf(t, archives[0])
	if id == 0 || ids[id] {
		t.Errorf("%s: the archive has project id %d", after, id)
	}
	wantLimit(t, dir, id, 0)
	if said, err = setQuotas(t, dir, nil); err != nil || said != "" {
		t.Errorf("%s: not all was done: %v, %s", after, err, said)
	}
	if t.Failed() {
		text, err := os.ReadFile(dir + "/.claimdir/projects.json")
		t.Fatalf("%s: %s, %v", after, text, err)
	}
}

// changesNothing tells the calls at which a kill is the same as at the change before.
func changesNothing(name string) bool {
	for _, prefix := range []string{"open ", "look at ", "read ", "pin ", "identify", "get the project", "list"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// A kill at any change, or an error of any call, is made good by the next run. Of the places each
// CLAIMDIR_TEST_QUOTA_STEP-th is tried.
func TestQuotaIsCutOffAnywhere(t *testing.T) {
	often := amount(t, "CLAIMDIR_TEST_QUOTA_STEP", 4)
	for name, tt := range map[string]struct {
		kill bool
		step int // of the errors a part will do: each costs a share
	}{"killed": {true, often}, "failed": {false, 7 * often}} {
		t.Run(name, func(t *testing.T) {
			l := limit(t)
			places := 0
			for n := 1; ; n += tt.step {
				dir := fmt.Sprintf("%s/%d", l.top, n)
				must(t, os.Mkdir(dir, 0o777))
				quotaStory(t, dir)
				f := &sharetest.Fault{N: n, Kill: tt.kill}
				_, err := setQuotas(t, dir, func(name string, call func() error) error {
					if tt.kill && f.Hit() == "" && changesNothing(name) {
						return call()
					}
					return f.Call(name, call)
				})
				if f.Hit() == "" {
					must(t, err)
					break
				}
				places++
				wantStory(t, dir, fmt.Sprintf("%s, place %d", f.Hit(), n))
				must(t, os.RemoveAll(dir))
			}
			t.Logf("cut off at %d places", places)
			if places*often < 30 {
				t.Error("that is not everywhere")
			}
		})
	}
}

// The same, of a process that is killed for good while it walks over a tree.
func TestQuotaIsKilled(t *testing.T) {
	l := limit(t)
	provisionAll(t, l.dir, claimed(t, "data", "pvc-1", "delete", "64Mi"))
	for i := range 100 {
		must(t, os.MkdirAll(fmt.Sprintf("%s/data/%d", l.dir, i), 0o755))
		for k := range 50 {
			write(t, fmt.Sprintf("%s/data/%d/%d", l.dir, i, k), "")
		}
	}
	unfinished := 0
	for n := range 8 {
		d := client{t: t, dir: l.dir}.start("quota")
		time.Sleep(time.Duration(200+150*n) * time.Millisecond)
		d.kill()
		_ = d.wait()
		if text, err := os.ReadFile(l.dir + "/.claimdir/projects.json"); err == nil && bytes.Contains(text, []byte(`"unfinished":true`)) {
			unfinished++
		}
	}
	t.Logf("of 8 kills %d were in the middle", unfinished)
	mustSetQuotas(t, l.dir)
	wantProject(t, l.dir+"/data", quota.DefaultBase)
	wantLimit(t, l.dir, quota.DefaultBase, 64*mebi)
}

// A tenant exchanges directories and files for links, pipes and devices while the walk goes on:
// nothing outside gets an id, and nothing hangs.
func TestQuotaWhileATenantExchangesWhatItWalks(t *testing.T) {
	l := limit(t)
	outside := l.top + "/outside"
	must(t, os.MkdirAll(outside+"/sub", 0o777))
	for i := range 200 {
		write(t, fmt.Sprintf("%s/sub/%d", outside, i), "x")
	}
	for round := range 20 {
		name := fmt.Sprintf("data-%d", round)
		provisionAll(t, l.dir, claimed(t, name, "pvc-"+name, "delete", "16Mi"))
		data := l.dir + "/" + name
		for i := range 10 {
			must(t, os.MkdirAll(fmt.Sprintf("%s/%d/sub", data, i), 0o755))
			write(t, fmt.Sprintf("%s/%d/sub/file", data, i), "x")
			must(t, os.Symlink(outside, fmt.Sprintf("%s/link-%d", data, i)))
			must(t, unix.Mkfifo(fmt.Sprintf("%s/pipe-%d", data, i), 0o666))
		}
		stop := make(chan struct{})
		var tenant sync.WaitGroup
		exchanged := 0
		tenant.Go(func() {
			for i := 0; ; i = (i + 1) % 10 {
				select {
				case <-stop:
					return
				default:
				}
				for _, pair := range [][2]string{{fmt.Sprint(i), fmt.Sprint("link-", i)}, {fmt.Sprint(i, "/sub/file"), fmt.Sprint("pipe-", i)}} {
					if unix.Renameat2(unix.AT_FDCWD, data+"/"+pair[0], unix.AT_FDCWD, data+"/"+pair[1], unix.RENAME_EXCHANGE) == nil {
						exchanged++
					}
				}
			}
		})
		said, err := setQuotas(t, l.dir, nil)
		close(stop)
		tenant.Wait()
		if round == 0 {
			t.Logf("exchanged %d times; %v\n%s", exchanged, err, said)
		}
		must(t, err)
		wantProject(t, outside, 0)
		id, _ := attributesOf(t, data)
		wantProject(t, data, id)
		if t.Failed() {
			return
		}
	}
}

// A file that an NFS client has for itself, by a delegation, cannot be opened until the client gives
// it back. A lease is the same to the kernel.
func TestQuotaComesBackToWhatAClientHas(t *testing.T) {
	l := limit(t)
	provisionAll(t, l.dir, claimed(t, "data", "pvc-1", "delete", "16Mi"))
	path := l.dir + "/data/file"
	write(t, path, "x")
	write(t, l.dir+"/data/other", "x")
	fd, err := unix.Open(path, unix.O_RDWR, 0)
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	lease := func(kind int) error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, kind)
		return err
	}
	must(t, lease(unix.F_WRLCK))
	start := time.Now()
	said, err := setQuotas(t, l.dir, nil)
	wantError(t, "quota", err, quota.ErrLeft)
	if want := `volume data: left alone: could not open or change 1 file; the first: "file": an NFS client has it for itself`; !strings.Contains(said, want) || time.Since(start) > 20*time.Second {
		t.Errorf("after %s it says %q, want %q", time.Since(start), said, want)
	}
	given := time.AfterFunc(1500*time.Millisecond, func() { _ = lease(unix.F_UNLCK) })
	defer given.Stop()
	mustSetQuotas(t, l.dir)
	wantProject(t, l.dir+"/data", quota.DefaultBase)
}

// The first walk over a large tree takes its time, and the limits of others do not wait for it. CLAIMDIR_TEST_QUOTA_DIRECTORIES is
// how many directories of 100 files it has.
func TestQuotaOfALargeTreeDelaysNoOther(t *testing.T) {
	l := limit(t)
	other := claimed(t, "other", "pvc-2", "delete", "1Mi")
	p := provisionAll(t, l.dir, claimed(t, "large", "pvc-1", "delete", "64Mi"), other)
	directories := amount(t, "CLAIMDIR_TEST_QUOTA_DIRECTORIES", 50)
	for i := range directories {
		must(t, os.Mkdir(fmt.Sprintf("%s/large/%d", l.dir, i), 0o755))
		for k := range 100 {
			write(t, fmt.Sprintf("%s/large/%d/%d", l.dir, i, k), "")
		}
	}
	var out bytes.Buffer
	job, err := quota.Open(quota.Config{Dir: l.dir, Base: quota.DefaultBase, Every: time.Second, Out: &out})
	must(t, err)
	defer job.Close()
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error)
	start := time.Now()
	go func() { ended <- job.Run(ctx) }()
	eventually(t, "the other volume has a limit", func() error { return wantSize(t, l.dir+"/other", mebi) })
	must(t, p.steps.On(t.Context(), p.on, other.Path, "expand", func(_ context.Context, op steps.Op) error {
		return op.RecordSize(other, resource.MustParse("2Mi"))
	}))
	must(t, p.provision(t.Context(), claimed(t, "new", "pvc-3", "delete", "4Mi")))
	eventually(t, "the other volume has grown", func() error { return wantSize(t, l.dir+"/other", 2*mebi) })
	eventually(t, "the new volume has a limit", func() error { return wantSize(t, l.dir+"/new", 4*mebi) })
	took := time.Since(start)
	text, err := os.ReadFile(l.dir + "/.claimdir/projects.json")
	must(t, err)
	if !bytes.Contains(text, []byte(`"path":"large","unfinished":true`)) {
		t.Errorf("the large tree was done by then: %s", text)
	}
	eventually(t, "the large tree is done", func() error { return wantSize(t, fmt.Sprintf("%s/large/%d", l.dir, directories-1), 64*mebi) })
	end()
	must(t, <-ended)
	t.Logf("all but the large tree took %s; it says:\n%s", took, out.String())
	job.Close()
	mustSetQuotas(t, l.dir)
	id, _ := attributesOf(t, l.dir+"/large")
	wantProject(t, l.dir+"/large", id)
}

// wantSize compares what df shows.
func wantSize(t *testing.T, dir string, want uint64) error {
	t.Helper()
	if got := sizeOf(t, dir); got != want {
		return fmt.Errorf("%s has %d bytes, want %d", dir, got, want)
	}
	return nil
}

// Many volumes get their limits at once, and again. CLAIMDIR_TEST_QUOTA_VOLUMES is how many.
func TestQuotaOfManyVolumes(t *testing.T) {
	l := limit(t)
	p, err := openProcess(l.dir)
	must(t, err)
	volumes := amount(t, "CLAIMDIR_TEST_QUOTA_VOLUMES", 200)
	for i := range volumes {
		name := fmt.Sprintf("ns-%d/data-%d", i%50, i)
		must(t, p.provision(t.Context(), claimed(t, name, fmt.Sprintf("pvc-%d", i), "delete", "16Mi")))
		must(t, os.Mkdir(l.dir+"/"+name+"/sub", 0o777))
		write(t, l.dir+"/"+name+"/sub/file", "x")
	}
	for _, most := range []time.Duration{time.Minute, 30 * time.Second} {
		start := time.Now()
		_, err := setQuotas(t, l.dir, nil)
		took := time.Since(start)
		must(t, err)
		t.Logf("a run over %d volumes took %s", volumes, took.Round(time.Millisecond))
		if took > most {
			t.Errorf("it took %s, which is more than %s", took, most)
		}
	}
	ids := map[uint32]bool{}
	for i := range volumes {
		id, _ := attributesOf(t, fmt.Sprintf("%s/ns-%d/data-%d/sub/file", l.dir, i%50, i))
		ids[id] = true
	}
	if len(ids) != volumes || ids[0] {
		t.Errorf("%d different ids, 0 among them: %v", len(ids), ids[0])
	}
}

// Two shares on one file system never get the same id, however close together their first runs are.
func TestQuotaOfTwoSharesOnOneFileSystem(t *testing.T) {
	l := limit(t)
	var runs sync.WaitGroup
	for _, name := range []string{"one", "two"} {
		dir := l.top + "/" + name
		must(t, os.Mkdir(dir, 0o777))
		p, err := openProcess(dir)
		must(t, err)
		for i := range 30 {
			must(t, p.provision(t.Context(), claimed(t, fmt.Sprint("data-", i), fmt.Sprintf("pvc-%d", i), "delete", "1Mi")))
		}
	}
	for _, name := range []string{"one", "two"} {
		runs.Go(func() {
			if said, err := setQuotas(t, l.top+"/"+name, nil); err != nil {
				t.Errorf("%s: %v\n%s", name, err, said)
			}
		})
	}
	runs.Wait()
	of := map[uint32]string{}
	for _, name := range []string{"one", "two"} {
		for i := range 30 {
			path := fmt.Sprintf("%s/%s/data-%d", l.top, name, i)
			id, _ := attributesOf(t, path)
			if id == 0 || of[id] != "" {
				t.Errorf("%s has project id %d, as has %q", path, id, of[id])
			}
			of[id] = path
		}
	}
}

// One clear error for each place where no quota can be set.
func TestQuotaSaysWhereItCannotWork(t *testing.T) {
	l := limit(t)
	mounted := l.mount()
	provisionAll(t, l.dir, claimed(t, "data", "pvc-1", "delete", "1Mi"))
	e := export(t, "no_root_squash")
	provisionAll(t, e.onServer(), claimed(t, "data", "pvc-1", "delete", "1Mi"))
	_, filesystem := setting(t)
	system := map[string]string{"ext4": "ext4", "xfs": "XFS"}[filesystem]
	for dir, want := range map[string]string{
		mounted:       "it is an NFS mount: run claimdir quota on the NFS server",
		e.onServer():  "its file system, " + system + ", has no project quotas switched on: allowed are XFS mounted with prjquota, and ext4",
		"/tmp":        "its file system, of type 0x1021994, has no project quotas: allowed are",
		l.top:         "there are no records of claimdir",
		"/srv/absent": "no such file or directory",
	} {
		if _, err := setQuotas(t, dir, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", dir, err, want)
		}
	}
	job, err := quota.Open(quota.Config{Dir: l.dir, Base: quota.DefaultBase, Out: os.Stdout})
	must(t, err)
	_, err = setQuotas(t, l.dir, nil)
	wantError(t, "beside another process", err, share.ErrAtWork)
	job.Close()

	self, err := os.Executable()
	must(t, err)
	command := exec.Command("setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", self, "quota", l.dir)
	command.Env = append(os.Environ(), actingAs+"=1")
	out, err := command.CombinedOutput()
	if err == nil || !strings.Contains(string(out), share.ErrNotRoot.Error()) {
		t.Errorf("as user 1000: %v, %s", err, out)
	}
	counting := l.top + "-counting"
	l.shell(`mkdir "$1"; truncate -s 400M "$1.img"
		case $2 in
		ext4) mkfs.ext4 -q -O quota,project -E nodiscard,quotatype=prjquota "$1.img"; mount -o loop "$1.img" "$1" ;;
		xfs) mkfs.xfs -q -K "$1.img"; mount -o loop,pqnoenforce "$1.img" "$1" ;;
		esac`, counting, filesystem)
	t.Cleanup(func() { l.shell(`umount "$1"; rm "$1.img"; rmdir "$1"`, counting) })
	if filesystem == "ext4" { // as docs/quota.md prepares one that is there
		l.shell(`truncate -s 64M "$1.old"; mkfs.ext4 -q "$1.old"; tune2fs -O project,quota -Q prjquota "$1.old"; mkdir "$1.there"; mount -o loop,prjquota "$1.old" "$1.there"`, counting)
		t.Cleanup(func() { l.shell(`umount "$1.there"; rm "$1.old"; rmdir "$1.there"`, counting) })
		if _, err := open(t, counting+".there").CheckQuotas(); err != nil {
			t.Errorf("an ext4 that got quotas later: %v", err)
		}
	}
	if _, err := setQuotas(t, counting, nil); err == nil || !strings.Contains(err.Error(), system+", counts what projects use but does not enforce limits: allowed are") {
		t.Errorf("without enforcement: %v", err)
	}
}
