package main

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func streamsOf(in string) genericiooptions.IOStreams {
	return genericiooptions.IOStreams{In: strings.NewReader(in)}
}

// help returns the help of a command.
func help(t *testing.T, command string) string {
	t.Helper()
	var out, stderr bytes.Buffer
	a := &app{IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &stderr}}
	if code := a.execute(t.Context(), append(strings.Fields(command), "--help")); code != exitDone || stderr.Len() > 0 {
		t.Fatalf("%s --help: exit code %d, %s", command, code, &stderr)
	}
	return out.String()
}

var commands = []string{
	"", "status", "list", "usage", "doctor", "recover", "version",
	"archive", "archive list", "archive restore", "archive purge", "snapshot", "snapshot list", "snapshot purge",
}

func goldenOf(command string) string {
	return strings.TrimSuffix("help-"+strings.ReplaceAll(command, " ", "-"), "-") + ".txt"
}

func TestHelpIsTheGoldenFile(t *testing.T) {
	t.Setenv("HOME", "/home/user") // the default of --cache-dir is there
	t.Setenv("KUBECACHEDIR", "")
	for _, command := range commands {
		golden := "testdata/" + goldenOf(command)
		got := help(t, command)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("--help changed; if that is wanted, run make update. It prints:\n%s", got)
		}
		if !strings.HasPrefix(got, "kubectl claimdir ") || !strings.Contains(got, "\nUsage: "+strings.TrimSpace("kubectl claimdir "+command)) {
			t.Errorf("%s is about another program", golden)
		}
	}
}

// own are the sections of the plugin's help that claimdir does not have, and theirs those that make no sense here: the
// pod's environment says where the shares and the cluster are.
var (
	own    = regexp.MustCompile(`^(Output|Other)$`)
	theirs = regexp.MustCompile(`^(Provisioner|Shares|Cluster|Output|Other)$`)
	spaces = regexp.MustCompile(`\s+`)
	title  = regexp.MustCompile(`(?m)^([A-Z]\w+):\n`)
)

// sections returns the flags of a help by section, without the line breaks.
func sections(help string, without *regexp.Regexp) map[string]string {
	found := map[string]string{}
	at := title.FindAllStringSubmatchIndex(help, -1)
	for i, m := range at {
		name, end := help[m[2]:m[3]], len(help)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		text, _, _ := strings.Cut(help[m[1]:end], "\n\n")
		if !without.MatchString(name) {
			found[name] = spaces.ReplaceAllString(text, " ")
		}
	}
	return found
}

// A command takes the flags that it takes in the pod, and says the same of them and of its exit codes.
func TestCommandsAgreeWithThoseOfThePod(t *testing.T) {
	for _, command := range []string{"usage", "doctor", "recover", "archive list", "archive restore", "archive purge", "snapshot list", "snapshot purge"} {
		text, err := os.ReadFile("../claimdir/testdata/" + goldenOf(command))
		if err != nil {
			t.Fatal(err)
		}
		mine := help(t, command)
		want, got := sections(string(text), theirs), sections(mine, own)
		if command == "archive restore" {
			delete(got, "Acting") // the plugin creates the claim
		} else if _, end, _ := strings.Cut(string(text), "\nExit codes:"); !strings.HasSuffix(mine, "\nExit codes:"+end) {
			t.Errorf("%s: other exit codes than claimdir's:%s", command, end)
		}
		for name := range want {
			if got[name] != want[name] {
				t.Errorf("%s, %s:\n%s\nclaimdir has:\n%s", command, name, got[name], want[name])
			}
		}
		for name := range got {
			if want[name] == "" {
				t.Errorf("%s: claimdir has no section %s", command, name)
			}
		}
	}
}
