package admin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/administration"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/control"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// operationTimeout bounds an operation of a running server.
const operationTimeout = 10 * time.Minute

// controlFlags name the server that a command is for.
type controlFlags struct {
	conf, socket *string
}

func addControlFlags(flags *flag.FlagSet) controlFlags {
	return controlFlags{
		conf:   flags.String("conf", "Corefile", "find the control socket by the server's Corefile `FILE`"),
		socket: flags.String("control", "", "use the server's control socket `PATH`; no Corefile is read"),
	}
}

// A target is the server that a command is for. If it is stopped, and the Corefile was read, there are the homes of its zones in its
// place.
type target struct {
	ctx     context.Context
	cancel  context.CancelFunc
	client  *control.Client
	servers []corefile.Server // nil if the Corefile was not read
	offline error             // why there is no server; nil if there may be one
	streams Streams
}

// open finds the server. It does not connect yet.
func (f controlFlags) open(s Streams) (*target, error) {
	t := &target{streams: s}
	path := *f.socket
	if path == "" {
		var err error
		if t.servers, err = corefile.ReadFile(*f.conf); err != nil {
			return nil, withControlFix(err)
		}
		var by *corefile.Block
		if path, by, err = corefile.ControlSocketOf(t.servers); err != nil {
			return nil, fmt.Errorf("%s: %w", by.Position, err)
		}
	}
	t.ctx, t.cancel = context.WithTimeout(context.Background(), operationTimeout)
	if path == "" {
		t.offline = diagnose.WithFix(fmt.Errorf("%s: the server has no control socket: it has no database, or control is off, or its zones are on etcd and no control names a path", *f.conf),
			"add \"control PATH\" to a gsstsig block and reload the server")
		return t, nil
	}
	t.client = control.NewClient(path)
	return t, nil
}

// withControlFix adds the option that needs no Corefile to the advice of an error about the Corefile.
func withControlFix(err error) error {
	const fix = "name the Corefile by -conf FILE, or the control socket of a running server by -control PATH"
	f := diagnose.FromError("", err)
	if f.Fix == "" {
		return diagnose.WithFix(err, fix)
	}
	return diagnose.WithFix(errors.New(f.Problem), "%s; or %s", f.Fix, fix)
}

func (t *target) close() {
	t.cancel()
	if t.client != nil {
		t.client.Close()
	}
}

// call asks the server for an operation.
func call[R, Q any](t *target, operation string, request Q) (answer R, err error) {
	if t.offline != nil {
		return answer, t.offline
	}
	return control.Call[R](t.ctx, t.client, operation, request)
}

// isStopped reports whether an error says that there is no server, so that a command may work on the database.
func (t *target) isStopped(err error) bool {
	return t.servers != nil && (errors.Is(err, control.ErrNotRunning) || t.offline != nil)
}

// block returns the block of a zone.
func (t *target) block(origin string) (*corefile.Block, error) {
	for _, server := range t.servers {
		for _, o := range server.Origins {
			if o == origin {
				return server.Block, nil
			}
		}
	}
	return nil, fmt.Errorf("no gsstsig block has the zone %s", origin)
}

// zoneOf returns the closest zone of a name.
func (t *target) zoneOf(name string) (string, error) {
	closest := ""
	for _, server := range t.servers {
		for _, o := range server.Origins {
			if dns.IsSubDomain(o, name) && len(o) > len(closest) {
				closest = o
			}
		}
	}
	if closest == "" {
		return "", fmt.Errorf("%s is in no zone of a gsstsig block", name)
	}
	return closest, nil
}

// home returns where a zone is kept. The error of the server is the reason why it is needed.
func (t *target) home(origin string, reason error) (home, error) {
	block, err := t.block(origin)
	if err != nil {
		return home{}, err
	}
	if block.Database == "" && !block.OnEtcd() {
		return home{}, fmt.Errorf("zone %s has no database, and without a server it does not exist: %w", origin, reason)
	}
	return homeOf(block, origin)
}

