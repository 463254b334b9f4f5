package controlplane

import (
	"context"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	kubernetesModule  = "k8s.io/kubernetes"
	etcdModule        = "go.etcd.io/etcd/server/v3"
	snapshotterModule = "github.com/kubernetes-csi/external-snapshotter/v8"
	snapshotterClient = "github.com/kubernetes-csi/external-snapshotter/client/v8"
	helmModule        = "helm.sh/helm/v4"
)

// Modules beside this package that pin programs. The snapshot-controller and helm have modules of their own: they require other
// versions of Kubernetes' libraries, and a new pin of them must not build all of Kubernetes anew.
const (
	kubernetesPins  = "binaries"
	snapshotterPins = "snapshotter"
	helmPins        = "helm"
)

// Binaries are the paths of the programs of a control plane.
type Binaries struct {
	Etcd                  string
	KubeAPIServer         string
	KubeControllerManager string
	Kubectl               string
}

// NodeBinaries are the paths of the programs that make a machine a node.
type NodeBinaries struct {
	Kubelet       string
	KubeScheduler string
	KubeProxy     string
}

// ConformanceBinaries are the paths of what runs Kubernetes' own tests of
// storage.
type ConformanceBinaries struct {
	E2ETest string // test binary with the External Storage suite
	Ginkgo  string // runs it on several processes
	Agnhost string // program of the image that most of its pods run; static
}

// set is programs that are built together and kept in one directory. It names
// its packages, not `tool`, so that nobody compiles what another set needs.
type set struct {
	name     string // for people
	pins     string // directory of the module that pins the programs
	module   string // whose version the programs have
	minutes  int    // that a build takes on two cores where nothing is cached
	commands []string
	tests    []string // packages that become test binaries
}

func controlPlaneSet() set {
	return set{name: "control plane", pins: kubernetesPins, module: kubernetesModule, minutes: 10, commands: []string{
		etcdModule,
		kubernetesModule + "/cmd/kube-apiserver",
		kubernetesModule + "/cmd/kube-controller-manager",
		kubernetesModule + "/cmd/kubectl",
	}}
}

func nodeSet() set {
	return set{name: "node", pins: kubernetesPins, module: kubernetesModule, minutes: 8, commands: []string{
		kubernetesModule + "/cmd/kubelet",
		kubernetesModule + "/cmd/kube-scheduler",
		kubernetesModule + "/cmd/kube-proxy",
	}}
}

func conformanceSet() set {
	return set{name: "conformance", pins: kubernetesPins, module: kubernetesModule, minutes: 8, commands: []string{
		kubernetesModule + "/test/images/agnhost",
		"github.com/onsi/ginkgo/v2/ginkgo",
	}, tests: []string{"./e2e"}}
}

func snapshotterSet() set {
	return set{name: "snapshot-controller", pins: snapshotterPins, module: snapshotterModule, minutes: 6, commands: []string{
		snapshotterModule + "/cmd/snapshot-controller",
	}}
}

func helmSet() set {
	return set{name: "helm", pins: helmPins, module: helmModule, minutes: 4, commands: []string{helmModule + "/cmd/helm"}}
}

// Build returns the programs of a control plane, which binaries/go.mod pins,
// and builds them first if the cache does not hold them. While it builds or
// waits for another process that does, it writes a line to progress every ten
// seconds; nil discards them.
//
// A build that is killed leaves nothing that a later one would take for whole.
// The caller's GOFLAGS, GOWORK and the like have no influence.
func Build(ctx context.Context, progress io.Writer) (Binaries, error) {
	dir, err := build(ctx, controlPlaneSet(), progress)
	if err != nil {
		return Binaries{}, err
	}
	return binariesIn(dir), nil
}

// BuildNode is Build for the programs of a node.
func BuildNode(ctx context.Context, progress io.Writer) (NodeBinaries, error) {
	dir, err := build(ctx, nodeSet(), progress)
	if err != nil {
		return NodeBinaries{}, err
	}
	return NodeBinaries{
		Kubelet:       filepath.Join(dir, "kubelet"),
		KubeScheduler: filepath.Join(dir, "kube-scheduler"),
		KubeProxy:     filepath.Join(dir, "kube-proxy"),
	}, nil
}

// BuildConformance is Build for what runs Kubernetes' own tests of storage.
func BuildConformance(ctx context.Context, progress io.Writer) (ConformanceBinaries, error) {
	dir, err := build(ctx, conformanceSet(), progress)
	if err != nil {
		return ConformanceBinaries{}, err
	}
	return ConformanceBinaries{
		E2ETest: filepath.Join(dir, "e2e.test"),
		Ginkgo:  filepath.Join(dir, "ginkgo"),
		Agnhost: filepath.Join(dir, "agnhost"),
	}, nil
}

// BuildSnapshotController is Build for the snapshot-controller of Kubernetes CSI, which snapshotter/go.mod pins. It returns
// the path of the program.
func BuildSnapshotController(ctx context.Context, progress io.Writer) (string, error) {
	dir, err := build(ctx, snapshotterSet(), progress)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "snapshot-controller"), nil
}

// BuildHelm is Build for helm, which helm/go.mod pins. It returns the path of the program.
func BuildHelm(ctx context.Context, progress io.Writer) (string, error) {
	dir, err := build(ctx, helmSet(), progress)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "helm"), nil
}

func binariesIn(dir string) Binaries {
	return Binaries{
		Etcd:                  filepath.Join(dir, "etcd"),
		KubeAPIServer:         filepath.Join(dir, "kube-apiserver"),
		KubeControllerManager: filepath.Join(dir, "kube-controller-manager"),
		Kubectl:               filepath.Join(dir, "kubectl"),
	}
}

// programs are the names of the files that the set is built into.
func (s set) programs() []string {
	var names []string
	for _, command := range s.commands {
		if command == etcdModule {
			names = append(names, "etcd")
		} else {
			names = append(names, path.Base(command))
		}
	}
	for _, test := range s.tests {
		names = append(names, path.Base(test)+".test")
	}
	return names
}

// directory begins the name of the set's directories; the versions say what is
// in it.
func (s set) directory(versions map[string]string) string {
	name := "kubernetes-" + versions[kubernetesModule] + "-"
	switch {
	case s.module != kubernetesModule:
		return s.name + "-" + versions[s.module]
	case s.name == controlPlaneSet().name:
		return name + "etcd-" + versions[etcdModule]
	}
	return name + strings.ReplaceAll(s.name, " ", "-")
}

// versioned are the modules whose versions the name of a build says.
func (s set) versioned() []string {
	if s.module == kubernetesModule {
		return []string{kubernetesModule, etcdModule}
	}
	return []string{s.module}
}

// recipe is the go commands that build the set into out. It takes part in the
// key of a build.
func (s set) recipe(out, version string) [][]string {
	variable := "k8s.io/component-base/version.gitVersion"
	switch s.module {
	case snapshotterModule:
		variable = "main.version"
	case helmModule:
		variable = helmModule + "/internal/version.version"
	}
	flags := []string{"-trimpath", "-ldflags", "-s -w -X " + variable + "=" + version,
		"-o", out + string(filepath.Separator)}
	// The packages of the tests are built first without their tests, for the
	// sake of -v: go build then names each package that it compiles, where go
	// test -c is silent.
	recipe := [][]string{slices.Concat([]string{"build", "-v"}, flags, s.packages())}
	for _, test := range s.tests {
		recipe = append(recipe, slices.Concat([]string{"test", "-c"}, flags, []string{test}))
	}
	return recipe
}

// packages are all that take part.
func (s set) packages() []string { return slices.Concat(s.commands, s.tests) }
