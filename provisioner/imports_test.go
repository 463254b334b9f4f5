package provisioner

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	ImportPath, Name, Doc string
	Imports, Deps         []string
}

// packages lists those of this module.
func packages(t *testing.T) []goPackage {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Name,Doc,Imports,Deps", "./...")
	list.Dir = ".."
	out, err := list.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("go list: %v: %s", err, exit.Stderr)
	}
	must(t, err)
	var all []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		all = append(all, p)
	}
}

// rooms are the packages of this module, each with those that it may import: imports
// run one way. doc.go says what each is for. A new room gets its row in both.
func rooms() map[string][]string {
	return map[string][]string{
		"volpath":     {},
		"class":       {"volpath"},
		"share":       {"volpath"},
		"ledger":      {"share", "volpath"},
		"access":      {"ledger", "share", "volpath"},
		"refusal":     {},
		"fair":        {},
		"cluster/pvs": {"share"},
		"cluster":     {"cluster/pvs", "ledger", "share"},
		"volume":      {"class", "cluster/pvs", "ledger", "refusal", "share", "volpath"},
		"steps":       {"class", "access", "ledger", "refusal", "share", "volpath", "volume"},
		"copies":      {"access", "class", "fair", "ledger", "share"},
		"":            {"class", "access", "cluster/pvs", "copies", "ledger", "refusal", "share", "steps", "volpath", "volume"},
		"output":      {},
		"page":        {"output"},
		"trash":       {"access", "ledger", "refusal", "share", "steps"},
		"expiry":      {"access", "ledger", "refusal", "share", "steps", "volpath"},
		"sweep":       {"class", "cluster", "cluster/pvs", "doctor", "access", "ledger", "share", "steps", "volpath", "volume"},
		"resize":      {"access", "cluster", "cluster/pvs", "fair", "ledger", "refusal", "share", "steps", "volpath", "volume"},
		"usage":       {"access", "class", "cluster", "ledger", "output", "share", "steps", "volpath", "volume"},
		"control":     {"cluster", "cluster/pvs", "fair"}, // keeps the library honest for any Provisioner; cmd brings them together
		"archives":    {"class", "ledger", "output", "share", "steps", "volpath", "volume"},
		"recovery":    {"cluster/pvs", "cluster/snapshots", "ledger", "output", "share", "volpath", "volume"},
		"doctor":      {"class", "cluster/pvs", "ledger", "output", "refusal", "share", "steps", "volpath", "volume"}, // not cluster: cmd asks it
		"handback":    {"class", "cluster/pvs", "output", "share", "volume"},
		"quota":       {"ledger", "output", "share", "volpath"}, // on the NFS server: no cluster, and no steps, which work through NFS

		"cluster/snapshots": {}, // the snapshot API: like cluster, for objects that may not be there
		"snapshot": {
			"access", "class", "cluster", "cluster/pvs", "cluster/snapshots", "copies", "fair", "ledger", "refusal", "share", "steps", "volpath", "volume",
		},

		"sharetest": {"access", "ledger", "refusal", "share", "steps", "volpath"}, // for tests alone: no room's row may have it
	}
}

// room is the name of a package in rooms, if it is one.
func room(importPath string) (name string, is bool) {
	name, is = strings.CutPrefix(importPath+"/", "claimdir/provisioner/")
	return strings.TrimSuffix(name, "/"), is
}

// rule says what of others a room may not import.
type rule struct {
	room   string
	direct []string // may not be named in an import
	deps   []string // may not be reached either; "x/..." is x and all below it
	why    string
}

