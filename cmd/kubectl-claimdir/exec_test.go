package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
	"k8s.io/client-go/tools/remotecommand"
)

// A command of the pod gets its arguments and what the user types, and the user what it prints, and its exit code.
func TestACommandRunsInThePod(t *testing.T) {
	for _, noWebsocket := range []bool{false, true} {
		a := newAPI(t)
		a.noWebsocket = noWebsocket
		a.pod("claimdir", "claimdir-a")
		a.program = func(c *call) int {
			said := "nothing"
			if c.stdin != nil {
				text, err := io.ReadAll(c.stdin)
				said = fmt.Sprintf("%s %v", text, err)
			}
			fmt.Fprintf(c.stdout, "out, told %s\n", said)
			fmt.Fprint(c.stderr, "claimdir: err\n")
			return 3
		}
		r := a.kubectlWith(&app{IOStreams: streamsOf("no\n")}, "archive", "purge", "team/data", "--older-than=30d", "--all=false", "team", "--cluster", "u-1")
		r.want(t, 3)
		if r.out != "out, told no\n <nil>\n" || r.stderr != "Using pod claimdir/claimdir-a\nclaimdir: err\n" {
			t.Errorf("it printed %q, and on standard error %q", r.out, r.stderr)
		}
		if r = a.kubectl("usage", "-o", "json"); r.code != 3 || r.out != "out, told nothing\n" {
			t.Errorf("%+v", r)
		}
		if r = a.kubectl("archive", "purge", "team", "--yes"); r.out != "out, told nothing\n" {
			t.Errorf("a command that asks nothing gets what the user types: %+v", r)
		}
		want := []string{
			"/claimdir archive purge --cluster=u-1 --all=false --older-than=30d -- team/data team",
			"/claimdir usage --output=json",
			"/claimdir archive purge --yes=true -- team",
		}
		var got []string
		for _, c := range a.calls {
			got = append(got, strings.Join(c.args, " "))
			if c.pod != "claimdir/claimdir-a" || c.container != "claimdir" || c.tty {
				t.Errorf("it ran in %s, container %s, with a terminal: %v", c.pod, c.container, c.tty)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
	}
}

// What is no flag here is none there.
func TestAnArgumentBecomesNoFlag(t *testing.T) {
	a := newAPI(t)
	a.pod("claimdir", "claimdir-a")
	a.program = func(*call) int { return 0 }
	a.kubectl("archive", "purge", "--yes=false", "--", "--all").want(t, exitDone)
	if got := strings.Join(a.calls[0].args, " "); got != "/claimdir archive purge --yes=false -- --all" {
		t.Error(got)
	}
}

// All is done as the user, or as whom the user may be.
func TestTheRightsAreTheUsers(t *testing.T) {
	a := newAPI(t)
	a.pod("claimdir", "claimdir-a")
	a.program = func(*call) int { return 0 }
	a.kubectl("usage", "--as", "jane").want(t, exitDone)
	if len(a.users) < 2 || slices.ContainsFunc(a.users, func(user string) bool { return user != "jane" }) {
		t.Errorf("asked by %q", a.users)
	}
	a.refuse = []string{"/api/v1/namespaces/claimdir/pods/claimdir-a/exec"}
	a.kubectl("usage").want(t, exitFailed, "run claimdir in pod claimdir/claimdir-a: ", "you may not do that")
}

// A question is answered on the user's terminal, which is as before afterwards.
func TestAQuestionOnATerminal(t *testing.T) {
	a := newAPI(t)
	a.pod("claimdir", "claimdir-a")
	master, user := openTerminal(t, 132)
	a.program = func(c *call) int {
		var size remotecommand.TerminalSize
		if err := json.NewDecoder(c.sizes).Decode(&size); err != nil || size.Width != 132 {
			t.Errorf("the size is %v, %v", size, err)
		}
		if _, err := master.WriteString("y\x03\r"); err != nil {
			t.Error(err)
		}
		answer := make([]byte, 3)
		_, err := io.ReadFull(c.stdin, answer)
		fmt.Fprintf(c.stdout, "%v %v %q", c.tty, err, answer)
		return 0
	}
	before, err := term.GetState(int(user.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	p := &app{terminal: &terminal{int(user.Fd()), int(user.Fd())}}
	p.In = user
	r := a.kubectlWith(p, "doctor", "--fix")
	if r.code != 0 || r.out != `true <nil> "y\x03\r"` {
		t.Errorf("%+v", r)
	}
	after, err := term.GetState(int(user.Fd()))
	if err != nil || *before != *after {
		t.Errorf("the terminal is %v, was %v; %v", after, before, err)
	}
	a.kubectlWith(&app{terminal: p.terminal}, "version", "--client").want(t, exitDone)
}

// openTerminal returns both sides of a pseudo-terminal of a width.
func openTerminal(t *testing.T, width uint16) (master, user *os.File) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(err)
	t.Cleanup(func() { _ = master.Close() })
	must(unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	must(err)
	user, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(err)
	t.Cleanup(func() { _ = user.Close() })
	must(unix.IoctlSetWinsize(int(user.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: width}))
	return master, user
}
