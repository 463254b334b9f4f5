package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/cluster"
	"claimdir/provisioner/control"
	"claimdir/provisioner/expiry"
	"claimdir/provisioner/page"
	"claimdir/provisioner/share"
	"claimdir/provisioner/snapshot"
	"claimdir/provisioner/sweep"
	"claimdir/provisioner/trash"
)

// pageOff is the --page-address with which there is no page.
const pageOff = "off"

// servePage serves the page on address until stop is called. claimdir works without the page, so an address
// that cannot be had, such as a port that another process of the node's network has, is only logged.
func servePage(ctx context.Context, address string, data func() page.Data) (stop func()) {
	if address == pageOff {
		return func() {}
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Cannot serve the page; working without it", "address", address)
		return func() {}
	}
	local := false
	if tcp, is := listener.Addr().(*net.TCPAddr); is {
		local = tcp.IP.IsLoopback()
	}
	klog.FromContext(ctx).Info("Serving the page", "address", listener.Addr().String())
	return serveOn(ctx, listener, page.Handler(data, local), "the page")
}

// overview gathers what the page shows from the parts of a running controller. It asks neither a share nor the
// API server.
type overview struct {
	options

	cluster    string // its UID
	informers  *cluster.Informers
	leadership *control.Leadership
	controller *control.Controller
	shares     []shareJobs
}

// shareJobs are a share and its jobs.
type shareJobs struct {
	keeper  *access.Keeper
	emptier *trash.Emptier
	sweeper *sweep.Sweeper
	expirer *expiry.Expirer
	copies  func() (running, waiting int)                                 // see copies.Copies.Count
	found   func() (snapshot.Found, bool)                                 // see snapshot.Snapshotter.Found; nil if no snapshots are made
	used    func(path, pv string) (bytes int64, at time.Time, known bool) // see usage.Measurer; nil if nothing is measured
}

func (o *overview) data() page.Data {
	d := page.Data{
		Version: version, Provisioner: o.provisionerName, Cluster: o.cluster, At: time.Now(),
		Leads: o.leadership.Check() == nil, Starting: !o.informers.Synced(),
	}
	for _, s := range o.shares {
		d.Shares = append(d.Shares, s.state(d.Leads))
	}
	o.addVolumes(&d)
	if d.Leads {
		refused, total, more := o.controller.Refused(page.Entries)
		d.Refused.Total, d.Refused.AtLeast = total, more
		for _, r := range refused {
			d.Refused.Rows = append(d.Refused.Rows, page.Refused{Namespace: r.Namespace, Claim: r.Name, Class: r.Class, Reason: r.Reason, Text: r.Text, Since: r.Since})
		}
	}
	return d
}

// addVolumes adds the sizes of all volumes, in one pass.
func (o *overview) addVolumes(d *page.Data) {
	var sizes page.Sizes
	on := o.finder()
	o.informers.EachSized(func(pv cluster.Sized) {
		v := page.Volume{Name: pv.Name, Namespace: pv.Namespace, Size: page.Size{Requested: pv.Bytes}}
		if i, path := on(pv.Server, pv.Export); i >= 0 {
			d.Shares[i].Volumes++
			d.Shares[i].Requested += pv.Bytes
			v.Share = d.Shares[i].Name
			if used := o.shares[i].used; used != nil {
				v.Used, v.Measured, v.Known = used(path, pv.Name)
			}
		}
		sizes.Add(v)
	})
	d.Volumes, d.Namespaces = sizes.Volumes(), sizes.Namespaces()
	for i := range d.Volumes.Rows {
		v := &d.Volumes.Rows[i]
		if pv, found := o.informers.Volume(v.Name); found && pv.Spec.ClaimRef != nil {
			v.Claim = pv.Spec.ClaimRef.Name
		}
	}
}

// finder returns a function that returns which share has an exported path of a server, and the path there, or -1 if
// none has it. It remembers each spelling of a server, of which there are few.
func (o *overview) finder() func(server, export string) (i int, path string) {
	at := map[string][]int{} // shares by server
	return func(server, export string) (int, string) {
		same, known := at[server]
		if !known {
			for i, s := range o.shares {
				if share.SameServer(server, s.keeper.Source().Server) {
					same = append(same, i)
				}
			}
			at[server] = same
		}
		export = path.Clean(export)
		for _, i := range same {
			if relative, below := share.Below(o.shares[i].keeper.Source().Path, export); below {
				return i, relative
			}
		}
		return -1, ""
	}
}

// state is what is known of a share and, if this replica leads, of the work on it.
func (s *shareJobs) state(leads bool) page.Share {
	room, source := s.keeper.Room(), s.keeper.Source()
	state := page.Share{Name: s.keeper.Name(), Server: source.Server, Path: source.Path, Size: room.Size, Free: room.Free}
	if err := s.keeper.Ready(); err != nil {
		state.Trouble = err.Error()
		trouble, is := errors.AsType[*access.Trouble](err)
		state.Starting = is && trouble.Kind == access.Starting
	}
	if !leads {
		return state
	}
	state.Copies.Running, state.Copies.Waiting = s.copies()
	if s.found != nil {
		found, _ := s.found()
		state.Snapshots = page.Snapshots{At: found.At, Count: found.Count, Bytes: found.Bytes}
	}
	waiting, failing, known := s.emptier.Waiting()
	state.Trash = page.Trash{Known: known, Waiting: waiting}
	var reasons []string
	for _, reason := range slices.Sorted(maps.Keys(failing)) {
		state.Trash.Failing += failing[reason]
		reasons = append(reasons, fmt.Sprintf("%s: %d", reason, failing[reason]))
	}
	state.Trash.Reasons = strings.Join(reasons, ", ")
	if found, looked := s.expirer.Found(); looked {
		state.Archives = page.Archives{At: found.At, Forever: found.Forever}
		state.Archives.Ending.Total = found.Ending
		for _, a := range found.Soonest {
			state.Archives.Ending.Rows = append(state.Archives.Ending.Rows, page.Archive{
				Share: state.Name, Namespace: a.Namespace, Claim: a.Claim, Path: a.Path, Until: a.Until, Held: a.Held,
			})
		}
	}
	findings, ended := s.sweeper.Found()
	state.Findings.At, state.Findings.Total = ended, len(findings)
	for _, f := range findings[:min(page.Entries, len(findings))] {
		state.Findings.Rows = append(state.Findings.Rows, page.Finding{Share: state.Name, Kind: f.Kind, Object: f.Object, Problem: f.Problem, Remedy: f.Remedy})
	}
	return state
}
