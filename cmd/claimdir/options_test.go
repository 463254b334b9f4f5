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
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestHelpIsTheGoldenFile(t *testing.T) {
	for golden, args := range map[string][]string{
		"testdata/help.txt":         {"--help", "--workers=none"},
		"testdata/help-recover.txt": {"recover", "--help"},
		"testdata/help-doctor.txt":  {"doctor", "--help"},

		"testdata/help-archive.txt":         {"archive", "--help"},
		"testdata/help-archive-list.txt":    {"archive", "list", "--help"},
		"testdata/help-archive-restore.txt": {"archive", "restore", "--help"},
		"testdata/help-archive-purge.txt":   {"archive", "purge", "--help"},
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
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--version"}, noEnv, streams{out: &out, err: io.Discard}); err != nil || out.String() != "claimdir devel\n" {
		t.Errorf("got %q, %v", out.String(), err)
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
	} {
		t.Run(name, func(t *testing.T) {
			got, want := newOptions(), newOptions()
			tc.want(&want)
			if problems := parse(&got, program(), tc.args, tc.env); len(problems) > 0 || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v %v\nwant %+v", got, problems, want)
			}
		})
	}
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	args := []string{"--workers=many", "--bogus=1", "--bogus2", "-z", "--mount-path", "relative", "stray", "--nfs-path=x", "--log-format=xml", "-v=11", "--drain-timeout=-1s"}
	err := run(t.Context(), args, env("PROVISIONER_NAME=a b", "ADDITIONAL_PROVISIONER_NAMES=x/y,/", "ENABLE_LEADER_ELECTION=perhaps"), silent)
	if _, usage := errors.AsType[*usageError](err); !usage {
		t.Fatalf("got %v, want a usage error", err)
	}
	for _, want := range []string{
		`--workers (WORKERS) "many": must be an integer`,
		`--enable-leader-election (ENABLE_LEADER_ELECTION) "perhaps"`,
		"--bogus", "--bogus2", "'z'",
		`--mount-path "relative": must be absolute`,
		`--nfs-path: NFS_PATH "x": allowed are an absolute path`,
		`--log-format "xml": allowed are text and json`,
		"--verbosity 11: allowed are 0 to 10",
		`--provisioner-name "a b"`,
		`--additional-provisioner-names "/"`,
		`argument "stray"`,
		"--drain-timeout -1s",
	} {
		if strings.Count(err.Error(), want) < 1 {
			t.Errorf("%q is not reported in:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), `"many"`); n != 1 {
		t.Errorf("the bad value is reported %d times", n)
	}
}

func TestACommandTakesOnlyItsOwnFlags(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		env  func(string) (string, bool)
		want string
	}{
		"a command that there is not":       {[]string{"frobnicate"}, noEnv, `there is no command "frobnicate"; commands are: archive, doctor, recover`},
		"a flag of another command":         {[]string{"recover", "--workers=3"}, env("PROVISIONER_NAME=a/b"), "unknown flag: --workers"},
		"a second command":                  {[]string{"recover", "recover"}, env("PROVISIONER_NAME=a/b"), `argument "recover"`},
		"an output that there is not":       {[]string{"doctor", "-o", "yaml"}, env("PROVISIONER_NAME=a/b"), `--output "yaml": allowed are table and json`},
		"questions in JSON":                 {[]string{"doctor", "--fix", "-o", "json"}, env("PROVISIONER_NAME=a/b"), "a program answers no questions: add --yes"},
		"what it needs is missing":          {[]string{"recover"}, noEnv, "PROVISIONER_NAME"},
		"others' variables are not its own": {[]string{"recover"}, env("PROVISIONER_NAME=", "WORKERS=none"), "is required: the name"},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(t.Context(), tc.args, tc.env, silent)
			if _, usage := errors.AsType[*usageError](err); !usage || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "WORKERS") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	quiet, err := os.Create(t.TempDir() + "/stderr")
	if err != nil {
		t.Fatal(err)
	}
	for want, err := range map[int]error{0: nil, 1: errors.New("anything"), 2: &usageError{"", []error{errors.New("x")}}} {
		if got := exitCode(err, quiet); got != want {
			t.Errorf("%v: exit code %d, want %d", err, got, want)
		}
	}
}
