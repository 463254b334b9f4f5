package refusal

import (
	"errors"
	"fmt"
	"testing"
)

func TestConstructorsSayWhetherARepeatHelps(t *testing.T) {
	cause := errors.New("cause")
	for name, tt := range map[string]struct {
		err          error
		final, waits bool
		reason       string
	}{
		"refuse":             {Refuse(ReasonClaim, "%w", cause), true, false, ReasonClaim},
		"postpone":           {Postpone(ReasonTaken, "%w", cause), false, false, ReasonTaken},
		"await":              {Await(ReasonStalled, cause), false, true, ReasonStalled},
		"refuse, unchanged":  {Unchanged(Refuse(ReasonClaim, "%w", cause)), true, false, ReasonClaim},
		"await, unchanged":   {Unchanged(Await(ReasonStalled, cause)), false, true, ReasonStalled},
		"wrapped, unchanged": {Unchanged(fmt.Errorf("step: %w", Refuse(ReasonClaim, "%w", cause))), true, false, ReasonClaim},
	} {
		t.Run(name, func(t *testing.T) {
			r, ok := errors.AsType[*Refusal](tt.err)
			if !ok || r.Final() != tt.final || r.Waits() != tt.waits || r.Reason() != tt.reason || !errors.Is(tt.err, cause) {
				t.Errorf("%+v, want final %v, waits %v, reason %s, and the cause in it", r, tt.final, tt.waits, tt.reason)
			}
		})
	}
}

func TestThatNothingWasChangedIsSaidOnceAndCanBeLeftOut(t *testing.T) {
	plain := Refuse(ReasonVolume, "no %s", "good")
	for name, tt := range map[string]struct {
		err           error
		text, message string
	}{
		"not marked":    {plain, "no good", "no good"},
		"marked":        {Unchanged(plain), "no good; nothing was changed", "no good"},
		"marked twice":  {Unchanged(Unchanged(plain)), "no good; nothing was changed", "no good"},
		"wrapped":       {Unchanged(fmt.Errorf("step: %w", plain)), "step: no good; nothing was changed", "step: no good"},
		"marked inside": {Unchanged(fmt.Errorf("step: %w", Unchanged(plain))), "step: no good; nothing was changed", "step: no good; nothing was changed"},
		"no refusal":    {Unchanged(errors.New("broken")), "broken", "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.err.Error() != tt.text || Message(tt.err) != tt.message {
				t.Errorf("says %q and %q, want %q and %q", tt.err, Message(tt.err), tt.text, tt.message)
			}
		})
	}
	if plain.Error() != "no good" {
		t.Errorf("the refusal that was marked changed: %q", plain)
	}
	if Unchanged(nil) != nil {
		t.Error("no error became one")
	}
}
