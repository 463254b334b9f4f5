package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"syscall"
	"time"
)

// lockPoll is how often a process that waits for another's build looks again.
const lockPoll = 200 * time.Millisecond

// cacheDir is where builds are kept. Where HOME is unset, as in some CI
// runners, the home directory comes from the user database.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		home, homeErr := homeDir()
		if homeErr != nil {
			return "", fmt.Errorf("find cache directory: %w; set HOME or XDG_CACHE_HOME", errors.Join(err, homeErr))
		}
		dir = filepath.Join(home, ".cache")
	}
	dir = filepath.Join(dir, "claimdir", "controlplane")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("create cache directory: %w", err)
	}
	return dir, nil
}

// homeDir is $HOME or what the user database says.
func homeDir() (string, error) {
	if home := os.Getenv("HOME"); home != "" {
		return home, nil
	}
	u, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("find home directory: %w", err)
	}
	return u.HomeDir, nil
}

// lock takes an exclusive lock on path and returns what releases it. The kernel
// releases it too when this process ends, so a killed build blocks nobody.
func (b *builder) lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock build: %w", err)
	}
	if err := b.flock(ctx, file); err != nil {
		return nil, errors.Join(fmt.Errorf("lock build %s: %w", path, err), file.Close())
	}
	return func() { _ = file.Close() }, nil
}

func (b *builder) flock(ctx context.Context, file *os.File) error {
	begin, poll, report := time.Now(), time.NewTicker(lockPoll), time.NewTicker(b.every)
	defer poll.Stop()
	defer report.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-report.C:
			fmt.Fprintf(b.progress, "%s: another process builds it; waited %s\n", b.set.name, elapsed(begin))
		case <-poll.C:
		}
	}
}

// elapsed is the time since begin, for people.
func elapsed(begin time.Time) time.Duration {
	return time.Since(begin).Round(time.Second)
}
