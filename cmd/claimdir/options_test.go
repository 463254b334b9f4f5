package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestHelpIsTheGoldenFile(t *testing.T) {
	for golden, args := range map[string][]string{
		"testdata/help.txt":           {"--help", "--workers=none"},
		"testdata/help-recover.txt":   {"recover", "--help"},
		"testdata/help-doctor.txt":    {"doctor", "--help"},
		"testdata/help-handback.txt":  {"handback", "--help"},
		"testdata/help-preflight.txt": {"preflight", "--help"},
		"testdata/help-usage.txt":     {"usage", "--help"},
		"testdata/help-quota.txt":     {"quota", "--help"},

		"testdata/help-archive.txt":         {"archive", "--help"},
		"testdata/help-archive-list.txt":    {"archive", "list", "--help"},
		"testdata/help-archive-restore.txt": {"archive", "restore", "--help"},
		"testdata/help-archive-purge.txt":   {"archive", "purge", "--help"},

		"testdata/help-snapshot.txt":       {"snapshot", "--help"},
		"testdata/help-snapshot-list.txt":  {"snapshot", "list", "--help"},
		"testdata/help-snapshot-purge.txt": {"snapshot", "purge", "--help"},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), args, noEnv, streams{out: &out, err: io.Discard}); err != nil {
			t.Fatal(err)
		}
		isGolden(t, golden, out.String())
	}
}

func isGolden(t *testing.T, golden, out string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out != string(want) {
		t.Errorf("--help changed; if that is wanted, run make update. It prints:\n%s", out)
	}
}

func TestVersion(t *testing.T) {
	for _, args := range []string{"--version", "--version --bogus", "archive list --version"} {
		var out bytes.Buffer
		if err := run(t.Context(), strings.Fields(args), noEnv, streams{out: &out, err: io.Discard}); err != nil || out.String() != "claimdir devel\n" {
			t.Errorf("%s: got %q, %v", args, out.String(), err)
		}
	}
}

var silent = streams{out: io.Discard, err: io.Discard}

func noEnv(string) (string, bool) { return "", false }

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, pair := range pairs {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}
}

func TestParse(t *testing.T) {
	peer := env("PROVISIONER_NAME=k8s-sigs.io/nfs-subdir-external-provisioner", "NFS_SERVER=10.3.243.101", "NFS_PATH=/ifs/kubernetes/", "ENABLE_LEADER_ELECTION=false")
	for name, tc := range map[string]struct {
		args []string
		env  func(string) (string, bool)
		want func(*options)
	}{
		"nothing given: the defaults": {env: noEnv, want: func(*options) {}},
		"the environment of nfs-subdir-external-provisioner": {env: peer, want: func(o *options) {
			o.provisionerName, o.nfsServer, o.nfsPath, o.leaderElect = "k8s-sigs.io/nfs-subdir-external-provisioner", "10.3.243.101", "/ifs/kubernetes/", false
		}},
		"a flag wins over its variable": {args: []string{"--nfs-server=other", "--enable-leader-election"}, env: peer, want: func(o *options) {
			o.provisionerName, o.nfsServer, o.nfsPath = "k8s-sigs.io/nfs-subdir-external-provisioner", "other", "/ifs/kubernetes/"
		}},
		"an empty variable counts as not set": {env: env("WORKERS=", "MOUNT_PATH="), want: func(*options) {}},
		"several names": {env: env("ADDITIONAL_PROVISIONER_NAMES=fuseim.pri/ifs,cluster.local/nfs"), want: func(o *options) {
			o.additionalNames = []string{"fuseim.pri/ifs", "cluster.local/nfs"}
		}},
		"durations and numbers": {args: []string{"-v", "4"}, env: env("DRAIN_TIMEOUT=2m", "WORKERS=3"), want: func(o *options) {
			o.verbosity, o.workers, o.drainTimeout = 4, 3, 120e9
		}},
		"days": {args: []string{"--sweep-interval=1d"}, env: env("ORPHAN_GRACE=30d", "SHARE_TIMEOUT=0d1m", "DRAIN_TIMEOUT=1d12h"), want: func(o *options) {
			o.sweepInterval, o.orphanGrace, o.shareTimeout, o.drainTimeout = 24*time.Hour, 720*time.Hour, time.Minute, 36*time.Hour
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, want := &controllerOptions{newOptions()}, newOptions()
			tc.want(&want)
			c := program{}.command(&cobra.Command{}, got)
			if args, problems := parse(c.Flags(), tc.args, tc.env); len(args)+len(problems) > 0 || !reflect.DeepEqual(got.options, want) {
				t.Errorf("got %+v %v %v\nwant %+v", got, args, problems, want)
			}
		})
	}
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	args := []string{"--sweep-interval=1w", "--workers=many", "--bogus=1", "--bogus2", "-z", "--mount-path", "relative", "stray", "--nfs-path=x", "--log-format=xml", "-v=11", "--drain-timeout=-1s", "--usage-interval=6", "--usage-metrics=claim", "--usage-rate=3", "--page-address=8081", "--trash-rate"}
	err := run(t.Context(), args, env("PROVISIONER_NAME=a b", "WORKERS=few", "ADDITIONAL_PROVISIONER_NAMES=x/y,/", "ENABLE_LEADER_ELECTION=perhaps"), silent)
	if _, usage := errors.AsType[*usageError](err); !usage {
		t.Fatalf("got %v, want a usage error", err)
	}
	for _, want := range []string{
		`--workers (WORKERS) "many": must be an integer`,
		`--enable-leader-election (ENABLE_LEADER_ELECTION) "perhaps"`,
		`--usage-interval (USAGE_INTERVAL) "6": allowed are durations such as "30d" (30 days), "1d12h" or "90m"`,
		`--usage-metrics "claim": allowed are namespace and volume`,
		`--usage-rate 3: must be at least 10; 0 means no limit`,
		`--sweep-interval (SWEEP_INTERVAL) "1w": allowed are durations such as "30d" (30 days), "1d12h" or "90m"`,
		"unknown flag: --bogus\n", "unknown flag: --bogus2\n", "unknown flag: -z\n",
		`--mount-path "relative": must be absolute`,
		`--nfs-path: NFS_PATH "x": allowed are an absolute path`,
		`--log-format "xml": allowed are text and json`,
		"--verbosity 11: allowed are 0 to 10",
		`--provisioner-name "a b"`,
		`--additional-provisioner-names "/"`,
		`unexpected argument "stray"`,
		"--drain-timeout -1s",
		`--page-address "8081": it is not HOST:PORT; allowed are HOST:PORT and off`,
		"flag needs an argument: --trash-rate",
	} {
		if strings.Count(err.Error(), want) < 1 {
			t.Errorf("%q is not reported in:\n%v", want, err)
		}
	}
	if many, few := strings.Count(err.Error(), `"many"`), strings.Count(err.Error(), `"few"`); many != 1 || few != 0 {
		t.Errorf("the bad value is reported %d times, and %d times the variable over which it wins", many, few)
	}
}

