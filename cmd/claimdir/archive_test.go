package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// archiveWorld is a share with archives, as the controller leaves it.
type archiveWorld struct {
	t   *testing.T
	dir string
	env func(string) (string, bool)
	l   *ledger.Ledger
	s   *share.Share
	api *apiServer
}

func newArchiveWorld(t *testing.T) *archiveWorld {
	dir := t.TempDir()
	return openArchiveWorld(t, dir, env("MOUNT_PATH="+dir, "NFS_SERVER=nas", "NFS_PATH=/export"))
}

func openArchiveWorld(t *testing.T, dir string, lookup func(string) (string, bool)) *archiveWorld {
	t.Helper()
	w := &archiveWorld{t: t, dir: dir, api: newAPIServer(t)}
	w.env = func(name string) (string, bool) {
		if name == "KUBECONFIG" {
			return w.api.kubeconfig, true
		}
		return lookup(name)
	}
	var err error
	if w.s, err = share.Open(dir); err == nil {
		w.l, err = ledger.Open(w.s, "id-of-"+strings.ReplaceAll(dir, "/", "-"))
	}
	w.must(err)
	return w
}

func (w *archiveWorld) must(errs ...error) {
	w.t.Helper()
	if err := errors.Join(errs...); err != nil {
		w.t.Fatal(err)
	}
}

// archive makes a volume of the claim and releases it, as the controller does.
func (w *archiveWorld) archive(claim, pv, retention string) {
	w.t.Helper()
	w.archiveOf("here", claim, pv, retention)
}

func (w *archiveWorld) archiveOf(cluster, claim, pv, retention string, change ...func(*ledger.Record)) {
	w.t.Helper()
	namespace, name, _ := strings.Cut(claim, "/")
	path, err := volpath.Parse(namespace + "-" + name + "-" + pv)
	w.must(err)
	r := ledger.Record{
		State: ledger.Active, PV: pv, Claim: ledger.Claim{Namespace: namespace, Name: name, UID: "u"}, Cluster: cluster, Class: "nfs", Policy: "archive",
		ArchiveRetention: retention, Size: "1Gi", AccessModes: []string{"ReadWriteMany"},
	}
	for _, c := range change {
		c(&r)
	}
	r, err = w.l.Take(path, r, false)
	w.must(err)
	id, err := w.s.Create(path, share.Attributes{Mode: 0o777}, nil)
	to := volpath.Archive(namespace, name, pv, 1)
	w.must(err, w.l.Archive(to, r, id), w.s.Rename(path, to, id), w.l.Remove(path, r))
}

// damage puts a record there that cannot be read, under a name that would harm a terminal.
func (w *archiveWorld) damage() {
	w.t.Helper()
	const in = "/.claimdir/records/bad\x1b"
	w.must(os.Mkdir(w.dir+in, 0o700), os.WriteFile(w.dir+in+"/x.json", []byte("{"), 0o600))
}

// run runs a command with somebody at the terminal who types what in says.
func (w *archiveWorld) run(in io.Reader, args ...string) (out, stderr string, err error) {
	w.t.Helper()
	var o, e bytes.Buffer
	err = run(w.t.Context(), append([]string{"archive"}, args...), w.env, streams{in: in, out: &o, err: &e, terminal: in != nil})
	return o.String(), e.String(), err
}

