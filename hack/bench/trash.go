package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"claimdir/hack/faultfs"
	"claimdir/hack/procstat"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/trash"
)

// shape is a tree to be removed: directories, each with so many empty files.
type shape struct{ directories, files int }

func (s shape) String() string { return fmt.Sprintf("%dx%d", s.directories, s.files) }

// MarshalText implements encoding.TextMarshaler, for flag.TextVar.
func (s shape) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *shape) UnmarshalText(text []byte) error {
	_, err := fmt.Sscanf(string(text), "%dx%d", &s.directories, &s.files)
	if err == nil && (s.directories < 1 || s.files < 0) {
		err = errors.New("want DIRECTORIESxFILES")
	}
	return err
}

// make makes the tree in dir.
func (s shape) make(dir string) error {
	for d := range s.directories {
		if err := makeFiles(filepath.Join(dir, fmt.Sprint(d)), s.files); err != nil {
			return err
		}
	}
	return nil
}

// removeTime is what a removal took.
type removeTime struct {
	wall   time.Duration
	memory int64 // peak, kilobytes
}

// compareRemoval removes two trees of one shape, one with rm -rf and one as the
// trash is emptied, each in a process of its own, in turn.
func compareRemoval(ctx context.Context, s shape, delay time.Duration, rounds int) (err error) {
	dir, err := os.MkdirTemp("", "claimdir-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	backing, mount := filepath.Join(dir, "backing"), filepath.Join(dir, "mount")
	if err := errors.Join(os.Mkdir(backing, 0o755), os.Mkdir(mount, 0o755)); err != nil {
		return err
	}
	seen := backing
	if delay > 0 {
		fs, err := faultfs.Mount(backing, mount)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, fs.Close()) }()
		fs.Delay(delay)
		seen = mount
	}
	fmt.Printf("%s files, %s longer a call\n\n| round | rm -rf | memory | ours | memory | ratio |\n|---|---|---|---|---|---|\n", s, delay)
	for round := range rounds {
		rm, err := timeRemoval(ctx, backing, s, "rm", "-rf", filepath.Join(seen, ".claimdir/trash/pvc-1-1"))
		if err != nil {
			return err
		}
		ours, err := timeRemoval(ctx, backing, s, os.Args[0], "-empty", seen)
		if err != nil {
			return err
		}
		fmt.Printf("| %d | %s | %d KiB | %s | %d KiB | %.2f |\n", round+1, rm.wall.Round(time.Millisecond), rm.memory,
			ours.wall.Round(time.Millisecond), ours.memory, float64(rm.wall)/float64(ours.wall))
	}
	return nil
}

// timeRemoval makes the tree and runs the command that removes it.
func timeRemoval(ctx context.Context, backing string, s shape, name string, args ...string) (removeTime, error) {
	dirs, err := share.Open(backing)
	if err != nil {
		return removeTime{}, err
	}
	if _, err := ledger.Open(dirs, "bench"); err != nil {
		return removeTime{}, err
	}
	tree := filepath.Join(backing, ".claimdir/trash/pvc-1-1")
	if err := s.make(tree); err != nil {
		return removeTime{}, err
	}
	syscall.Sync()
	command := exec.CommandContext(ctx, name, args...)
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	began := time.Now()
	if err := command.Start(); err != nil {
		return removeTime{}, err
	}
	stop, peak := make(chan struct{}), make(chan int64)
	go func() { peak <- peakMemory(command.Process.Pid, stop) }()
	err = command.Wait()
	result := removeTime{wall: time.Since(began)}
	close(stop)
	result.memory = <-peak
	if err != nil {
		return removeTime{}, fmt.Errorf("%s: %w", name, err)
	}
	if _, err := os.Lstat(tree); !errors.Is(err, os.ErrNotExist) {
		return removeTime{}, fmt.Errorf("%s left something: %w", name, err)
	}
	return result, nil
}

// peakMemory looks at a process until stop: what the kernel tells at its end is
// at least the memory of the process that started it.
func peakMemory(pid int, stop <-chan struct{}) (kilobytes int64) {
	for {
		if bytes, err := procstat.Memory(pid, "VmHWM"); err == nil { // it may have ended
			kilobytes = bytes >> 10
		}
		select {
		case <-stop:
			return kilobytes
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func makeFiles(dir string, files int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for f := range files {
		file, err := os.Create(filepath.Join(dir, fmt.Sprint("file-", f)))
		if err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

// emptyHere empties the trash of the share at dir as fast as it goes, with as
// many hands as claimdir has.
func emptyHere(ctx context.Context, dir string) error {
	dirs, err := share.Open(dir)
	if err != nil {
		return err
	}
	entries, err := dirs.ListAside(share.TrashDir)
	remover := share.NewRemover(trash.Hands, 0)
	for _, e := range entries {
		if _, emptyErr := dirs.EmptyTrash(ctx, e.Name, anyDirectory, remover); emptyErr != nil {
			err = errors.Join(err, emptyErr)
		}
	}
	return err
}

func anyDirectory(*share.Identity, bool) error { return nil }

// trashFlags are for the removal alone, which needs no cluster.
func trashFlags() (tree, empty *string) {
	return flag.String("trash", "", "measure the removal of DIRECTORIESxFILES, beside rm -rf"),
		flag.String("empty", "", "empty the trash of the share in this directory, for -trash")
}
