package procstat

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestOf(t *testing.T) {
	for began := time.Now(); time.Since(began) < 50*time.Millisecond; { // so that something is used
	}
	self, err := Of(os.Getpid())
	if err != nil || self.Parent != os.Getppid() || self.Used <= 0 || self.Name != filepath.Base(os.Args[0]) {
		t.Errorf("%+v, %v", self, err)
	}
	peak, err := Memory(os.Getpid(), "VmHWM")
	if now, nowErr := Memory(os.Getpid(), "VmRSS"); err != nil || nowErr != nil || now < 1<<20 || peak < now/2 {
		t.Errorf("peak %d, now %d bytes, %v, %v", peak, now, err, nowErr)
	}
	if _, err := Memory(os.Getpid(), "VmNothing"); err == nil {
		t.Error("a field that is not there has a value")
	}
}

func TestOfChildren(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	children, err := OfChildren()
	if err != nil || len(children) != 1 || children[0].Parent != os.Getpid() {
		t.Errorf("%+v, %v", children, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if _, err := Of(cmd.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of one that has ended: %v", err)
	}
}
