package cluster

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"claimdir/hack/alerts"
	"claimdir/hack/browser"
	"claimdir/hack/project"
	"claimdir/hack/prometheus"
	"claimdir/hack/testbed"
)

var keepAlertPicture = flag.String("alert-picture", "", "the `file` that keeps a picture of the alert, PNG; this needs chromium")

// hasty returns the rules with what they wait for shortened.
func (w *world) hasty() []byte {
	w.T.Helper()
	root, err := project.Root()
	w.Must(err)
	rules, err := alerts.Read(root)
	w.Must(err)
	for _, group := range rules.Groups {
		for i := range group.Rules {
			group.Rules[i].For = "2s"
		}
	}
	text, err := yaml.Marshal(rules)
	w.Must(err)
	return text
}

// watch starts a Prometheus that scrapes the world's claimdir.
func (w *world) watch() *prometheus.Server {
	w.T.Helper()
	address, err := w.process.MetricsAddress()
	w.Must(err)
	server, err := prometheus.Start(w.T.Context(), prometheus.Config{
		Dir: w.T.TempDir(), Interval: 500 * time.Millisecond, Rules: w.hasty(),
		Targets: map[string]string{"claimdir/claimdir": address}, Labels: map[string]string{"namespace": "claimdir", "pod": "claimdir-0"},
	})
	w.Must(err)
	w.T.Cleanup(server.Stop)
	return server
}

// alert waits until the alert is in that state, or is over if that is empty.
func (w *world) alert(server *prometheus.Server, name, state string) (found prometheus.Alert) {
	w.T.Helper()
	w.Eventually(fmt.Sprintf("%s is %q", name, state), func() error {
		all, err := server.Alerts(w.T.Context(), name)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(all, func(a prometheus.Alert) bool { return a.State == state }); i >= 0 {
			found = all[i]
			return nil
		}
		if state == "" && len(all) == 0 {
			return nil
		}
		return fmt.Errorf("it is %+v", all)
	})
	return found
}

// testAlert: a real Prometheus with our rules sees a share that stalls, and that it is back. It sees the first refusal of a claim
// too, and knows every metric of docs/metrics.md that a healthy claimdir has.
func testAlert(t *testing.T, bed *testbed.Bed) {
	w := newSharesWorld(t, bed, "USAGE_INTERVAL=1s", "USAGE_METRICS=volume", "SWEEP_INTERVAL=1s")
	w.shareClass("keep", "fast", "onDelete", "archive")
	w.shareClass("typo", "fast", "onDelet", "archive")
	w.claimOf("keep", "kept")
	w.claimOf("slow", "data")
	w.wantOn("slow", "data")
	kept := w.wantOn("fast", "kept")
	w.DeleteClaim("kept")
	w.VolumeGone(kept.Name)
	server := w.watch()
	w.Eventually("the share is known to be ready", func() error {
		series, err := server.Query(t.Context(), `claimdir_share_ready{share="slow"} == 1`)
		if err == nil && len(series) != 1 {
			err = fmt.Errorf("it is %v", series)
		}
		return err
	})
	w.alert(server, "ClaimdirShareNotReady", "")

	w.claimOf("typo", "refused")
	refused := w.alert(server, "ClaimdirClaimRefused", "firing")
	if class := w.Name + "-typo"; refused.Labels["class"] != class || refused.Labels["reason"] != "class" || !strings.Contains(refused.Annotations["description"], "1 claims of class "+class) {
		t.Errorf("the alert is %+v", refused)
	}
	w.DeleteClaim("refused")
	w.alert(server, "ClaimdirClaimRefused", "")

	release := w.hang()
	w.claimOf("slow", "waits")
	fires := w.alert(server, "ClaimdirShareNotReady", "firing")
	export := testbed.Server + ":" + testbed.Export + "/slow"
	if fires.Labels["share"] != "slow" || fires.Labels["export"] != export || fires.Labels["severity"] != "critical" || fires.Labels["job"] != "claimdir/claimdir" {
		t.Errorf("its labels are %v", fires.Labels)
	}
	if fires.Annotations["description"] != "claimdir cannot work on the share "+export+". Its claims and released volumes wait; pods that have it mounted may hang." {
		t.Errorf("its annotations are %v", fires.Annotations)
	}
	w.alertPicture(server)
	pending, err := server.Query(t.Context(), `count_over_time(ALERTS{alertname="ClaimdirShareNotReady",alertstate="pending"}[10m])`)
	if err != nil || len(pending) != 1 {
		t.Errorf("it was not pending before: %v, %v", pending, err)
	}
	release()
	w.alert(server, "ClaimdirShareNotReady", "")
	w.wantOn("slow", "waits")
	w.documented(server)
	w.board(server)
}

