package chart

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"claimdir/provisioner/class"
)

// Bad values are refused before anything happens, with their names, what is allowed, and what to do.
func TestRefusedValues(t *testing.T) {
	h := newHelm(t, "")
	example, takeover := []string{"--values", ci("example")}, []string{"--values", ci("takeover")}
	several := []string{"--values", ci("several-shares")}
	for name, tt := range map[string]struct {
		values []string
		set    string
		words  []string
	}{
		"no value at all":                 {nil, "", []string{"image.repository is empty", "push the image", "nfs.server is empty", "shares"}},
		"a misspelt value":                {example, "nfs.serverr=nas", []string{"'/nfs'", "'serverr' not allowed"}},
		"a misspelt value at the top":     {example, "replicas=2", []string{"'replicas' not allowed"}},
		"a misspelt policy":               {example, "storageClass.onDelete=Delet", []string{"'/storageClass/onDelete'", "'delete', 'archive', 'retain'"}},
		"a misspelt key of the policy":    {example, "storageClass.ondelete=delete", []string{"'/storageClass'", "'ondelete' not allowed"}},
		"a path without slash":            {example, "nfs.path=exports", []string{"'/nfs/path'", "'exports'", "^/"}},
		"a path with a quote":             {example, "nfs.path=/a'b", []string{"'/nfs/path'"}},
		"a server with a quote":           {example, "nfs.server=a'b", []string{"'/nfs/server'"}},
		"a share that is recycled":        {example, "nfs.reclaimPolicy=Recycle", []string{`nfs.reclaimPolicy is "Recycle"`, "delete everything on the share", "--set nfs.reclaimPolicy=Retain"}},
		"a misspelt reclaim policy":       {example, "nfs.reclaimPolicy=retain", []string{`nfs.reclaimPolicy is "retain"`, "Retain and Delete"}},
		"one share and several":           {several, "nfs.server=nas", []string{`nfs.server is "nas", and shares are set`, "for one share set nfs alone"}},
		"no path":                         {example, "nfs.path=null", []string{"nfs.path is empty", "/exports/claimdir"}},
		"an image without registry":       {example, "image.repository=", []string{"image.repository is empty"}},
		"the peer's image":                {takeover, "image.repository=registry.k8s.io/sig-storage/nfs-subdir-external-provisioner", []string{"image of another provisioner", "set it to that of claimdir"}},
		"the image of its predecessor":    {takeover, "image.repository=quay.io/external_storage/nfs-client-provisioner", []string{"image of another provisioner"}},
		"the peer's tag":                  {takeover, "image.tag=v4.0.2", []string{`image.tag is "v4.0.2"`, "nfs-subdir-external-provisioner", "v0.1.0"}},
		"a tag in the repository":         {example, "image.repository=localhost:5000/claimdir:v1", []string{"image.repository is", "image.tag"}},
		"a digest in the repository":      {example, "image.repository=a/claimdir@sha256:0", []string{"image.digest"}},
		"a digest that is none":           {example, "image.digest=sha256:12", []string{"'/image/digest'"}},
		"several shares in a takeover":    {takeover, "shares[0].name=a,shares[0].server=b,shares[0].path=/c", []string{"has one share", "another release"}},
		"more parameters in a takeover":   {takeover, "storageClass.parameters.mode=0770", []string{"storageClass.parameters has mode", "another class in storageClasses"}},
		"a takeover without its values":   {takeover, "nfs.server=null", []string{"nfs.server is empty", "--reset-then-reuse-values", "helm get values"}},
		"a share without server":          {example, "nfs.server=null,shares[0].name=a,shares[0].path=/c", []string{"'/shares/0'", "'server'"}},
		"a share's name with a slash":     {several, "shares[0].name=a/b", []string{"'/shares/0/name'"}},
		"two shares of one name":          {several, "shares[1].name=fast,shares[1].server=b,shares[1].path=/c", []string{`two of the name "fast"`}},
		"two shares of one export":        {several, "shares[1].name=slow,shares[1].server=ssd.example.com,shares[1].path=/exports/fast", []string{`"fast" and "slow" are the same export ssd.example.com:/exports/fast`}},
		"a class without share":           {several, "storageClass.create=true", []string{`StorageClass "claimdir" does not say on which share`, "fast, bulk", "storageClass.create=false"}},
		"a class of a share that is none": {several, "storageClasses[0].name=a,storageClasses[0].parameters.share=slow", []string{`no share has the name "slow"`, "fast, bulk"}},
		"a share's name and one share":    {example, "storageClass.parameters.share=fast", []string{`share: "fast"`, "leave the parameter out"}},
		"two classes of one name":         {example, "storageClasses[0].name=claimdir", []string{`two StorageClasses have the name "claimdir"`}},
		"a misspelt parameter":            {example, "storageClass.parameters.onExisiting=adopt", []string{"'/storageClass/parameters'", "'onExisiting' not allowed"}},
		"a policy at the wrong place":     {example, "storageClass.parameters.onDelete=delete", []string{"'/storageClass/parameters'", "'onDelete' not allowed"}},
		"a mode without quotes":           {example, "storageClass.parameters.mode=770", []string{"'/storageClass/parameters/mode'", "want string"}},
		"replicas without a leader":       {example, "replicaCount=2,leaderElection.enabled=false", []string{"replicaCount is 2", "leaderElection.enabled=true"}},
		"less than no replica":            {example, "replicaCount=-1", []string{"'/replicaCount'", "minimum"}},
		"no ServiceAccount":               {example, "serviceAccount.create=false", []string{"serviceAccount.name is empty", `do not take "default"`}},
		"a NetworkPolicy of nobody":       {append(slices.Clone(example), "--set-json", "networkPolicy.from=[]"), "", []string{"'/networkPolicy/from'", "minItems"}},
		"a NetworkPolicy without from":    {example, "networkPolicy.enabled=true,networkPolicy.from=null", []string{"'/networkPolicy'", "missing property 'from'"}},
		"a variable that is set already":  {example, "settings.workers=3,extraEnv[0].name=WORKERS", []string{`extraEnv has "WORKERS"`}},
		"a variable twice":                {example, "extraEnv[0].name=A,extraEnv[1].name=A", []string{`extraEnv has "A"`}},
		"a misspelt setting":              {example, "settings.worker=3", []string{"'/settings'", "'worker' not allowed"}},
		"a setting that is too small":     {example, "settings.workers=0", []string{"'/settings/workers'", "minimum"}},
		"a time without unit":             {example, "settings.sweepInterval=60", []string{"'/settings/sweepInterval'", "want string"}},
		"a time that is none":             {example, "settings.sweepInterval=hourly", []string{"'/settings/sweepInterval'", "'hourly'"}},
		"a strategy that is none":         {example, "strategyType=Rolling", []string{"'/strategyType'", "'RollingUpdate', 'Recreate'"}},
		"a provisioner's name with comma": {example, `storageClass.provisionerName=a\,b`, []string{"'/storageClass/provisionerName'"}},
		"two mistakes are told together":  {example, "image.repository=,serviceAccount.create=false", []string{"image.repository", "serviceAccount.name"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"template", "one", ours}, tt.values...)
			if tt.set != "" {
				args = append(args, "--set", tt.set)
			}
			h.refused(t, tt.words, args...)
		})
	}
}

