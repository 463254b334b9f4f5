package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"claimdir/hack/child"
)

const (
	// readyTimeout is for one component; a busy machine needs a part of it.
	readyTimeout = 5 * time.Minute
	readyPoll    = 50 * time.Millisecond
	// logTail is how much of a component's log an error carries.
	logTail = 4096
)

// errPortTaken says that a component found its port in use.
var errPortTaken = errors.New("port is taken")

// process is a component of the control plane: a child with a log.
type process struct {
	*child.Child
	name string
	log  string
	from int64 // where this run begins in the log
}

// startProcess runs a component in dir and appends what it says to NAME.log
// there. It gets no environment: etcd would read its flags from it.
func startProcess(dir, binary string, args []string) (*process, error) {
	p := &process{name: filepath.Base(binary)}
	p.log = filepath.Join(dir, p.name+".log")
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	defer log.Close()
	if p.from, err = log.Seek(0, io.SeekEnd); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, []string{"HOME=" + dir}, log, log
	if p.Child, err = child.Start(cmd, syscall.SIGKILL); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return p, nil
}

// waitReady polls check until it passes. If the process or the one it needs
// ends, or time runs out, the process is gone afterwards; the error carries the
// end of the log.
func (p *process) waitReady(ctx context.Context, needs *process, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	go func() { // a check may hang on a port that somebody else holds
		select {
		case <-p.Done:
		case <-needs.Done:
		case <-ctx.Done():
		}
		cancel()
	}()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		unready := check(ctx)
		if unready == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if p.Ended() {
				return p.ended()
			}
			p.Kill()
			if needs.Ended() {
				return needs.ended()
			}
			return p.failure(fmt.Errorf("wait for %s: %w: %w", p.name, ctx.Err(), unready))
		}
	}
}

func (p *process) ended() error {
	return p.failure(fmt.Errorf("%s ended: %s", p.name, p.State()))
}

// failure adds what the log says since this run began.
func (p *process) failure(err error) error {
	log, readErr := os.ReadFile(p.log)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	log = log[min(p.from, int64(len(log))):]
	if bytes.Contains(log, []byte("address already in use")) {
		err = fmt.Errorf("%w: %w", errPortTaken, err)
	}
	return fmt.Errorf("%w; its log ends:\n%s", err, log[max(0, len(log)-logTail):])
}
