package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"claimdir/provisioner/ledger"
)

func TestUsageListsWhatIsKnown(t *testing.T) {
	w := newArchiveWorld(t)
	w.archive("team/data", "pvc-1", "")
	out, stderr, err := w.usage()
	if err != nil || stderr != "" {
		t.Errorf("%v, %s", err, stderr)
	}
	holds(t, out, "SHARE  SIZE", "team/data  archive", "never", ".claimdir/trash")
	out, _, err = w.usage("team/data")
	if err != nil || strings.Contains(out, "SHARE  SIZE") || strings.Contains(out, "trash") {
		t.Errorf("%v, %s", err, out)
	}
	holds(t, out, "team/data  archive")
	_, stderr, err = w.usage("team/other")
	if err != nil {
		t.Error(err)
	}
	holds(t, stderr, `No volume, archive or retained directory found of "team/other".`)
}

func TestUsageGoesOnAfterADamagedRecord(t *testing.T) {
	w := newArchiveWorld(t)
	w.archive("team/data", "pvc-1", "")
	w.damage()
	out, stderr, err := w.usage()
	if err == nil || !strings.Contains(err.Error(), "records or shares that could not be read: 1; all others were read") {
		t.Error(err)
	}
	holds(t, out, "team/data  archive")
	holds(t, stderr, "claimdir: ", ledger.ErrDamaged.Error())
}

func TestUsageOfUsage(t *testing.T) {
	w := newArchiveWorld(t)
	for args, want := range map[string]string{
		"a b":            `arguments ["a" "b"]: only one is allowed, NAMESPACE or NAMESPACE/CLAIM`,
		"a/b/c":          `argument "a/b/c": allowed are NAMESPACE and NAMESPACE/CLAIM`,
		"-o yaml":        `--output "yaml": allowed are table and json`,
		"--mount-path=x": `--mount-path "x": must be absolute`,
	} {
		_, _, err := w.usage(strings.Fields(args)...)
		if usage, is := errors.AsType[*usageError](err); !is || !strings.Contains(usage.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func (w *archiveWorld) usage(args ...string) (stdout, stderr string, err error) {
	w.t.Helper()
	var out, errs bytes.Buffer
	err = run(w.t.Context(), append([]string{"usage"}, args...), w.env, streams{in: io.MultiReader(), out: &out, err: &errs})
	return out.String(), errs.String(), err
}