// tell says that a command works on the home of a zone, doing "reading" or "changing", and why.
func (t *target) tell(doing string, h home) {
	why := "the server is not running"
	if t.offline != nil {
		why = "the server has no control socket"
	}
	place := h.String()
	if !h.onEtcd() {
		place = "the " + place
	}
	fmt.Fprintf(t.streams.Err, "note: %s: %s %s\n", why, doing, place)
}

// snapshot reads a zone, because there is no server.
func (t *target) snapshot(origin string, reason error) (*zone.Snapshot, error) {
	h, err := t.home(origin, reason)
	if err != nil {
		return nil, err
	}
	t.tell("reading", h)
	return h.read()
}

// change opens a zone, calls do and closes it. While a server has a database, opening it fails.
func (t *target) change(origin string, reason error, do func(administration.Zone) error) (err error) {
	h, err := t.home(origin, reason)
	if err != nil {
		return err
	}
	s, err := service.Open(h.block)
	if err != nil {
		return fmt.Errorf("%s: %w", h.block.Position, h.block.Explain(err))
	}
	if !h.onEtcd() && !s.HasDatabase(origin) {
		return diagnose.WithFix(fmt.Errorf("zone %s: there is no database %s", origin, h.directory), "start the server, which makes it")
	}
	t.tell("changing", h)
	if !h.onEtcd() {
		inherit, err := inheritOwner(h.directory)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, inherit([]string{h.directory})) }()
	}
	rules, err := s.Policy(origin, nil, nil, nil)
	if err != nil {
		return err
	}
	return h.change(zone.Config{Limits: s.Limits, TombstoneLifetime: s.Tombstones},
		func(z *zone.Zone) error { return do(administration.Zone{Zone: z, Policy: rules, Realms: s.Realms}) })
}

// agree does that operation on a zone on etcd for all servers, because there is no server here. What it returns has no more than that.
func (t *target) agree(origin string, operation freezing, reason error) (v view.Zone, err error) {
	h, err := t.home(origin, reason)
	if err != nil {
		return v, err
	}
	if !h.onEtcd() {
		return v, reason // it would be forgotten
	}
	t.tell("changing", h)
	err = h.change(zone.Config{}, func(z *zone.Zone) error {
		err := operation.do(t.ctx, z)
		v = view.Zone{Zone: origin, Serial: z.Snapshot().Serial(), Updates: h.block.Mode(origin).String(), Etcd: h.String(), Rules: []string{}}
		if since, frozen := z.Frozen(); frozen {
			v.Frozen, v.Sealed = &since, z.Sealed()
		}
		return err
	})
	return v, err
}

// names collects names of a zone, from the server or from the database.
func (t *target) names(q view.NamesRequest, each func(view.Name) error) error {
	failure := t.offline
	if failure == nil {
		for n, err := range control.List[view.Name](t.ctx, t.client, "names", q) {
			if err == nil {
				err = each(n)
			}
			if failure = err; failure != nil {
				break
			}
		}
	}
	if failure == nil || !t.isStopped(failure) {
		return failure
	}
	s, err := t.snapshot(dns.CanonicalName(q.Zone), failure)
	if err != nil {
		return err
	}
	name := ""
	if q.Name != "" {
		name = dns.CanonicalName(q.Name)
	}
	for n := range administration.Names(s, name, q.Owner) {
		if err := each(n); err != nil {
			return err
		}
	}
	return nil
}

// changes collects changes of a zone, newest first, from the server or from the database.
func (t *target) changes(q view.ChangesRequest, each func(view.Change)) error {
	collect := func(list iter.Seq2[view.Change, error]) error {
		for c, err := range list {
			if err != nil {
				return err
			}
			each(c)
		}
		return nil
	}
	failure := t.offline
	if failure == nil {
		failure = collect(control.List[view.Change](t.ctx, t.client, "changes", q))
	}
	if failure == nil || !t.isStopped(failure) {
		return failure
	}
	origin := dns.CanonicalName(q.Zone)
	h, err := t.home(origin, failure)
	if err != nil {
		return err
	}
	t.tell("reading", h)
	return h.log(t.ctx, func(log iter.Seq2[store.Change, error]) error {
		return collect(administration.Changes(origin, log, q.From))
	})
}
