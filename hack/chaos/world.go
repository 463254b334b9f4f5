package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/chaos/check"
	"claimdir/hack/faultfs"
	"claimdir/hack/testbed"
)

// world is one share with the claimdir that serves it, and the users of that.
type world struct {
	bed         *testbed.Bed
	name        string
	provisioner string
	export      string // its own: of two claimdirs with one share each looks after the other's volumes
	namespaces  [2]string
	// dir has the share, the mounts, the logs and what lies beside the share.
	dir, share, outside string
	cluster             string         // UID
	as                  testbed.Config // which program is run, and what comes in its environment

	events   *os.File // when each fault began and ended, in the order of time
	journal  *journal
	counts   *counts
	mounts   []*mount
	proxies  []*proxy
	replicas []*replica
	users    []*user

	foreign, outsideBefore map[string]check.Entry

	late chan struct{} // closed when a user that has told all its stories makes no new claim
	over chan struct{} // closed when nobody does
}

// mount is the share as one replica sees it.
type mount struct {
	dir string
	fs  *faultfs.FS
}

// newWorld makes everything but the replicas. name is that of its namespaces and classes.
func newWorld(ctx context.Context, bed *testbed.Bed, dir, name string, replicas int) (w *world, err error) {
	w = &world{
		bed: bed, name: name, provisioner: name + ".claimdir/chaos", export: testbed.Export + "/" + name, namespaces: [2]string{name + "-x", name + "-y"},
		dir: dir, share: filepath.Join(dir, "share"), outside: filepath.Join(dir, "outside"),
		journal: newJournal(), counts: newCounts(), late: make(chan struct{}), over: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("begin %s: %w", name, err), w.close())
		}
	}()
	if err := w.fill(); err != nil {
		return w, err
	}
	if w.events, err = os.Create(filepath.Join(dir, "faults.log")); err != nil {
		return w, err
	}
	system, err := bed.Admin.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return w, err
	}
	w.cluster = string(system.UID)
	for _, namespace := range w.namespaces {
		if _, err := bed.Admin.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
			return w, err
		}
	}
	if err := w.makeClasses(ctx); err != nil {
		return w, err
	}
	for i := range replicas {
		if err := w.prepareReplica(ctx, i); err != nil {
			return w, err
		}
	}
	return w, nil
}

// prepareReplica mounts the share and starts the proxy for a replica.
func (w *world) prepareReplica(ctx context.Context, i int) error {
	m := &mount{dir: filepath.Join(w.dir, fmt.Sprint("mount-", i))}
	err := os.Mkdir(m.dir, 0o755)
	if err == nil {
		m.fs, err = faultfs.Mount(w.share, m.dir)
	}
	if err != nil {
		return err
	}
	w.mounts = append(w.mounts, m)
	p, err := newProxy(ctx, w.bed, filepath.Join(w.dir, fmt.Sprint("kubeconfig-", i)))
	if err != nil {
		return err
	}
	w.proxies = append(w.proxies, p)
	log, err := os.Create(filepath.Join(w.dir, fmt.Sprintf("claimdir-%d.log", i)))
	if err != nil {
		return err
	}
	w.replicas = append(w.replicas, &replica{world: w, number: i, log: log})
	return nil
}

// fill makes the directories, and what must stay as it is: on the share and beside it.
func (w *world) fill() (err error) {
	adopt := filepath.Join(w.share, "adopt")
	others := filepath.Join(w.share, "others")
	for _, dir := range []string{w.share, w.outside, adopt, others, filepath.Join(others, "deep"), filepath.Join(w.share, "archived-of-others")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Chmod(others, 0o700), os.Chmod(w.share, 0o755), os.Chmod(adopt, 0o711)); err != nil {
		return err
	}
	for _, name := range []string{w.outside + "/precious", others + "/precious", others + "/deep/precious", w.share + "/archived-of-others/precious", w.share + "/note"} {
		if err := os.WriteFile(name, []byte("of others"), 0o640); err != nil {
			return err
		}
	}
	if err := os.Symlink(w.outside, filepath.Join(w.share, "way-out")); err != nil {
		return err
	}
	if w.foreign, err = readTree(w.share); err != nil {
		return err
	}
	w.outsideBefore, err = readTree(w.outside)
	return err
}

// close ends everything that newWorld and the replicas began. The directory stays.
func (w *world) close() (err error) {
	for _, r := range w.replicas {
		r.end()
	}
	for _, m := range w.mounts {
		err = errors.Join(err, m.fs.Close())
	}
	for _, p := range w.proxies {
		p.close()
	}
	w.journal.close()
	if w.events != nil {
		err = errors.Join(err, w.events.Close())
	}
	return err
}

// config is that of a replica's process.
func (w *world) config(i int, log io.Writer) testbed.Config {
	return testbed.Config{
		Share: w.mounts[i].dir, Provisioner: w.provisioner, Log: log, Program: w.as.Program,
		Env: append([]string{"KUBECONFIG=" + w.proxies[i].kubeconfig, "NFS_PATH=" + w.export, "SHARE_TIMEOUT=5s", "SWEEP_INTERVAL=3s", "ORPHAN_GRACE=5s"}, w.as.Env...),
	}
}

// try repeats what may fail because of a fault until it succeeds or ctx ends.
func try(ctx context.Context, what string, do func(ctx context.Context) error) error {
	for {
		call, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := do(call)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w, after %w", what, err, context.Cause(ctx))
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// counts is how often each thing happened.
type counts struct {
	mu sync.Mutex
	of map[string]int
}

func newCounts() *counts { return &counts{of: map[string]int{}} }

func (c *counts) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[what]++
}

// isOver reports whether nobody is to make a new claim.
func (w *world) isOver() bool { return isClosed(w.over) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// rest waits for d, or until the time is over.
func (w *world) rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-w.over:
	case <-time.After(d):
	}
}
