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

// asker asks the user at the terminal, one question at a time.
type asker struct {
	std     streams
	answers *bufio.Reader
}

func newAsker(std streams) asker { return asker{std, bufio.NewReader(std.in)} }

// ask reports whether the answer is yes. Every answer but y and yes is a no. If stdin is
// not a terminal or ends, ask returns an error and not a no: a script must not continue as
// if the user had answered. ask returns at once when ctx ends, so that a signal need not
// wait for an answer. After an error, do not call ask again.
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
