package main

import (
	"debug/elf"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

func TestDistWritesWhatAReleaseConsistsOf(t *testing.T) {
	dir := filepath.Join(released(t), distDir)
	version := theRelease.version
	want := []string{"RELEASE_NOTES.md", "SHA256SUMS", "claimdir-" + version + "-oci.tar", "install.yaml"}
	for _, a := range architectures() {
		want = append(want, "claimdir_"+version+"_linux_"+a, "claimdir_"+version+"_linux_"+a+".cdx.json")
	}
	for _, p := range plugins() {
		want = append(want, "kubectl-claimdir_"+version+"_"+strings.ReplaceAll(p, "/", "_")+".tar.gz")
	}
	want = append(want, "claimdir.yaml")
	if chart, err := readChart(filepath.Join(theRelease.root, chartDir)); err == nil {
		want = append(want, "claimdir-"+chart.Version+".tgz")
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(tree(t, dir))); !slices.Equal(got, want) {
		t.Errorf("dist holds\n%q, not\n%q", got, want)
	}
	if out, err := exec.Command("sh", "-c", "cd "+dir+" && sha256sum --check --strict SHA256SUMS").CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	if lines := strings.Count(tree(t, dir)["SHA256SUMS"], "\n"); lines != len(want)-1 {
		t.Errorf("SHA256SUMS has %d lines for %d other files", lines, len(want)-1)
	}
	if !strings.Contains(theRelease.output, "make push IMAGE=HOST/claimdir:"+version) {
		t.Errorf("dist says %q, not how to push", theRelease.output)
	}
}

func TestTheSameCommitGivesTheSameBytes(t *testing.T) {
	first := tree(t, filepath.Join(released(t), distDir))
	again := filepath.Join(t.TempDir(), "again") // another directory, whose files are younger
	_, err := testGit(theRelease.root, "clone", "--quiet", ".", again)
	must(t, err)
	// What would change a build if it were let.
	for name, value := range map[string]string{"GOFLAGS": "-buildvcs=true", "GOARM64": "v8.2", "GOARM": "5", "TZ": "Asia/Tokyo"} {
		t.Setenv(name, value)
	}
	_, _, err = distribute(t, again)
	must(t, err)
	second := tree(t, filepath.Join(again, distDir))
	for name, content := range first {
		if second[name] != content {
			t.Errorf("%s is not the same: %d and %d bytes", name, len(content), len(second[name]))
		}
	}
	if len(first) != len(second) {
		t.Errorf("%d and %d files", len(first), len(second))
	}
}

func TestTheBinariesAreStaticAndOfTheirArchitecture(t *testing.T) {
	machines := map[string]elf.Machine{
		"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM, "ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390,
	}
	for _, a := range architectures() {
		binary := binaryOf(t, a)
		file, err := elf.Open(binary)
		must(t, err)
		if file.Machine != machines[a] {
			t.Errorf("%s is for %v, not %v", binary, file.Machine, machines[a])
		}
		if slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
			t.Errorf("%s needs a loader", binary)
		}
		if file.Section(".symtab") != nil || file.Section(".debug_info") != nil {
			t.Errorf("%s is not stripped", binary)
		}
		must(t, file.Close())
		if info, err := os.Stat(binary); err != nil || info.Mode() != 0o755 {
			t.Errorf("%s: %v, %v, not mode 0755", binary, info.Mode(), err)
		}
	}
	// A release has one for this machine, whatever it is.
	out, err := exec.Command(binaryOf(t, runtime.GOARCH), "--version").Output()
	if want := "claimdir " + theRelease.version + "\n"; err != nil || string(out) != want {
		t.Errorf("--version prints %q (%v), not %q", out, err, want)
	}
}

func binaryOf(t *testing.T, architecture string) string {
	t.Helper()
	return filepath.Join(released(t), distDir, "claimdir_"+theRelease.version+"_linux_"+architecture)
}

