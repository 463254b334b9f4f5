package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal returns a pseudo-terminal of a width.
func terminal(t *testing.T, width uint16) *os.File {
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
	f, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(err)
	t.Cleanup(func() { _ = f.Close() })
	must(unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: width}))
	return f
}

func TestWidthOf(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	wide := terminal(t, 132)
	for name, tt := range map[string]struct {
		out     *os.File
		columns string
		want    int
	}{
		"a terminal":                   {wide, "", 132},
		"COLUMNS wins":                 {wide, "100", 100},
		"COLUMNS that is no width":     {wide, "-1", 132},
		"a terminal that does not say": {terminal(t, 0), "", 0},
		"a file":                       {file, "100", 0},
	} {
		if got := widthOf(tt.out, env("COLUMNS="+tt.columns)); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}
