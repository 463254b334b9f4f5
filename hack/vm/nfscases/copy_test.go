//go:build vm

package nfscases

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// amount is how many of something there are: what a variable of the environment says, or usual.
func amount(t *testing.T, variable string, usual int) int {
	t.Helper()
	if s := os.Getenv(variable); s != "" {
		n, err := strconv.Atoi(s)
		must(t, err)
		return n
	}
	return usual
}

// traffic is what a mount has sent to the server and received: calls by their kind, and bytes of reads and writes.
type traffic struct {
	calls map[string]int
	bytes int64
}

func trafficOf(t *testing.T, dir string) traffic {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountstats")
	must(t, err)
	found, here := traffic{calls: map[string]int{}}, false
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) > 4 && fields[0] == "device" {
			here = fields[4] == dir
		}
		// The columns are calls, transmissions, time-outs, bytes sent, bytes received.
		if !here || len(fields) < 9 || !strings.HasSuffix(fields[0], ":") || strings.ToUpper(fields[0]) != fields[0] {
			continue
		}
		kind := strings.TrimSuffix(fields[0], ":")
		var numbers [5]int
		for i := range numbers {
			numbers[i], err = strconv.Atoi(fields[i+1])
			must(t, err)
		}
		found.calls[kind] += numbers[0]
		if kind == "READ" || kind == "WRITE" {
			found.bytes += int64(numbers[3] + numbers[4])
		}
	}
	return found
}

// String lists the calls, the most frequent first.
func (f traffic) String() string {
	var parts []string
	all := 0
	for _, kind := range slices.SortedFunc(maps.Keys(f.calls), func(a, b string) int { return f.calls[b] - f.calls[a] }) {
		if all += f.calls[kind]; f.calls[kind] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", kind, f.calls[kind]))
		}
	}
	return fmt.Sprintf("%d calls (%s), %.1f MiB of reads and writes", all, strings.Join(parts, ", "), float64(f.bytes)/mebi)
}

// copying is one way to copy the directory data of a share, and the directory on the share where the copy is then.
type copying struct {
	name string
	to   string
	run  func(t *testing.T, dir string) share.Copied
}

// staging is the directory of a copy of ours.
var staging = volpath.Own("pvc-copy", "cluster-1")

var (
	byUs = copying{"ours", ".claimdir/" + share.CopiesDir + "/" + staging + "/tree", func(t *testing.T, dir string) share.Copied {
		t.Helper()
		got, err := open(t, dir).Copy(t.Context(), share.NewCopier(16, 0, 0), share.CopyFrom{Path: pathOf(t, "data")}, staging, nil)
		must(t, err)
		return got
	}}
	byCp = copying{"cp -a", "copy", func(t *testing.T, dir string) share.Copied {
		t.Helper()
		return cp(t, dir)
	}}
	// What cp did before it knew of clones and of copies of ranges.
	byReading = copying{"cp -a --reflink=never", "copy", func(t *testing.T, dir string) share.Copied {
		t.Helper()
		return cp(t, dir, "--reflink=never")
	}}
)

func cp(t *testing.T, dir string, options ...string) share.Copied {
	t.Helper()
	command := exec.CommandContext(t.Context(), "cp", append(options, "-a", dir+"/data", dir+"/copy")...)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	return share.Copied{}
}

// figures are those of one copy.
type figures struct {
	copied share.Copied
	took   time.Duration
	sent   traffic
	fell   int64 // by how many bytes the free space of the server fell
}

// measure copies, on a mount that mount makes, with nothing in its caches, compares the copy with its source on the server, where
// the share is at server, and removes it.
func (c copying) measure(t *testing.T, server string, mount func(t *testing.T) string) (f figures) {
	t.Helper()
	t.Run(c.name, func(t *testing.T) {
		dir := mount(t)
		unix.Sync()
		free, before := freeOf(t, server), trafficOf(t, dir)
		begin := time.Now()
		f.copied = c.run(t, dir)
		f.took = time.Since(begin)
		f.sent = trafficOf(t, dir)
		for kind, n := range before.calls {
			f.sent.calls[kind] -= n
		}
		f.sent.bytes -= before.bytes
		unix.Sync()
		f.fell = free - freeOf(t, server)
		t.Logf("%s: %v, %v; the free space fell by %.1f MiB; cloned %d, by the server %d, read %d", c.name, f.took.Round(time.Millisecond), f.sent,
			float64(f.fell)/mebi, f.copied.Cloned, f.copied.Server, f.copied.Read)
		wantSame(t, server+"/data", filepath.Join(server, c.to))
		must(t, os.RemoveAll(server+"/copy"))
		must(t, os.RemoveAll(server+"/.claimdir"))
	})
	return f
}

