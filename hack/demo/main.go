// Command demo shows claimdir's main job on a real control plane: a claim
// becomes Bound, its directory appears, the claim goes, the directory is
// archived. It needs no cluster and no NFS server, and leaves nothing behind.
//
//	go run ./demo [-picture FILE]
//
// With -picture it draws what it says, which is all that it prints but claimdir's log, as an SVG.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"claimdir/hack/testbed"
)

const class = `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: demo
provisioner: claimdir/nfs
parameters:
  pathPattern: ${.PVC.namespace}/${.PVC.name}
  onDelete: archive
`

const claim = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: data
  namespace: default
spec:
  storageClassName: demo
  accessModes: [ReadWriteMany]
  resources:
    requests:
      storage: 1Gi
`

// patience is how long the demo waits for a step that takes moments.
const patience = time.Minute

func main() {
	picture := flag.String("picture", "", "file to draw what is said in, as an SVG")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	said, err := run(ctx, os.Stdout)
	stop()
	if err == nil && *picture != "" {
		err = os.WriteFile(*picture, draw(said), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run shows the main job on out, and returns what it said itself.
func run(ctx context.Context, out io.Writer) (said string, err error) {
	bed, err := testbed.Start(ctx, testbed.Options{Progress: out})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	share, err := bed.NewShare()
	if err != nil {
		return "", err
	}
	d := &demo{ctx: ctx, screen: screen{out: out}, bed: bed, share: share}
	for _, step := range []func() error{d.start, d.bind, d.write, d.release, d.stop} {
		if err := step(); err != nil {
			return "", err
		}
	}
	return d.said.String(), nil
}

type demo struct {
	ctx context.Context //nolint:containedctx // lives as long as the demo
	screen
	bed      *testbed.Bed
	share    string
	claimdir *testbed.Process
}

func (d *demo) start() (err error) {
	d.say("claimdir starts, as the ServiceAccount of manifests/base; the share is a local directory")
	d.claimdir, err = d.bed.Claimdir(testbed.Config{Share: d.share, Provisioner: "claimdir/nfs", Log: log{d.out}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(d.ctx, patience)
	defer cancel()
	return d.claimdir.WaitReady(ctx)
}

func (d *demo) bind() error {
	d.say("a class, and a claim of it")
	d.show(class, "---", claim)
	if err := d.apply(class, claim); err != nil {
		return err
	}
	begin := time.Now()
	if _, err := d.kubectl("wait", "--for=jsonpath={.status.phase}=Bound", "pvc/data", "--timeout=60s"); err != nil {
		return errors.Join(err, d.explain())
	}
	d.say(fmt.Sprintf("the claim is Bound after %v", time.Since(begin).Round(10*time.Millisecond)))
	return d.print("get", "pvc,pv")
}

func (d *demo) write() error {
	d.say("its directory on the share, where a pod now writes a file")
	if err := os.WriteFile(filepath.Join(d.share, "default", "data", "report.txt"), []byte("42\n"), 0o644); err != nil {
		return err
	}
	return d.list()
}

func (d *demo) release() error {
	d.say("the claim is deleted; the class says archive")
	volume, err := d.kubectl("get", "pvc", "data", "-o", "jsonpath={.spec.volumeName}")
	if err != nil {
		return err
	}
	if _, err := d.kubectl("delete", "pvc", "data"); err != nil {
		return err
	}
	if _, err := d.kubectl("wait", "--for=delete", "pv/"+volume, "--timeout=60s"); err != nil {
		return errors.Join(err, d.explain())
	}
	d.say("the volume is gone, the data is kept aside")
	archived := filepath.Join(d.share, "archived-default-data-"+volume, "report.txt")
	if _, err := os.Stat(archived); err != nil {
		return fmt.Errorf("the archive is not there: %w", err)
	}
	return d.list()
}

func (d *demo) stop() error {
	d.say("claimdir stops")
	if code := d.claimdir.Stop(); code != 0 {
		return fmt.Errorf("claimdir ended with exit code %d", code)
	}
	d.say("done; everything the demo started is stopped and removed")
	return nil
}

func (d *demo) apply(manifests ...string) error {
	_, err := d.bed.KubectlInput(d.ctx, strings.Join(manifests, "---"), "apply", "-f", "-")
	return err
}

func (d *demo) kubectl(args ...string) (string, error) { return d.bed.Kubectl(d.ctx, args...) }

func (d *demo) print(args ...string) error {
	out, err := d.bed.Kubectl(d.ctx, args...)
	d.show(out)
	return err
}

func (d *demo) explain() error {
	out, err := d.bed.Kubectl(d.ctx, "get", "events", "--sort-by=.lastTimestamp")
	return errors.Join(err, errors.New("events:\n"+out))
}

// list prints the share as find does.
func (d *demo) list() error {
	find := exec.CommandContext(d.ctx, "find", ".", "-mindepth", "1", "-printf", "%M  %P\n")
	find.Dir = d.share
	out, err := find.CombinedOutput()
	d.show(string(out))
	return err
}

// screen is where the demo prints what it says.
type screen struct {
	out  io.Writer
	said strings.Builder
}

const heading = "== " // begins a line with the demo's own words

func (s *screen) say(text string) { s.print("\n" + heading + text + "\n") }

func (s *screen) show(texts ...string) {
	for _, text := range texts {
		for line := range strings.Lines(strings.Trim(text, "\n") + "\n") {
			s.print("   " + line)
		}
	}
}

func (s *screen) print(line string) {
	fmt.Fprint(s.out, line)
	s.said.WriteString(line)
}

// log prints claimdir's log apart from the demo's own words.
type log struct{ out io.Writer }

func (l log) Write(data []byte) (int, error) {
	for line := range strings.Lines(string(data)) {
		fmt.Fprint(l.out, "   | ", line)
	}
	return len(data), nil
}
