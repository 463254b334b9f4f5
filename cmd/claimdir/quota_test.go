package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// Every mistake is named with its flag, its value and what is allowed.
func TestQuotaRefusesWrongFlags(t *testing.T) {
	for args, want := range map[string][]string{
		"":                                      {"--share is required: the exported directory on this server, in which .claimdir lies"},
		"--share relative":                      {`--share "relative": must be absolute`},
		"--share /x --every 10ms":               {"--every 10ms: must be at least 1s"},
		"--share /x --slack 2000%":              {`--slack "2000%": allowed are sizes such as 100Mi, and percents of the claim's size from 0% to 1000%`},
		"--share /x --project-base 0":           {"--project-base 0: allowed are 1 to 4294967294"},
		"--share /x --project-base -5":          {`--project-base "-5"`},
		"--share /x more --slack much --ever 1": {`unexpected argument "more"`, "unknown flag: --ever", `--slack "much"`},
	} {
		err := run(t.Context(), append([]string{"quota"}, strings.Fields(args)...), noEnv, streams{out: &bytes.Buffer{}, err: &bytes.Buffer{}})
		if usage := new(usageError); !errors.As(err, &usage) {
			t.Errorf("%s: %v", args, err)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %s", args, err, w)
			}
		}
	}
}

func TestQuotaSaysThatAShareIsNotThere(t *testing.T) {
	err := run(t.Context(), []string{"quota", "--share", "/nowhere/at/all"}, noEnv, streams{out: &bytes.Buffer{}, err: &bytes.Buffer{}})
	if err == nil || err.Error() != `--share "/nowhere/at/all": open share /nowhere/at/all: no such file or directory` {
		t.Errorf("%v", err)
	}
}
