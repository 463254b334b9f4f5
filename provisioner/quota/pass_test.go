package quota

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/volpath"
)

// server is a file system with quotas that exist in memory only. Directories and records are real.
type server struct {
	share *share.Share // whose directories it compares
	has   map[string]share.Project
	usage map[uint32]share.ProjectUsage
	calls []string // that change something
	err   error    // of each
}

func (f *server) Project(p volpath.Path, id *share.Identity) (share.Project, error) {
	found, err := f.share.Identify(p)
	switch {
	case err != nil:
		return share.Project{}, err
	case id.Match(found) == share.Different:
		return share.Project{}, share.ErrChanged
	case id.Match(found) == share.Unknown:
		return share.Project{}, share.ErrUnidentified
	}
	return f.has[p.String()], nil
}

func (f *server) ProjectUsage(project uint32) (share.ProjectUsage, error) {
	return f.usage[project], nil
}

func (f *server) LimitProject(project uint32, limit uint64) error {
	f.calls = append(f.calls, fmt.Sprint(project, "=", limit))
	usage := f.usage[project]
	usage.Limit = limit
	f.usage[project] = usage
	return f.err
}

func (f *server) AloneOnFileSystem(_ context.Context, do func() error) error { return do() }

// world is a share, with a Job whose passes a test makes.
type world struct {
	*Job

	t      *testing.T
	dir    string
	server *server
	ledger *ledger.Ledger
	out    bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	s, err := share.Open(w.dir)
	sharetest.Must(t, err)
	w.ledger, err = ledger.Open(s, "share-1")
	sharetest.Must(t, err)
	w.server = &server{share: s, has: map[string]share.Project{}, usage: map[uint32]share.ProjectUsage{}}
	w.start(Config{Base: 100})
	return w
}

// start puts a new process in the place of the one before.
func (w *world) start(config Config) {
	w.t.Helper()
	config.Out = &w.out
	w.Job = newJob(config)
	w.limits = func(*share.Share) limits { return w.server }
	w.settle = func(context.Context) error { return nil }
	w.share, w.records, w.block = w.server.share, w.ledger, 4096
	var err error
	w.projects, err = readProjects(w.share, config.Base)
	sharetest.Must(w.t, err)
}

// volume makes a volume, or gives it another size.
func (w *world) volume(path, size string) {
	w.t.Helper()
	sharetest.Must(w.t, os.MkdirAll(filepath.Join(w.dir, path), 0o755))
	id, err := w.share.Identify(sharetest.PathOf(w.t, path))
	sharetest.Must(w.t, err)
	w.record(path, size, id)
}

func (w *world) record(path, size string, id *share.Identity) {
	w.t.Helper()
	p := sharetest.PathOf(w.t, path)
	r, err := w.ledger.Take(p, ledger.Record{State: ledger.Active, PV: "pvc-" + filepath.Base(path)}, false)
	sharetest.Must(w.t, err)
	r.Size, r.Directory = size, id
	sharetest.Must(w.t, w.ledger.Update(p, r))
}

// release takes the record of a path away.
func (w *world) release(path string) {
	w.t.Helper()
	p := sharetest.PathOf(w.t, path)
	r, _, err := w.ledger.Lookup(p)
	sharetest.Must(w.t, err)
	sharetest.Must(w.t, w.ledger.Remove(p, r))
}

// passes makes a pass, and fails unless it says these lines and makes these changes.
func (w *world) passes(lines, calls []string) {
	w.t.Helper()
	w.out.Reset()
	w.server.calls = nil
	sharetest.Must(w.t, w.pass(w.t.Context()))
	var said []string
	for line := range strings.Lines(w.out.String()) {
		said = append(said, strings.TrimSuffix(line, "\n"))
	}
	if !slices.Equal(said, lines) {
		w.t.Errorf("it says %q, want %q", said, lines)
	}
	if !slices.Equal(w.server.calls, calls) {
		w.t.Errorf("it does %q, want %q", w.server.calls, calls)
	}
}

// walked ends the walks, as if each had given its id.
func (w *world) walked(want ...string) {
	w.t.Helper()
	var paths []string
	for _, k := range w.walking {
		paths = append(paths, k.volume.path.String())
		w.server.has[k.volume.path.String()] = share.Project{ID: k.id, Inherited: true}
		w.server.usage[k.id] = share.ProjectUsage{Limit: w.server.usage[k.id].Limit, Files: 1}
		k.tree = &share.Tree{}
		w.end(k)
	}
	w.noWalks()
	slices.Sort(paths)
	if !slices.Equal(paths, want) {
		w.t.Errorf("walks over %q, want %q", paths, want)
	}
	sharetest.Must(w.t, w.save(w.share))
}

