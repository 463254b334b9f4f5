// Command dashboard writes the Grafana dashboard from the panels in panels.go, or with -check says what is not as it
// would be written.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"

	"claimdir/hack/project"
)

func main() {
	check := flag.Bool("check", false, "write nothing; fail if something is stale")
	flag.Parse()
	if err := run(!*check); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

// run writes the dashboard, for kustomize and for the chart, or compares it.
func run(write bool) error {
	root, err := project.Root()
	if err != nil {
		return err
	}
	text, err := render()
	if err != nil {
		return err
	}
	var problems []error
	for _, name := range []string{"manifests/components/dashboard/dashboard.json", "manifests/chart/claimdir/files/dashboard.json"} {
		stale, err := project.Written(root, name, text, write)
		if stale && !write {
			err = fmt.Errorf("%s is not as it would be written", name)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// source is the data source that the reader of the dashboard chooses.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: new("prometheus"), Uid: new("$datasource")}
}

// render returns the dashboard as JSON.
func render() ([]byte, error) {
	all := dashboard.VariableOption{
		Selected: new(true),
		Text:     dashboard.StringOrArrayOfString{String: new("All")},
		Value:    dashboard.StringOrArrayOfString{String: new("$__all")},
	}
	choose := func(name, label, query string) *dashboard.QueryVariableBuilder {
		return dashboard.NewQueryVariableBuilder(name).Label(label).Datasource(source()).
			Query(dashboard.StringOrMap{String: new(query)}).Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
			Sort(dashboard.VariableSortAlphabeticalAsc).Multi(true).IncludeAll(true).AllValue(".*").Current(all)
	}
	// The classic form, which people import and sidecars read; dashboardv2 is for a resource of Grafana.
	d := dashboard.NewDashboardBuilder("claimdir").Uid("claimdir").Tags([]string{"claimdir", "storage"}). //nolint:staticcheck // see above
														Description("What claimdir does and what it waits for.").
														Refresh("1m").Time("now-6h", "now").Timezone("browser").Readonly().
														WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")).
														WithVariable(choose("namespace", "Namespace", "label_values(claimdir_build_info, namespace)")).
														WithVariable(choose("share", "Share", `label_values(claimdir_share_ready{namespace=~"$namespace"}, share)`))
	id := uint32(0)
	next := func() uint32 { id++; return id }
	for _, r := range rows() {
		d = d.WithRow(dashboard.NewRowBuilder(r.title).Id(next()))
		for _, p := range r.panels {
			d = d.WithPanel(p.build(next()))
		}
	}
	built, err := d.Build()
	if err != nil {
		return nil, err
	}
	if err := built.Validate(); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(built, "", "  ")
	return append(text, '\n'), err
}

// build makes a panel: a number, or a graph.
func (p panel) build(id uint32) cog.Builder[dashboard.Panel] {
	var targets []cog.Builder[variants.Dataquery]
	for i, q := range p.queries {
		target := prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Expr(q.expr).LegendFormat(q.legend).Datasource(source())
		if p.number {
			target = target.Instant()
		} else {
			target = target.Range()
		}
		targets = append(targets, target)
	}
	if p.number {
		return stat.NewPanelBuilder().Id(id).Title(p.title).Description(p.text).Datasource(source()).Unit(p.unit).Height(4).Span(3).Targets(targets)
	}
	return timeseries.NewPanelBuilder().Id(id).Title(p.title).Description(p.text).Datasource(source()).Unit(p.unit).Min(0).Height(7).Span(8).Targets(targets)
}
