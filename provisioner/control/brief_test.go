package control

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/client-go/tools/record"
)

func TestTextsOfEventsAreBrief(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("a", textMost)} {
		if got := brief(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := brief("file \"a\r\x1b[2K\u202e\xff\u0085b\"\nnext"); got != "file \"a??[2K???b\"\nnext" {
		t.Errorf("unprintable characters become %q", got)
	}
	for _, filling := range []string{"x", "é", "\xff", "日本"} {
		text := "path is wrong: " + strings.Repeat(filling, 250<<10) + "; give another"
		recorder := record.NewFakeRecorder(1)
		briefRecorder{recorder}.Event(nil, "Warning", "Failed", text)
		for _, got := range []string{briefError{errors.New(text)}.Error(), strings.TrimPrefix(<-recorder.Events, "Warning Failed ")} {
			if len(got) > textMost || !utf8.ValidString(got) || !strings.HasPrefix(got, "path is wrong: ") || !strings.HasSuffix(got, "; give another") || !strings.Contains(got, " … ") {
				t.Errorf("%d bytes: %q", len(got), got)
			}
		}
	}
	if err := error(briefError{fmt.Errorf("look: %w", fs.ErrNotExist)}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