// Each value of the peer's chart is accepted, with its default and with others.
func TestPeersValues(t *testing.T) {
	h := newHelm(t, "")
	args := []string{"template", "one", ours, "--values", filepath.Join(peer, "values.yaml"), "--set", "takeover.enabled=true",
		"--set", "image.repository=" + image, "--set", "image.tag=", "--set", "nfs.server=nas"}
	if all := objects(t, h.must(t, args...)); all["Deployment default one-nfs-subdir-external-provisioner"] == nil {
		t.Errorf("got %q", slices.Collect(maps.Keys(all)))
	}
	changed := filepath.Join("testdata", "peer-changed.yaml")
	rendered := h.must(t, append(args, "--values", changed)...)
	var values, others map[string]any
	for file, into := range map[string]*map[string]any{filepath.Join(peer, "values.yaml"): &values, changed: &others} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(data, into); err != nil {
			t.Fatal(err)
		}
	}
	here, there := leaves("", values), leaves("", others)
	for _, name := range slices.Sorted(maps.Keys(here)) {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(there)), func(other string) bool { return other == name || strings.HasPrefix(other, name+".") }) {
			t.Errorf("%s has no other value for %s", changed, name)
		}
	}
	for _, word := range []string{"reclaimPolicy: Retain", "volumeBindingMode: WaitForFirstConsumer", "allowVolumeExpansion: false", `archiveOnDelete: "false"`,
		"onDelete: retain", "name: other", "serviceAccountName: theirs", "priorityClassName: \"high\"", "owner: storage", "replicas: 2", "name: root",
		"memory: 128Mi", "disk: ssd", "fsGroup: 2000", "privileged: false", "kind: PodDisruptionBudget", "name: pv-theirs", "- ReadWriteMany"} {
		if !strings.Contains(rendered, word) {
			t.Errorf("%q is not rendered", word)
		}
	}
}