// besideCp measures ours and cp -a in turn, and returns of each the copy whose time is the median. CLAIMDIR_TEST_COPY_ROUNDS is how often;
// the other one is first in each round, because the first copies of a machine that has just started are slower.
func besideCp(t *testing.T, server string, mount func(t *testing.T) string) (ours, cp figures) {
	t.Helper()
	both, all := []copying{byUs, byCp}, map[string][]figures{}
	for range amount(t, "CLAIMDIR_TEST_COPY_ROUNDS", 1) {
		for _, c := range both {
			all[c.name] = append(all[c.name], c.measure(t, server, mount))
		}
		slices.Reverse(both)
	}
	median := func(of []figures) figures {
		slices.SortFunc(of, func(a, b figures) int { return cmp.Compare(a.took, b.took) })
		return of[len(of)/2]
	}
	return median(all[byUs.name]), median(all[byCp.name])
}

func freeOf(t *testing.T, dir string) int64 {
	t.Helper()
	var stat unix.Statfs_t
	must(t, unix.Statfs(dir, &stat))
	return int64(stat.Bfree) * stat.Bsize
}

// wantSame compares two trees by find(1) and sha256sum(1).
func wantSame(t *testing.T, source, copied string) {
	t.Helper()
	list := func(dir string) []byte {
		command := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", `cd "$1"
			find . -printf '%P %y %m %U:%G %T@ %n %l\n' | sort
			find . -type f -size -100M -print0 | sort -z | xargs -0r sha256sum
			find . -type f -size +99M -printf '%P %s\n'`, "bash", dir)
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatal(err, string(out))
		}
		return out
	}
	if want, got := list(source), list(copied); !bytes.Equal(want, got) {
		t.Errorf("the copy differs:\n%.2000s\nof\n%.2000s", got, want)
	}
}

// delay makes each call of the second client take so much longer.
func (e exported) delay(by time.Duration) {
	e.t.Helper()
	e.shell(`modprobe sch_netem && tc -n "$other" qdisc add dev there root netem delay "$1us"`, fmt.Sprint(by.Microseconds()))
	e.t.Cleanup(func() { e.shell(`tc -n "$other" qdisc del dev there root`) })
}

// Many small files are copied much faster than by cp -a, which makes one call after the other. CLAIMDIR_TEST_COPY_FILES is how many,
// CLAIMDIR_TEST_COPY_DELAY by how many microseconds a call takes longer: so many that the emulated processors, for which a call is work
// too, are not what both wait for.
func TestManySmallFilesAreCopiedFast(t *testing.T) {
	e := export(t, "no_root_squash")
	files := amount(t, "CLAIMDIR_TEST_COPY_FILES", 40)
	for i := range files {
		in := e.onServer("data", strconv.Itoa(i*8/files))
		must(t, os.MkdirAll(in, 0o755))
		write(t, filepath.Join(in, strconv.Itoa(i)), strings.Repeat("small ", 700))
	}
	late := time.Duration(amount(t, "CLAIMDIR_TEST_COPY_DELAY", 20_000)) * time.Microsecond
	e.delay(late)
	mount := func(t *testing.T) string {
		e := e
		e.t = t
		return e.mountOther(os.Getenv("NFS_OPTIONS"))
	}
	ours, cp := besideCp(t, e.onServer(), mount)
	times := float64(cp.took) / float64(ours.took)
	t.Logf("%d files, %v a call: ours %v, cp -a %v, %.1f times as fast", files, late, ours.took, cp.took, times)
	if times < 3 {
		t.Errorf("%.1f times as fast as cp -a", times)
	}
	if ours.copied.Files != int64(files) || ours.copied.Changed != 0 {
		t.Errorf("%+v of %d files", ours.copied, files)
	}
}

// A large file is copied by the server where that can do it, and takes no room where it shares blocks. CLAIMDIR_TEST_COPY_MIB is its
// size: more where a copy shares blocks, which must not take longer for that.
func TestALargeFileIsCopiedByTheServer(t *testing.T) {
	version, filesystem := setting(t)
	usual := 16
	if version == "v4.2" && filesystem == "xfs" {
		usual = 48
	}
	size := int64(amount(t, "CLAIMDIR_TEST_COPY_MIB", usual)) * mebi
	l := limitTo(t, max(400, 100+3*size/mebi)) // xfs needs some
	must(t, os.Mkdir(l.dir+"/data", 0o755))
	randomFile(t, l.dir+"/data/large", size)
	mount := func(t *testing.T) string {
		l := l
		l.t = t
		return l.mount()
	}
	ours, cp := besideCp(t, l.dir, mount)
	reading := byReading.measure(t, l.dir, mount)
	t.Logf("%d MiB: ours %v, cp -a %v, which reads and writes %v: %.1f and %.1f times as fast", size/mebi, ours.took, cp.took, reading.took,
		float64(cp.took)/float64(ours.took), float64(reading.took)/float64(ours.took))
	switch {
	case version == "v4.2" && filesystem == "xfs":
		if ours.copied.Cloned != size || ours.fell > size/100 || ours.took > 3*time.Second {
			t.Errorf("%+v, the free space fell by %d, in %v", ours.copied, ours.fell, ours.took)
		}
	case version == "v4.2":
		if ours.copied.Server != size {
			t.Errorf("%+v of %d bytes", ours.copied, size)
		}
	default:
		// The kernel of the client may read and write for copy_file_range.
		if ours.copied.Read+ours.copied.Server != size || ours.sent.bytes < 2*size || ours.sent.bytes > 2*size+2*mebi {
			t.Errorf("%+v of %d bytes, %v", ours.copied, size, ours.sent)
		}
		return
	}
	if ours.sent.bytes >= mebi {
		t.Errorf("the server copies: %v", ours.sent)
	}
	if ours.copied.Cloned > 0 && reading.took < 2*ours.took { // where the server copies the blocks, its disk says how long that takes
		t.Errorf("%v, read and written %v", ours.took, reading.took)
	}
}

func randomFile(t *testing.T, name string, size int64) {
	t.Helper()
	file, err := os.Create(name)
	must(t, err)
	defer file.Close()
	content, random := make([]byte, mebi), rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(content)
	for at := int64(0); at < size; at += mebi {
		copy(content, fmt.Sprint(at))
		_, err := file.Write(content[:min(mebi, size-at)])
		must(t, err)
	}
}

// Holes stay holes also where a client does not see them. CLAIMDIR_TEST_COPY_HOLES is how many MiB they are.
func TestHolesAreCopiedAsHoles(t *testing.T) {
	holes := int64(amount(t, "CLAIMDIR_TEST_COPY_HOLES", 200)) * mebi
	l := limit(t)
	must(t, os.Mkdir(l.dir+"/data", 0o755))
	file, err := os.Create(l.dir + "/data/holes")
	must(t, err)
	for _, at := range []int64{holes / 3, holes / 2} {
		_, err = file.WriteAt(bytes.Repeat([]byte("content."), 512), at-at%4096)
		must(t, err)
	}
	must(t, file.Truncate(holes))
	must(t, file.Close())
	got := byUs.measure(t, l.dir, func(t *testing.T) string {
		l := l
		l.t = t
		return l.mount()
	})
	if got.fell > mebi {
		t.Errorf("the copy takes %d bytes", got.fell)
	}
}

// When the server has no room any more the copy says so, the share goes on, and the copy too once there is room.
func TestACopyMeetsAFullServer(t *testing.T) {
	if version, filesystem := setting(t); version == "v4.2" && filesystem == "xfs" {
		return // a copy takes no room there
	}
	l := limit(t)
	must(t, os.Mkdir(l.dir+"/data", 0o755))
	for i := range 20 {
		randomFile(t, fmt.Sprintf("%s/data/%d", l.dir, i), mebi)
	}
	randomFile(t, l.dir+"/data/large", 40*mebi)
	unix.Sync()
	l.shell(`fallocate -l "$2" "$1/ballast"`, l.top, fmt.Sprint(freeOf(t, l.dir)-30*mebi))
	dir := l.mount()
	s := open(t, dir)
	copying := func() (share.Copied, error) {
		return s.Copy(t.Context(), share.NewCopier(4, 0, 0), share.CopyFrom{Path: pathOf(t, "data")}, staging, nil)
	}
	_, err := copying()
	wantError(t, "copy to a full server", err, unix.ENOSPC)
	must(t, os.Remove(l.top+"/ballast"))
	create(t, s, pathOf(t, "other"), 0o755)
	_, err = copying()
	must(t, err)
	wantSame(t, l.dir+"/data", filepath.Join(l.dir, byUs.to))
}
