package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strconv"

	"k8s.io/klog/v2"
)

// setUpLogging sends klog, which the libraries use too, to w.
func setUpLogging(o options, w io.Writer) error {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	if err := flags.Set("v", strconv.Itoa(o.verbosity)); err != nil {
		return fmt.Errorf("set up logging: %w", err)
	}
	if o.logFormat == "json" {
		// slog's levels fall where klog's rise.
		handler := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.Level(-o.verbosity)})
		klog.SetSlogLogger(slog.New(handler))
	}
	return nil
}

// flushLogs writes what klog still holds.
func flushLogs() { klog.Flush() }