// alertPicture keeps Prometheus' page of the alerts, as Chromium shows it, if the test was told to.
func (w *world) alertPicture(server *prometheus.Server) {
	w.T.Helper()
	if *keepAlertPicture == "" {
		return
	}
	b, err := browser.Start(w.T.Context())
	w.Must(err)
	defer func() { w.Must(b.Close()) }()
	w.Must(b.Open(w.T.Context(), server.URL+"/classic/alerts", 1000, "light"))
	// What fires, and this alert opened.
	const show = `document.querySelectorAll("tr").forEach(row => {
		if (row.classList.contains("alert-success")) row.hidden = true
		if (row.classList.contains("alert_header") && row.textContent.includes("ClaimdirShareNotReady")) row.click()
		if (row.className === "" && row.cells.length === 1) row.hidden = true // the file of a group
	}), true`
	var done bool
	w.Must(b.Evaluate(show, &done))
	picture, err := b.Screenshot()
	w.Must(err)
	w.Must(os.WriteFile(*keepAlertPicture, picture, 0o644))
}

// documented compares what Prometheus has scraped with docs/metrics.md.
func (w *world) documented(server *prometheus.Server) {
	w.T.Helper()
	root, err := project.Root()
	w.Must(err)
	documented, err := alerts.Documented(root)
	w.Must(err)
	series, err := server.Query(w.T.Context(), `{__name__=~"(claimdir|controller)_.+"}`)
	w.Must(err)
	scraped := map[string]bool{}
	for _, s := range series {
		name := s.Labels["__name__"]
		scraped[name] = true
		for label := range s.Labels {
			added := slices.Contains([]string{"__name__", "job", "instance", "pod", "namespace", "exported_namespace"}, label)
			if !added && !slices.Contains(documented[name], label) {
				w.T.Errorf("%s has the label %s, and docs/metrics.md says %q", name, label, documented[name])
			}
		}
		if documented[name] == nil {
			if _, known := documented[name]; !known {
				w.T.Errorf("docs/metrics.md does not have %s", name)
			}
		}
	}
	for _, name := range []string{"claimdir_records", "claimdir_archives_oldest_timestamp_seconds", "claimdir_class_mistakes", "claimdir_operation_duration_seconds_bucket", "claimdir_namespace_used_bytes"} {
		if !scraped[name] {
			w.T.Errorf("there is no %s", name)
		}
	}
}

// emptyWhenWell are the metrics whose queries on the dashboard may give nothing here, each with why.
func emptyWhenWell() map[string]string {
	return map[string]string{
		"claimdir_refused":                        "nothing is refused any more",
		"claimdir_trash_oldest_timestamp_seconds": "the trash is empty",
		"claimdir_expansions_total":               "nothing was expanded",
		"claimdir_copies_in_progress":             "nothing was copied",
		"claimdir_copy_bytes_total":               "nothing was copied",
		"claimdir_copy_files_total":               "nothing was copied",
		"claimdir_copy_changed_files_total":       "nothing was copied",
		"claimdir_snapshots":                      "the cluster has no VolumeSnapshots",
		"claimdir_snapshot_bytes":                 "the cluster has no VolumeSnapshots",
	}
}

// board runs every query of the dashboard.
func (w *world) board(server *prometheus.Server) {
	w.T.Helper()
	root, err := project.Root()
	w.Must(err)
	queries, err := alerts.DashboardQueries(root)
	w.Must(err)
	empty := 0
	chosen := strings.NewReplacer("$namespace", ".*", "$share", ".*", "$__rate_interval", "30s")
	metric := regexp.MustCompile(`claimdir_\w+`)
	for _, query := range queries {
		series, err := server.Query(w.T.Context(), chosen.Replace(query.Expr))
		if err != nil {
			w.T.Errorf("%s: %v", query.Panel, err)
			continue
		}
		if len(series) > 0 {
			continue
		}
		empty++
		if emptyWhenWell()[metric.FindString(query.Expr)] == "" {
			w.T.Errorf("%s: %s gives nothing", query.Panel, query.Expr)
		}
	}
	if len(queries) < 40 {
		w.T.Errorf("the dashboard has %d queries", len(queries))
	}
	w.T.Logf("%d queries of the dashboard, of which %d give nothing, as they may", len(queries), empty)
}