// leaves are the paths of all that is no map, or an empty one.
func leaves(prefix string, values map[string]any) map[string]any {
	all := map[string]any{}
	for name, value := range values {
		if inner, ok := value.(map[string]any); ok && len(inner) > 0 {
			maps.Copy(all, leaves(prefix+name+".", inner))
			continue
		}
		all[prefix+name] = value
	}
	return all
}

// The schema knows the parameters of classes that the code knows, and each flag of claimdir can be set.
func TestSchemaKnowsTheCode(t *testing.T) {
	var root struct {
		Properties struct {
			StorageClass   struct{ Properties map[string]keys }
			StorageClasses struct {
				Items struct{ Properties map[string]keys }
			}
			Snapshots struct{ Properties map[string]keys }
			Settings  keys
		}
	}
	data, err := os.ReadFile(filepath.Join(ours, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	p := root.Properties
	var parameters, snapshots []string
	for _, parameter := range class.Parameters() {
		parameters = append(parameters, parameter.Name)
	}
	for _, parameter := range class.SnapshotParameters() {
		snapshots = append(snapshots, parameter.Name)
	}
	sameNames(t, "storageClasses[].parameters", p.StorageClasses.Items.Properties["parameters"].names(), parameters)
	sameNames(t, "storageClass.parameters and storageClass", append(p.StorageClass.Properties["parameters"].names(), "pathPattern", "onDelete", "archiveOnDelete"), parameters)
	sameNames(t, "snapshots.parameters", p.Snapshots.Properties["parameters"].names(), snapshots)

	help, err := os.ReadFile("../../cmd/claimdir/testdata/help.txt")
	if err != nil {
		t.Fatal(err)
	}
	// Those that other values set, that follow from the pod, or that only somebody with an odd pod needs: extraEnv.
	settings := []string{"PROVISIONER_NAME", "ADDITIONAL_PROVISIONER_NAMES", "ENABLE_LEADER_ELECTION", "POD_NAMESPACE",
		"MOUNT_PATH", "HTTP_ADDRESS", "NFS_SERVER", "NFS_PATH", "KUBECONFIG"}
	for _, name := range p.Settings.names() {
		settings = append(settings, variable(name))
	}
	var variables []string
	for _, match := range regexp.MustCompile(`\(([A-Z_]{4,})\)`).FindAllStringSubmatch(string(help), -1) {
		variables = append(variables, match[1])
	}
	sameNames(t, "settings", settings, variables)
}

// variable is the environment variable of a setting.
func variable(setting string) string {
	return strings.ToUpper(regexp.MustCompile(`[A-Z]`).ReplaceAllString(setting, "_$0"))
}

type keys struct{ Properties map[string]any }

func (k keys) names() []string { return slices.Collect(maps.Keys(k.Properties)) }

func sameNames(t *testing.T, of string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: the schema has\n%q\nthe code\n%q", of, got, want)
	}
}

// Each setting becomes its variable, as it was typed.
func TestSettings(t *testing.T) {
	h := newHelm(t, "")
	var values struct{ Settings map[string]json.RawMessage }
	data, err := os.ReadFile(ci("everything"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	if len(values.Settings) < 16 {
		t.Errorf("%s sets %d settings, which cannot be all", ci("everything"), len(values.Settings))
	}
	rendered := objects(t, h.must(t, "template", "one", ours, "--values", ci("everything")))["Deployment default one-claimdir"]
	container := element(t, rendered.Object, "spec", "template", "spec", "containers")
	env := map[string]any{}
	list, _ := container["env"].([]any)
	for _, entry := range list {
		entry, _ := entry.(map[string]any)
		name, _ := entry["name"].(string)
		env[name] = entry["value"]
	}
	for name, value := range values.Settings {
		if want := strings.Trim(string(value), `"`); env[variable(name)] != want {
			t.Errorf("%s is %v, want %s", variable(name), env[variable(name)], want)
		}
	}
	for name, want := range map[string]string{
		"PROVISIONER_NAME": "example.com/nfs", "GOGC": "50",
		"ADDITIONAL_PROVISIONER_NAMES": "cluster.local/nfs-subdir-external-provisioner,fuseim.pri/ifs",
	} {
		if env[name] != want {
			t.Errorf("%s is %v, want %s", name, env[name], want)
		}
	}
}