func TestTheSBOMNamesEveryModule(t *testing.T) {
	module := regexp.MustCompile(`(?m)^\t(?:dep|=>)\t(\S+)\t(\S+)`)
	for _, a := range architectures() {
		file, err := os.Open(binaryOf(t, a) + sbomSuffix)
		must(t, err)
		defer file.Close()
		var bom cyclonedx.BOM
		must(t, cyclonedx.NewBOMDecoder(file, cyclonedx.BOMFileFormatJSON).Decode(&bom))
		product := bom.Metadata.Component
		if product.Name != "claimdir" || product.Version != theRelease.version || bom.Metadata.Timestamp != "2026-01-02T03:04:05Z" {
			t.Errorf("%s: it is about %s %s at %s", a, product.Name, product.Version, bom.Metadata.Timestamp)
		}
		if sum, err := fileSum(binaryOf(t, a)); err != nil || (*product.Hashes)[0].Value != sum {
			t.Errorf("%s: it is about another binary: %v, %v", a, *product.Hashes, err)
		}
		named := map[string]string{}
		for _, c := range *bom.Components {
			named[c.Name] = c.Version
			if !strings.HasPrefix(c.PackageURL, "pkg:golang/"+c.Name+"@") || c.Name != "std" && c.Hashes == nil {
				t.Errorf("%s: %s has the package URL %q and the hashes %v", a, c.Name, c.PackageURL, c.Hashes)
			}
		}
		out, err := exec.Command("go", "version", "-m", binaryOf(t, a)).Output()
		must(t, err)
		modules := module.FindAllStringSubmatch(string(out), -1)
		if len(modules) < 20 {
			t.Fatalf("go version -m names %d modules:\n%s", len(modules), out)
		}
		for _, m := range modules {
			if named[m[1]] != m[2] {
				t.Errorf("%s: the SBOM has %s %q, and the binary %s", a, m[1], named[m[1]], m[2])
			}
		}
		if version := strings.TrimPrefix(runtime.Version(), "go"); named["std"] != version {
			t.Errorf("%s: the SBOM has Go's standard library %q, not %s", a, named["std"], version)
		}
		if len(named) != len(modules)+1 {
			t.Errorf("%s: the SBOM has %d components for %d modules and std", a, len(named), len(modules))
		}
	}
}

func TestInstallYAMLIsTheExampleWithTheReleasesImage(t *testing.T) {
	text := tree(t, filepath.Join(released(t), distDir))["install.yaml"]
	if strings.Contains(text, "example.com/claimdir") || strings.Contains(text, "local-config") {
		t.Error("install.yaml holds the example's image, or settings that are kustomize's")
	}
	kinds := map[string]int{}
	for document := range strings.SplitSeq(text, "\n---\n") {
		var d appsv1.Deployment
		must(t, yaml.Unmarshal([]byte(document), &d))
		kinds[d.Kind]++
		if d.Kind != "Deployment" {
			continue
		}
		if got := d.Spec.Template.Spec.Containers[0].Image; got != "claimdir:"+theRelease.version {
			t.Errorf("the image is %s", got)
		}
	}
	for _, kind := range []string{"Namespace", "Deployment", "StorageClass", "PersistentVolume", "PersistentVolumeClaim", "ClusterRole", "ClusterRoleBinding", "ServiceAccount"} {
		if kinds[kind] != 1 {
			t.Errorf("install.yaml has %d of %s", kinds[kind], kind)
		}
	}
	for _, value := range []string{"nfs.example.com", "/exports/claimdir"} { // what its head says to change
		if strings.Count(text, value) != 2 {
			t.Errorf("%s is there %d times, not in the head and in one place", value, strings.Count(text, value))
		}
	}
}

func TestTheNotesAreTheChangelogsWords(t *testing.T) {
	text := tree(t, filepath.Join(released(t), distDir))["RELEASE_NOTES.md"]
	words, err := notes(theRelease.root, theRelease.version)
	must(t, err)
	revision, err := testGit(theRelease.root, "rev-parse", "HEAD")
	must(t, err)
	digest, err := archiveIndex(t).Digest()
	must(t, err)
	for _, want := range []string{"# claimdir " + theRelease.version + "\n\n" + words + "\n", revision, runtime.Version(), digest.String(), strings.Join(architectures(), ", ")} {
		if !strings.Contains(text, want) {
			t.Errorf("the notes do not hold %q:\n%s", want, text)
		}
	}
}