func (w *world) noWalks() {
	w.fresh, w.walks, w.walking = nil, nil, map[uint64]*walk{}
}

func TestALimitComesAndGoesWithItsRecord(t *testing.T) {
	w := newWorld(t)
	w.volume("ns/b", "1Gi")
	w.volume("a", "1Mi")
	w.passes([]string{"volume a: project id 100, limit 1Mi", "volume ns/b: project id 101, limit 1Gi"}, []string{"100=1048576", "101=1073741824"})
	w.walked("a", "ns/b")
	w.passes(nil, nil)
	w.walked()

	w.volume("a", "2Mi")
	w.passes([]string{"volume a: limit 2Mi, was 1Mi"}, []string{"100=2097152"})
	w.walked()

	w.release("a") // into an archive, say: its files keep the id
	w.passes([]string{"project id 100: no limit, was 2Mi: the directory that was at a is no volume in use now"}, []string{"100=0"})
	w.passes(nil, nil)
	sharetest.Must(t, os.Rename(w.dir+"/a", w.dir+"/restored"))
	w.server.has["restored"] = w.server.has["a"]
	w.volume("restored", "3Mi")
	w.passes([]string{"volume restored: project id 100, limit 3Mi"}, []string{"100=3145728"})
	w.walked()

	w.release("restored")
	w.server.usage[100] = share.ProjectUsage{Limit: 3 << 20}
	w.passes([]string{"project id 100: no limit, was 3Mi: the directory that was at restored is no volume in use now"}, []string{"100=0"})
	if _, is := w.projects.withID(100); is {
		t.Error("an id that no file has is still known")
	}
	w.volume("c", "1Mi")
	w.passes([]string{"volume c: project id 102, limit 1Mi"}, []string{"102=1048576"})
	w.walked("c")
}

// A record that is away for a moment, because it is being replaced over NFS, costs no limit; one that cannot be read then costs
// none either.
func TestARecordThatIsAwayForAMomentKeepsItsLimit(t *testing.T) {
	w := newWorld(t)
	w.volume("a", "1Mi")
	w.passes([]string{"volume a: project id 100, limit 1Mi"}, []string{"100=1048576"})
	w.walked("a")
	id, err := w.share.Identify(sharetest.PathOf(t, "a"))
	sharetest.Must(t, err)
	looked := 0
	w.settle = func(context.Context) error {
		looked++
		w.record("a", "1Mi", id)
		return nil
	}
	w.release("a")
	w.passes(nil, nil)
	w.passes(nil, nil)
	if looked != 1 {
		t.Errorf("it looked %d times again", looked)
	}
	w.settle = func(context.Context) error { return context.Canceled }
	w.release("a")
	if err := w.pass(t.Context()); !errors.Is(err, context.Canceled) || len(w.server.calls) > 0 {
		t.Errorf("a pass that is cut off: %v, %q", err, w.server.calls)
	}
}

func TestAProcessThatWasKilledIsFollowed(t *testing.T) {
	w := newWorld(t)
	w.volume("a", "1Mi")
	w.passes([]string{"volume a: project id 100, limit 1Mi"}, []string{"100=1048576"})
	w.start(Config{Base: 50})
	w.passes(nil, nil) // the walk has not ended
	w.server.usage[100] = share.ProjectUsage{}
	w.start(Config{Base: 50})
	w.passes([]string{"volume a: project id 100, limit 1Mi"}, []string{"100=1048576"})
	w.walked("a")
	w.start(Config{Base: 50})
	w.passes(nil, nil)
	w.walked()
	w.server.has["a"] = share.Project{ID: 100} // somebody took the flag off
	w.passes(nil, nil)
	w.walked("a")
}

func TestIDsOfOthersArePassedOver(t *testing.T) {
	w := newWorld(t)
	w.server.usage[100] = share.ProjectUsage{Files: 1}
	w.server.usage[101] = share.ProjectUsage{Limit: 4096}
	w.volume("a", "1Mi")
	w.passes([]string{"volume a: project id 102, limit 1Mi"}, []string{"102=1048576"})
}

