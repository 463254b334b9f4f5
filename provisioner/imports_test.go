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

// rule says what a package may not import.
type rule struct {
	room   string   // package path without the module's name
	direct []string // may not be named in an import
	deps   []string // may not be reached either; "x/..." is x and all below it
	why    string
}

// rules is the table of DESIGN section 4; hack/golangci.yml says the same.
func rules() []rule {
	kubernetes := []string{"k8s.io/...", "sigs.k8s.io/..."}
	files := []string{"os", "path/filepath", "syscall", "io/ioutil", "golang.org/x/sys/..."}
	above := func(rooms ...string) []string {
		deps := []string{"claimdir/cmd/...", "claimdir/provisioner"}
		for _, room := range rooms {
			deps = append(deps, "claimdir/provisioner/"+room+"/...")
		}
		return deps
	}
	return []rule{
		{"provisioner/volpath", files, nil, "pure: decides about names only, so that it can be fuzzed; files are provisioner/share's business"},
		{"provisioner/volpath", nil, kubernetes, "pure: no Kubernetes, no logging; the caller hands over plain values"},
		{"provisioner/volpath", nil, above("class", "control", "ledger", "share", "trash"), "the lowest room imports no other"},
		{"provisioner/class", files, nil, "pure: a map in, a Class out; files are provisioner/share's business"},
		{"provisioner/class", nil, kubernetes, "pure: no Kubernetes, no logging; a map in, a Class out"},
		{"provisioner/class", nil, above("control", "ledger", "share", "trash"), "class may import volpath"},
		{"provisioner/share", []string{"path/filepath"}, nil, "follows links and cleans in silence; paths are volpath.Path, resolved by os.Root"},
		{"provisioner/share", nil, append(kubernetes, "log", "log/slog"), "files only: no Kubernetes, no logging; return errors"},
		{"provisioner/share", nil, above("class", "control", "ledger", "trash"), "share may import volpath"},
		{"provisioner/ledger", files, nil, "only provisioner/share touches files: one place to prove that no link is followed"},
		{"provisioner/ledger", nil, kubernetes, "records outlive Kubernetes objects: plain values only"},
		{"provisioner/ledger", nil, above("class", "control", "trash"), "ledger may import share and volpath"},
		{"provisioner/keeper", files, nil, "only provisioner/share touches files"},
		{"provisioner/keeper", nil, append(above("class", "control", "doctor", "recovery", "trash"), "k8s.io/api/...", "k8s.io/client-go/..."), "keeps a share for whoever works on it; keeper may import ledger, share and volpath"},
		{"provisioner/trash", files, nil, "only provisioner/share touches files"},
		{"provisioner/trash", nil, above("class", "control"), "trash may import keeper, ledger, share and volpath"},
		{"provisioner/control", files, nil, "only provisioner/share touches files"},
		{"provisioner/control", nil, above("class", "ledger", "share", "trash"), "keeps the library honest for any Provisioner; cmd brings them together"},
		{"provisioner/recovery", append(files, "k8s.io/client-go/..."), nil, "only provisioner/share touches files, and there is no cluster to ask"},
		{"provisioner/recovery", nil, []string{"claimdir/provisioner/control/...", "claimdir/provisioner/doctor/...", "claimdir/provisioner/trash/..."}, "needs no cluster: it is for when there is none"},
		{"provisioner/archives", append(files, "k8s.io/client-go/..."), nil, "only provisioner/share touches files, and there is no cluster to ask"},
		{"provisioner/archives", nil, []string{"claimdir/provisioner/control/...", "claimdir/provisioner/doctor/...", "claimdir/provisioner/recovery/...", "claimdir/provisioner/trash/..."}, "stands beside the controller, and only puts things where its trash is emptied"},
		{"provisioner/output", append(files, "k8s.io/client-go/..."), nil, "writes to what it is given"},
		{"provisioner/output", nil, above("archives", "class", "control", "doctor", "keeper", "recovery", "trash"), "output may import ledger, share and volpath"},
		{"provisioner/doctor", append(files, "k8s.io/client-go/..."), nil, "only provisioner/share touches files, and cmd asks the cluster"},
		{"provisioner/doctor", nil, []string{"claimdir/provisioner/control/...", "claimdir/provisioner/recovery/...", "claimdir/provisioner/sweep/...", "claimdir/provisioner/trash/..."}, "is given what it compares; cmd asks the cluster"},
		{"provisioner/sweep", files, nil, "only provisioner/share touches files"},
		{"provisioner/sweep", nil, []string{"claimdir/cmd/...", "claimdir/provisioner/control/...", "claimdir/provisioner/recovery/...", "claimdir/provisioner/trash/..."}, "sweep may import doctor, keeper, provisioner and what they do; cmd brings it and control together"},
		{"provisioner", files, nil, "only provisioner/share touches files"},
		{"provisioner", nil, []string{"claimdir/cmd/...", "claimdir/provisioner/control/..."}, "imports run one way; cmd brings them together"},
		{"provisioner", []string{"k8s.io/client-go/..."}, nil, "needs no API client: the PersistentVolume carries its policy"},
	}
}

func TestImports(t *testing.T) {
	all := packages(t)
	for _, name := range []string{"provisioner", "provisioner/class", "provisioner/volpath", "provisioner/share", "provisioner/ledger", "provisioner/keeper", "provisioner/trash", "provisioner/control", "provisioner/recovery", "provisioner/archives", "provisioner/output", "provisioner/doctor", "provisioner/sweep", "cmd/claimdir"} {
		if !slices.ContainsFunc(all, func(p goPackage) bool { return p.ImportPath == "claimdir/"+name }) {
			t.Errorf("there is no package %s: mend the table of this test", name)
		}
	}
	for _, p := range all {
		for _, r := range rules() {
			if p.ImportPath != "claimdir/"+r.room {
				continue
			}
			for _, name := range forbidden(p.Imports, r.direct) {
				t.Errorf("%s imports %s: %s", p.ImportPath, name, r.why)
			}
			for _, name := range forbidden(p.Deps, r.deps) {
				t.Errorf("%s reaches %s (go list -deps): %s", p.ImportPath, name, r.why)
			}
		}
		for _, name := range forbidden(p.Deps, []string{"claimdir/hack/...", "testing"}) {
			t.Errorf("%s reaches %s: the test bed never reaches the product", p.ImportPath, name)
		}
		for _, name := range forbidden(p.Imports, []string{"claimdir/cmd/..."}) {
			t.Errorf("%s imports %s: nothing imports a command", p.ImportPath, name)
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
