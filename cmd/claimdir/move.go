package main

import (
	"context"
	"fmt"

	"claimdir/provisioner/output"
)

// confirmMove asks whether something is to be moved into the trash, unless the answer is yes already. It says if nothing was moved.
func confirmMove(ctx context.Context, std streams, yes bool, question string) (bool, error) {
	if yes {
		return true, nil
	}
	yes, err := newAsker(std).ask(ctx, question)
	if err != nil {
		return false, fmt.Errorf("nothing was moved: %w", err)
	}
	if !yes {
		fmt.Fprintln(std.err, "Nothing was moved.")
	}
	return yes, nil
}

// moveAll moves all it can into the trash, and reports what it cannot. kind is what each of them is. move says of one that is gone
// already what became of it.
func moveAll[T any](ctx context.Context, selected []T, kind string, std streams, move func(T) (gone string, err error)) error {
	moved, failed := 0, 0
	for _, one := range selected {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("stopped after %d of %s: %w", moved, output.Count(len(selected), kind), err)
		}
		switch gone, err := move(one); {
		case err != nil:
			failed++
			fmt.Fprintln(std.err, "claimdir:", output.Line(err))
		case gone != "":
			fmt.Fprintln(std.err, "claimdir:", gone)
		default:
			moved++
		}
	}
	fmt.Fprintf(std.out, "Moved %d of %s into the trash, which the controller empties.\n", moved, output.Count(len(selected), kind))
	if failed > 0 {
		return fmt.Errorf("could not move %s", output.Count(failed, kind))
	}
	return nil
}