func TestACommandTakesOnlyItsOwnFlags(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		env  func(string) (string, bool)
		want string
	}{
		"a command that there is not":       {[]string{"frobnicate"}, noEnv, `there is no command "frobnicate"; commands are: archive, doctor, handback, preflight, quota, recover, snapshot, usage`},
		"a flag of another command":         {[]string{"recover", "--workers=3"}, env("PROVISIONER_NAME=a/b"), "unknown flag: --workers"},
		"a second command":                  {[]string{"recover", "recover"}, env("PROVISIONER_NAME=a/b"), `unexpected argument "recover"`},
		"an output that there is not":       {[]string{"doctor", "-o", "yaml"}, env("PROVISIONER_NAME=a/b"), `--output "yaml": allowed are table and json`},
		"questions in JSON":                 {[]string{"doctor", "--fix", "-o", "json"}, env("PROVISIONER_NAME=a/b"), "--fix with --output json requires --yes"},
		"an answer and no question":         {[]string{"doctor", "--yes"}, env("PROVISIONER_NAME=a/b"), "--yes requires --fix"},
		"a command behind a flag":           {[]string{"--provisioner-name=a/b", "recover"}, env("POD_NAMESPACE=ns"), `unexpected argument "recover"`},
		"a flag before a command below":     {[]string{"archive", "--yes", "list"}, noEnv, `unexpected argument "list"`},
		"a flag behind two dashes":          {[]string{"recover", "--", "--help"}, env("PROVISIONER_NAME=a/b"), `unexpected argument "--help"`},
		"cobra's command for help":          {[]string{"help"}, noEnv, `there is no command "help"`},
		"cobra's command for shells":        {[]string{"completion", "bash"}, noEnv, `there is no command "completion"`},
		"cobra's hidden one":                {[]string{"__complete", "doctor", ""}, noEnv, `there is no command "__complete"`},
		"what it needs is missing":          {[]string{"recover"}, noEnv, "PROVISIONER_NAME"},
		"others' variables are not its own": {[]string{"recover"}, env("PROVISIONER_NAME=", "WORKERS=none"), "is required: the name"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			err := run(t.Context(), tc.args, tc.env, streams{out: &out, err: &stderr})
			if out.Len()+stderr.Len() > 0 {
				t.Errorf("printed beside the error: %s%s", &out, &stderr)
			}
			if _, usage := errors.AsType[*usageError](err); !usage || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "WORKERS") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	for want, err := range map[int]error{0: nil, 1: errors.New("anything"), 2: &usageError{"claimdir", []error{errors.New("x")}}} {
		if got := exitCode(err, devNull(t)); got != want {
			t.Errorf("%v: exit code %d, want %d", err, got, want)
		}
	}
}

// The last line says whose help is of use.
func TestUsageErrorNamesTheHelp(t *testing.T) {
	for args, want := range map[string]string{
		"frobnicate":         "claimdir: there is no command \"frobnicate\"; commands are: archive, doctor, handback, preflight, quota, recover, snapshot, usage\nSee claimdir --help.\n",
		"archive list a b":   "claimdir: arguments [\"a\" \"b\"]: only one is allowed, NAMESPACE or NAMESPACE/CLAIM\nSee claimdir archive list --help.\n",
		"archive list --a=b": "claimdir: unknown flag: --a\nSee claimdir archive list --help.\n",
	} {
		stderr, err := os.Create(t.TempDir() + "/stderr")
		if err != nil {
			t.Fatal(err)
		}
		code := exitCode(run(t.Context(), strings.Fields(args), noEnv, silent), stderr)
		if got, err := os.ReadFile(stderr.Name()); err != nil || code != exitUsage || string(got) != want {
			t.Errorf("%s: exit code %d, %v, printed:\n%s", args, code, err, got)
		}
		if err := stderr.Close(); err != nil {
			t.Error(err)
		}
	}
}