// left lists what is at the root of the share.
func (w *archiveWorld) left() string {
	w.t.Helper()
	entries, err := w.s.List(volpath.Path{})
	w.must(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return strings.Join(names, " ")
}

func holds(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

func TestArchiveList(t *testing.T) {
	w := newArchiveWorld(t)
	out, stderr, err := w.run(nil, "list")
	if err != nil || out != "" || stderr != "No archives found.\n" {
		t.Errorf("got %q, %q, %v", out, stderr, err)
	}
	if out, stderr, err = w.run(nil, "list", "-o", "json"); err != nil || out != "[]\n" || stderr != "" {
		t.Errorf("got %q, %q, %v", out, stderr, err)
	}
	w.archive("team/data", "pvc-1", "")
	w.archive("team/logs", "pvc-2", "1ns")
	w.archive("other/data", "pvc-3", "720h")
	w.must(os.Mkdir(w.dir+"/archived-peer", 0o777))
	for _, tt := range []struct {
		args    []string
		volumes string
	}{
		{nil, "pvc-3 pvc-1 pvc-2 archived-peer"},
		{[]string{"team"}, "pvc-1 pvc-2"},
		{[]string{"team/logs"}, "pvc-2"},
		{[]string{"tea"}, ""},
	} {
		out, _, err := w.run(nil, append([]string{"list"}, tt.args...)...)
		var got []string
		for line := range strings.Lines(out) {
			fields := strings.Fields(line)
			if fields[1] == "-" {
				fields[1] = fields[len(fields)-1]
			}
			got = append(got, fields[1])
		}
		if len(got) > 0 {
			got = got[1:] // the title
		}
		if err != nil || strings.Join(got, " ") != tt.volumes {
			t.Errorf("%q: got %q, %v:\n%s", tt.args, got, err, out)
		}
	}
	for asked, want := range map[string]string{
		"tema":      `No archives found of "tema"; there are archives of namespace team.`,
		"nosuch":    `No archives found of "nosuch"; there are archives of 2 namespaces.`,
		"team/none": `No archives found of "team/none"; the namespace has archives of team/logs (pvc-2), team/data (pvc-1).`,
	} {
		if _, stderr, err := w.run(nil, "list", asked); err != nil || stderr != want+"\n" {
			t.Errorf("%s: %v, %s", asked, err, stderr)
		}
	}
	out, _, _ = w.run(nil, "list")
	holds(t, out, "CLAIM", "for ever", "(expired)", "(in 29d)")
	out, _, _ = w.run(nil, "list", "team/data", "--output=json")
	holds(t, out, `"namespace": "team"`, `"origin": "team-data-pvc-1"`)
}

// The rest is listed, and a script notices.
func TestArchiveListSaysWhatItCannotRead(t *testing.T) {
	w := newArchiveWorld(t)
	w.archive("team/data", "pvc-1", "")
	w.damage()
	for _, args := range [][]string{{"list"}, {"list", "-o", "json"}, {"purge", "team", "--older-than=1h", "--yes"}} {
		out, stderr, err := w.run(nil, args...)
		if err == nil || !strings.Contains(err.Error(), "records or shares that could not be read: 1") || exitCode(err, devNull(t)) != exitFailed {
			t.Errorf("%q: %v", args, err)
		}
		holds(t, stderr, "claimdir: damaged record in .claimdir/records/bad?/x.json")
		if args[0] == "list" {
			holds(t, out, "pvc-1")
		}
	}
	if out, stderr, err := w.run(nil, "restore", "team/data"); err != nil || !strings.Contains(out, "claimdir/restore: pvc-1") || !strings.Contains(stderr, "damaged") {
		t.Errorf("restore: %q, %q, %v", out, stderr, err)
	}
}

func devNull(t *testing.T) *os.File {
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// Nor does a whole share that cannot be used hide the archives of the others.
func TestArchiveListOfTheSharesThatCanBeUsed(t *testing.T) {
	shares := t.TempDir()
	w := &archiveWorld{t: t}
	w.must(os.Mkdir(shares+"/good", 0o755), os.Mkdir(shares+"/other", 0o755))
	w = openArchiveWorld(t, shares+"/good", env("MOUNT_PATH="+shares, "NFS_SERVER=good=nas,other=nas2", "NFS_PATH=good=/a,other=/b"))
	w.archive("team/data", "pvc-1", "")
	out, stderr, err := w.run(nil, "list")
	if err == nil || !strings.Contains(err.Error(), "records or shares that could not be read: 1") {
		t.Error(err)
	}
	holds(t, out, "pvc-1")
	holds(t, stderr, "/other")
	if _, _, err := w.run(nil, "purge", "team", "--yes"); err == nil || w.left() != "" {
		t.Errorf("left are %q, %v", w.left(), err)
	}
}

// A share that claimdir never used is not made one.
func TestArchiveOfAShareWithoutRecords(t *testing.T) {
	dir := t.TempDir()
	w := &archiveWorld{t: t, dir: dir, env: env("MOUNT_PATH="+dir, "NFS_SERVER=nas", "NFS_PATH=/export")}
	for _, args := range [][]string{{"list"}, {"restore", "team/data"}, {"purge", "--all", "--yes"}} {
		if _, _, err := w.run(nil, args...); !errors.Is(err, ledger.ErrNoRecords) {
			t.Errorf("%q: %v", args, err)
		}
	}
	if _, err := os.Stat(dir + "/.claimdir"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Whoever restores an archive is told of which namespace it is, where the name does not say it.
func TestArchiveRestoreToANamespaceThatWasMadeAnew(t *testing.T) {
	w := newArchiveWorld(t)
	in := func(uid string) func(*ledger.Record) { return func(r *ledger.Record) { r.Claim.NamespaceUID = uid } }
	w.archiveOf("here", "team/data", "pvc-1", "", in("n-1"))
	w.archiveOf("here", "team/logs", "pvc-2", "", in("n-2"))
	w.archiveOf("here", "other/data", "pvc-3", "", in("n-3"))
	_, stderr, err := w.run(nil, "restore", "team/data")
	w.must(err)
	holds(t, stderr, "namespace team was deleted and made anew; the archive is of the one with UID n-1", "onExisting: adopt")
	if _, stderr, err = w.run(nil, "restore", "other/data"); err != nil || stderr != "" {
		t.Errorf("got %q, %v", stderr, err)
	}
}

func TestArchiveRestore(t *testing.T) {
	w := newArchiveWorld(t)
	w.archive("team/data", "pvc-1", "1ns")
	w.archive("team/data", "pvc-2", "")
	w.archive("other/data", "pvc-3", "")
	out, stderr, err := w.run(nil, "restore", "team/data", "--volume=pvc-1")
	if err != nil {
		t.Fatal(err)
	}
	holds(t, out, "kind: PersistentVolumeClaim\n", "claimdir/restore: pvc-1\n", "  name: data\n", "  namespace: team\n", "storage: 1Gi\n", "storageClassName: nfs\n")
	holds(t, stderr, "chose the archive of volume pvc-1 (released ", "with --volume: pvc-2 (released ", "the archive has expired")
	if out, stderr, err = w.run(nil, "restore", "other/data", "--to", "data2"); err != nil || stderr != "" {
		t.Errorf("got %q, %v", stderr, err)
	}
	holds(t, out, "  name: data2\n", "  namespace: other\n")
	if out, _, err = w.run(nil, "restore", "team/logs"); out != "" || err == nil || exitCode(err, devNull(t)) != exitFailed {
		t.Errorf("got %q, %v", out, err)
	}
	holds(t, err.Error(), "there is no archive of claim team/logs", "team/data (pvc-1)")
	if got := w.left(); got != "archived-other-data-pvc-3 archived-team-data-pvc-1 archived-team-data-pvc-2" {
		t.Errorf("it changed the share: %s", got)
	}
}

func TestArchivesOfSeveralShares(t *testing.T) {
	dir := t.TempDir()
	lookup := env("MOUNT_PATH="+dir, "NFS_SERVER=nas", "NFS_PATH=bulk=/bulk,fast=/fast")
	var fast *archiveWorld
	for _, name := range []string{"bulk", "fast"} {
		if err := os.Mkdir(dir+"/"+name, 0o777); err != nil {
			t.Fatal(err)
		}
		fast = openArchiveWorld(t, dir+"/"+name, lookup)
		fast.archive("team/"+name, "pvc-"+name, "")
	}
	out, _, err := fast.run(nil, "list")
	if err != nil {
		t.Error(err)
	}
	holds(t, out, "SHARE", "team/bulk  pvc-bulk  bulk ", "team/fast  pvc-fast  fast ")
	_, stderr, err := fast.run(nil, "restore", "team/fast")
	if err != nil {
		t.Error(err)
	}
	holds(t, stderr, `the archive is on share "fast": class "nfs" must put volumes on that share`)
	if out, _, err = fast.run(nil, "purge", "--all", "--yes"); err != nil || fast.left() != "" {
		t.Errorf("left is %q, %v", fast.left(), err)
	}
	holds(t, out, "Moved 2 of 2 archives")
}

// A terminal shows a long name cut, and JSON whole; so does a table that no terminal shows.
func TestALongNameInTheListOfArchives(t *testing.T) {
	w := newArchiveWorld(t)
	claim := "team/" + strings.Repeat("n", 200) + "-end"
	w.archive("team/data", "pvc-1", "")
	w.archive(claim, "pvc-2", "")
	list := func(width int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		w.must(run(t.Context(), append([]string{"archive", "list"}, args...), w.env, streams{out: &out, err: io.Discard, width: width}))
		return out.String()
	}
	for line := range strings.Lines(list(100)) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
			t.Errorf("a line has %d characters: %s", n, line)
		}
	}
	holds(t, list(100), "team/data ", "team/nnn", "…", "n-end  pvc-2")
	holds(t, list(0), claim+"  pvc-2", "\nteam/data  pvc-1")
	holds(t, list(100, "-o", "json"), `"`+strings.TrimPrefix(claim, "team/")+`"`)
}

func TestArchiveUsage(t *testing.T) {
	w := newArchiveWorld(t)
	for _, tt := range []struct {
		args string
		want string
	}{
		{"", "archive needs a command: archive list, archive restore, archive purge"},
		{"frobnicate", `there is no command "archive frobnicate"; commands are: archive list, archive restore, archive purge`},
		{"list a b", `arguments ["a" "b"]: only one is allowed`},
		{"list a/b/c", `argument "a/b/c": allowed are NAMESPACE and NAMESPACE/CLAIM`},
		{"list -o yaml", `--output "yaml": allowed are table and json`},
		{"list --yes", "unknown flag: --yes"},
		{"restore", "exactly one is required, NAMESPACE/CLAIM"},
		{"restore team", `arguments ["team"]: exactly one is required, NAMESPACE/CLAIM`},
		{"restore team/", "exactly one is required, NAMESPACE/CLAIM"},
		{"restore team/data --to A_b", `--to "A_b": not a valid name of a claim`},
		{"purge", "choose archives: NAMESPACE/CLAIM, NAMESPACE, the name of a PersistentVolume, --all or --ended"},
		{"purge --older-than=1h --yes", "choose archives"},
		{"purge --all team", `--all and the arguments ["team"]`},
		{"purge a//b", `argument "a//b": allowed are NAMESPACE/CLAIM, NAMESPACE and the name of a PersistentVolume`},
		{"purge --all --force --retained", "--force and --retained exclude each other"},
		{"purge --all --older-than=-1h", "--older-than -1h0m0s: must not be negative"},
		{"purge --all --older-than=1w", `--older-than "1w": allowed are durations such as "30d" (30 days), "1d12h" or "90m"`},
	} {
		_, stderr, err := w.run(nil, strings.Fields(tt.args)...)
		if usage, is := errors.AsType[*usageError](err); !is || !strings.HasPrefix(usage.command, "claimdir archive") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v", tt.args, err)
		}
		if tt.args == "" {
			holds(t, stderr, "Usage: claimdir archive COMMAND", "  restore   print")
		}
	}
}
