// Command write writes what is written from the rules of the alerts, or with -check says what is not as it would be written.
package main

import (
	"flag"
	"fmt"
	"os"

	"claimdir/hack/alerts"
	"claimdir/hack/project"
)

func main() {
	check := flag.Bool("check", false, "write nothing; fail if something is stale")
	flag.Parse()
	root, err := project.Root()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	stale, err := alerts.Stale(root, !*check)
	for _, name := range stale {
		fmt.Println(name)
	}
	if err != nil || *check && len(stale) > 0 {
		fmt.Fprintln(os.Stderr, "not as it would be written:", stale, err)
		os.Exit(1)
	}
}
