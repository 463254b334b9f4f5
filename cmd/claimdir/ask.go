package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
)

var (
	errNoTerminal = errors.New("stdin is not a terminal: run it on one (kubectl exec -it), or add --yes")
	errNoAnswer   = errors.New("stdin ended before the answer: run it on a terminal (kubectl exec -it), or add --yes")
)

// asker asks whoever sits at the terminal, one question after the other.
type asker struct {
	std     streams
	answers *bufio.Reader
}

func newAsker(std streams) asker { return asker{std, bufio.NewReader(std.in)} }

// ask returns whether the answer is yes; whatever is no clear yes is a no. Where
// nobody can answer, that is an error and not a no: a script must not go on as if
// it were done. The end of ctx ends the waiting, too: a signal must not have to
// wait for an answer. Nothing is to be asked after an error.
func (a asker) ask(ctx context.Context, question string) (bool, error) {
	if !a.std.terminal {
		return false, errNoTerminal
	}
	fmt.Fprint(a.std.err, question, " [y/N] ")
	answers := make(chan string, 1)
	go func() {
		defer close(answers)
		if line, err := a.answers.ReadString('\n'); err == nil {
			answers <- line
		}
	}()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case answer, answered := <-answers:
		if !answered {
			fmt.Fprintln(a.std.err)
			return false, errNoAnswer
		}
		answer = strings.ToLower(strings.TrimSpace(answer))
		return answer == "y" || answer == "yes", nil
	}
}