func rules() (all []rule) {
	kubernetes := []string{"k8s.io/...", "sigs.k8s.io/..."}
	for name := range rooms() {
		if name == "share" || name == "sharetest" {
			continue
		}
		direct := []string{"os", "path/filepath", "syscall", "io/ioutil"}
		if name != "control" { // reads CLOCK_BOOTTIME, for which package time has no function
			direct = append(direct, "golang.org/x/sys/...")
		}
		all = append(all, rule{name, direct, nil, "only provisioner/share touches files: one place to prove that no link is followed"})
	}
	return append(all,
		rule{"volpath", nil, kubernetes, "pure: no Kubernetes, no logging; the caller hands over plain values"},
		rule{"class", nil, kubernetes, "pure: no Kubernetes, no logging; a map in, a Class out"},
		rule{"share", []string{"path/filepath"}, nil, "follows links and cleans in silence; paths are volpath.Path, opened one element at a time"},
		rule{"share", nil, append(kubernetes, "log", "log/slog"), "files only: no Kubernetes, no logging; return errors"},
		rule{"ledger", nil, kubernetes, "records outlive Kubernetes objects: plain values only"},
		rule{"refusal", nil, kubernetes, "plain errors: whoever refuses can use it"},
		rule{"volume", nil, []string{"k8s.io/client-go/...", "sigs.k8s.io/sig-storage-lib-external-provisioner/..."}, "turns objects into one another: no cluster to ask, and whoever provisions can use it"},
		rule{"cluster/pvs", nil, []string{"k8s.io/client-go/..."}, "pure: is given PersistentVolumes and asks nobody, so that doctor may use it"},
		rule{"steps", nil, []string{"k8s.io/client-go/...", "sigs.k8s.io/sig-storage-lib-external-provisioner/..."}, "knows no kind of front door: whoever provisions can use it"},
		rule{"access", nil, []string{"k8s.io/api/...", "k8s.io/client-go/..."}, "keeps a share for whoever works on it: no objects of Kubernetes"},
		rule{"recovery", []string{"k8s.io/client-go/..."}, nil, "there may be no cluster to ask; cmd asks it"},
		rule{"archives", []string{"k8s.io/client-go/..."}, nil, "there is no cluster to ask"},
		rule{"page", nil, []string{"k8s.io/...", "sigs.k8s.io/sig-storage-lib-external-provisioner/..."}, "is given what it shows: it can ask nobody"},
		rule{"output", []string{"k8s.io/client-go/..."}, nil, "writes to what it is given"},
		rule{"quota", []string{"k8s.io/client-go/..."}, nil, "there is no cluster to ask"},
		rule{"handback", []string{"k8s.io/client-go/..."}, nil, "is given what it judges; cmd asks the cluster"},
		rule{"doctor", []string{"k8s.io/client-go/..."}, nil, "is given what it compares; cmd asks the cluster"},
		rule{"", []string{"k8s.io/client-go/..."}, nil, "needs no API client: the PersistentVolume carries its policy"},
	)
}

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t) {
		name, isRoom := room(p.ImportPath)
		allowed, known := rooms()[name]
		if isRoom && !known {
			t.Errorf("%s is not in the table of rooms", p.ImportPath)
		}
		seen[name] = seen[name] || isRoom
		for _, other := range p.Imports {
			if imported, is := room(other); isRoom && is && !slices.Contains(allowed, imported) {
				t.Errorf("%s imports %s: the table of rooms does not allow it", p.ImportPath, other)
			}
		}
		for _, r := range rules() {
			if !isRoom || name != r.room {
				continue
			}
			for _, other := range forbidden(p.Imports, r.direct) {
				t.Errorf("%s imports %s: %s", p.ImportPath, other, r.why)
			}
			for _, other := range forbidden(p.Deps, r.deps) {
				t.Errorf("%s reaches %s (go list -deps): %s", p.ImportPath, other, r.why)
			}
		}
		bed := []string{"claimdir/hack/..."}
		if name != "sharetest" {
			bed = append(bed, "testing")
		}
		for _, other := range forbidden(p.Deps, bed) {
			t.Errorf("%s reaches %s: the test bed never reaches the product", p.ImportPath, other)
		}
		for _, other := range forbidden(p.Deps, []string{"claimdir/provisioner/sharetest"}) {
			t.Errorf("%s reaches %s: it is for tests alone", p.ImportPath, other)
		}
		for _, other := range forbidden(p.Imports, []string{"claimdir/cmd/..."}) {
			t.Errorf("%s imports %s: nothing imports a command", p.ImportPath, other)
		}
	}
	for name := range rooms() {
		if !seen[name] {
			t.Errorf("there is no room %q: mend the table of this test", name)
		}
	}
}

// forbidden returns those of names that a pattern matches.
func forbidden(names, patterns []string) []string {
	var found []string
	for _, name := range names {
		for _, pattern := range patterns {
			if below, whole := strings.CutSuffix(pattern, "/..."); name == pattern || whole && (name == below || strings.HasPrefix(name, below+"/")) {
				found = append(found, name)
			}
		}
	}
	return found
}

func TestPackageDocs(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("package %s has no comment", p.ImportPath)
		} else if p.Name != "main" && !strings.HasPrefix(p.Doc, "Package "+p.Name+" ") {
			t.Errorf("the comment of package %s begins with %q", p.ImportPath, p.Doc)
		}
	}
}