// What is wrong with one volume is said once, and stops no other one.
func TestWhatIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"absent", "changed", "foreign", "outer", "known", "size", "unknown", "well"} {
		w.volume(name, "1Mi")
	}
	sharetest.Must(t, os.Rename(w.dir+"/changed", w.dir+"/elsewhere"))
	sharetest.Must(t, os.Mkdir(w.dir+"/changed", 0o755))
	changed, _, err := w.ledger.Lookup(sharetest.PathOf(t, "changed"))
	sharetest.Must(t, err)
	sharetest.Must(t, os.Remove(w.dir+"/absent"))
	w.server.has["foreign"] = share.Project{ID: 7}
	w.server.has["known"] = share.Project{ID: 101, Inherited: true}
	w.volume("size", "0")
	unknown, _, err := w.ledger.Lookup(sharetest.PathOf(t, "unknown"))
	sharetest.Must(t, err)
	unknown.Directory = nil
	sharetest.Must(t, w.ledger.Update(sharetest.PathOf(t, "unknown"), unknown))
	w.passes([]string{
		"volume outer: project id 100, limit 1Mi",
		"volume well: project id 101, limit 1Mi",
		"volume absent: left alone: its directory is absent; claimdir doctor says what to do",
		fmt.Sprintf("volume changed: left alone: the directory there is not the one on record, whose file number is %d; claimdir doctor says what to do", changed.Directory.Number),
		`volume foreign: left alone: "foreign" has project id 7, which claimdir has not given out; if nobody needs it there, clear it: chattr -R -P -p 0 DIRECTORY`,
		`volume known: left alone: "known" has project id 101, which claimdir has not given out; if nobody needs it there, clear it: chattr -R -P -p 0 DIRECTORY`,
		`volume size: left alone: the size in its record, "0", is not a size above 0: mend the record, or expand the claim, which writes it anew`,
		"volume unknown: left alone: its record does not say which directory of this copy of the share it is; claimdir writes that once it leads",
	}, []string{"100=1048576", "101=1048576"})
	w.walked("outer", "well")
	w.passes([]string{
		`volume known: left alone: "known" has project id 101, that of well; if nobody needs it there, clear it: chattr -R -P -p 0 DIRECTORY`,
	}, nil)
	w.passes(nil, nil)

	w.server.has["outer"] = share.Project{ID: 8}
	w.passes([]string{
		`volume outer: left alone: "outer" has project id 8, which claimdir has not given out; if nobody needs it there, clear it: chattr -R -P -p 0 DIRECTORY`,
	}, nil)
	if len(w.left) != 7 {
		t.Errorf("left alone are %d: %q", len(w.left), w.left)
	}
}

func TestOneVolumeInsideAnother(t *testing.T) {
	w := newWorld(t)
	w.volume("a/b/c", "1Mi")
	w.volume("a", "2Mi")
	w.passes([]string{
		"volume a: project id 100, limit 2Mi",
		"volume a/b/c: left alone: it lies inside the volume a, whose project id its files have: a file has one project id; move one of the two",
	}, []string{"100=2097152"})
	w.walked("a")
}

// While a record cannot be read nobody knows which directory it names: no limit goes.
func TestNoLimitGoesWhileARecordCannotBeRead(t *testing.T) {
	w := newWorld(t)
	w.volume("a", "1Mi")
	w.volume("b", "1Mi")
	w.passes([]string{"volume a: project id 100, limit 1Mi", "volume b: project id 101, limit 1Mi"}, []string{"100=1048576", "101=1048576"})
	w.walked("a", "b")
	w.release("b")
	files, err := filepath.Glob(w.dir + "/.claimdir/records/a/*.json")
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	whole, err := os.ReadFile(files[0])
	sharetest.Must(t, err)
	sharetest.Must(t, os.WriteFile(files[0], whole[:len(whole)/2], 0o600))
	sharetest.Must(t, w.pass(t.Context()))
	if said := w.out.String(); !strings.Contains(said, "damaged record") || !strings.Contains(said, "until it can be read, no limit is dropped") || len(w.left) != 1 {
		t.Errorf("it says %q", said)
	}
	if w.server.usage[100].Limit == 0 || w.server.usage[101].Limit == 0 {
		t.Errorf("a limit went: %v", w.server.usage)
	}
	sharetest.Must(t, os.WriteFile(files[0], whole, 0o600))
	w.passes([]string{"project id 101: no limit, was 1Mi: the directory that was at b is no volume in use now"}, []string{"101=0"})
}

// Of two records of one directory, one is litter: the volume gets the larger size.
func TestTwoRecordsOfOneDirectory(t *testing.T) {
	w := newWorld(t)
	w.volume("a", "1Mi")
	r, _, err := w.ledger.Lookup(sharetest.PathOf(t, "a"))
	sharetest.Must(t, err)
	files, err := filepath.Glob(w.dir + "/.claimdir/records/a/*.json")
	sharetest.Must(t, err)
	text, err := os.ReadFile(files[0])
	sharetest.Must(t, err)
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte(r.PV), []byte("pvc-9")), []byte("1Mi"), []byte("8Mi"))
	sharetest.Must(t, os.WriteFile(strings.ReplaceAll(files[0], r.PV, "pvc-9"), text, 0o600))
	w.passes([]string{"volume a: project id 100, limit 8Mi"}, []string{"100=8388608"})
}

func TestADryRunChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.volume("a", "1Mi")
	w.passes([]string{"volume a: project id 100, limit 1Mi"}, []string{"100=1048576"})
	w.walked("a")
	before, err := os.ReadFile(w.dir + "/.claimdir/" + projectsFile)
	sharetest.Must(t, err)
	w.volume("b", "1Mi")
	w.volume("a", "3Mi")
	w.start(Config{Base: 100, DryRun: true})
	w.passes([]string{"would set volume a: limit 3Mi, was 1Mi", "would set volume b: project id 101, limit 1Mi"}, nil)
	w.release("a")
	w.start(Config{Base: 100, DryRun: true})
	w.passes([]string{
		"would set volume b: project id 101, limit 1Mi",
		"would set project id 100: no limit, was 1Mi: the directory that was at a is no volume in use now",
	}, nil)
	after, err := os.ReadFile(w.dir + "/.claimdir/" + projectsFile)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("%s is now %s, %v", before, after, err)
	}
}

// The file of a copy of the share: what is not confirmed is neither used nor taken away.
func TestThePassesOfACopyOfTheShare(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"archive", "here", "lost"} {
		w.volume(name, "1Mi")
	}
	sharetest.Must(t, w.pass(t.Context()))
	w.walked("archive", "here", "lost")
	w.release("archive")
	w.server.has["lost"] = share.Project{}
	file := w.dir + "/.claimdir/" + projectsFile
	text, err := os.ReadFile(file)
	sharetest.Must(t, err)
	sharetest.Must(t, os.WriteFile(file, bytes.Replace(text, []byte(`"place":"`), []byte(`"place":"other`), 1), 0o600))
	w.start(Config{Base: 100})
	w.passes([]string{"volume lost: project id 103, limit 1Mi"}, []string{"103=1048576"})
	w.walked("here", "lost")
	if w.server.usage[100].Limit == 0 {
		t.Error("the limit of a directory that is not confirmed went")
	}
	w.start(Config{Base: 100})
	w.passes(nil, nil)
	w.volume("archive", "2Mi")
	w.passes([]string{"volume archive: limit 2Mi, was 1Mi"}, []string{"100=2097152"})
	w.walked("archive")
}

// A walk that fails is repeated later and later, and said once for each reason.
func TestAWalkThatFailsIsPutOff(t *testing.T) {
	w := newWorld(t)
	w.volume("a", "1Mi")
	w.passes([]string{"volume a: project id 100, limit 1Mi"}, []string{"100=1048576"})
	w.out.Reset()
	for _, want := range []time.Duration{againFirst, 2 * againFirst, 4 * againFirst} {
		w.fail(w.nextWalk(), errors.New("no luck"))
		w.noWalks()
		sharetest.Must(t, w.pass(t.Context()))
		if len(w.walking) > 0 || len(w.left) != 1 {
			t.Fatalf("%d walks, left %q", len(w.walking), w.left)
		}
		f := w.failed[w.volumeOf("a")]
		if f.wait != want {
			t.Errorf("it waits %s, want %s", f.wait, want)
		}
		f.again = time.Now()
		w.failed[w.volumeOf("a")] = f
		sharetest.Must(t, w.pass(t.Context()))
	}
	if want := "volume a: left alone: no luck\n"; w.out.String() != want {
		t.Errorf("it says %q, want %q", w.out.String(), want)
	}
	w.walked("a")
	w.passes(nil, nil)
	if len(w.left)+len(w.failed) > 0 {
		t.Errorf("left %q, failed %v", w.left, w.failed)
	}
}

func (w *world) volumeOf(path string) uint64 {
	w.t.Helper()
	id, err := w.share.Identify(sharetest.PathOf(w.t, path))
	sharetest.Must(w.t, err)
	return id.Number
}

// An error of the file system ends the pass; the next one goes on.
func TestAPassThatFailsIsRepeated(t *testing.T) {
	w := newWorld(t)
	w.volume("a", "1Mi")
	w.server.err = errors.New("no luck")
	if err := w.pass(t.Context()); !errors.Is(err, w.server.err) {
		t.Errorf("%v", err)
	}
	w.server.err, w.server.usage = nil, map[uint32]share.ProjectUsage{}
	w.passes([]string{"volume a: project id 100, limit 1Mi"}, []string{"100=1048576"})
	w.walked("a")
}
