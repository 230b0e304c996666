package admin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/administration"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
	"github.com/gsstsig/coredns-gsstsig/zone/store/etcd"
)

// migrate copies a zone from where one Corefile keeps it to where another one does. The server of the first goes on with the copy
// when it loads the other Corefile: see plugin/gsstsig/move.go.
func migrate(flags *flag.FlagSet) runner {
	server := addControlFlags(flags)
	to := flags.String("to", "", "copy the zone to where the Corefile `FILE` keeps it")
	output := addOutputFlag(flags)
	return func(s Streams, args []string) (int, error) {
		origin, err := onlyZone(args)
		if err != nil {
			return 0, err
		}
		if *to == "" {
			return 0, &usageError{"-to FILE is needed, a Corefile that says where the zone is to be kept"}
		}
		m := migration{streams: s}
		if m.from, err = findHome(*server.conf, origin); errors.Is(err, errInMemory) {
			return 0, diagnose.WithFix(errors.New(diagnose.FromError("", err).Problem),
				"transfer it from the running server by \"coredns gsstsig load -conf %s %s axfr://SERVER\"; owners and times of records are in no transfer", *to, origin)
		}
		if err != nil {
			return 0, err
		}
		if m.to, err = findHome(*to, origin); err != nil {
			return 0, err
		}
		if m.from.String() == m.to.String() {
			return 0, fmt.Errorf("zone %s: both Corefiles keep it in the same place, %v", origin, m.from)
		}
		t, err := server.open(s)
		if err != nil {
			return 0, err
		}
		defer t.close()
		defer m.unlock()
		if err := m.seal(t); err != nil {
			return 0, err
		}
		copied, err := m.copy()
		if err != nil {
			return 0, errors.Join(err, m.giveUp(t))
		}
		if output.json {
			return ExitOK, printJSON(s.Out, migratedJSON{Zone: origin, Serial: copied.Serial(), Records: copied.Len(), From: m.from.String(), To: m.to.String(), Frozen: m.frozen})
		}
		fmt.Fprintf(s.Out, "zone %s: %s, serial %d, copied from %v to %v\n", origin, count(copied.Len(), "record"), copied.Serial(), m.from, m.to)
		if m.frozen {
			fmt.Fprintf(s.Out, "Updates are refused now, those of the administrator too. Put %s in the place of %s, and reload the server: it goes on with the copy, and takes updates again.\n"+
				"To give up: coredns gsstsig thaw -all %s, and remove the copy.\n", *to, *server.conf, origin)
		} else {
			fmt.Fprintf(s.Out, "No server of %s is running. Start it with %s, and not with %s any more: what it changed would not be in the copy.\n", *server.conf, *to, *server.conf)
		}
		return ExitOK, nil
	}
}

// migratedJSON is what migrate prints.
type migratedJSON struct {
	Zone    string `json:"zone"`
	Serial  uint32 `json:"serial"`
	Records int    `json:"records"`
	From    string `json:"from"`
	To      string `json:"to"`
	Frozen  bool   `json:"frozen"`
}

// migration is a copy under way.
type migration struct {
	streams  Streams
	from, to home
	frozen   bool      // the zone is sealed: nothing changes it while it is copied, and until the server goes on with the copy
	running  bool      // by a server that runs
	lock     io.Closer // keeps servers from opening the database of one that is stopped
	undo     freezing  // makes the zone what it was before; empty if it was sealed
}

// seal has all updates refused: by the running server, or, on etcd, by all servers.
func (m *migration) seal(t *target) error {
	origin := m.from.origin
	z, err := call[view.Status](t, "status", view.StatusRequest{Zone: origin})
	if err == nil {
		if len(z.Zones) == 1 {
			m.noteUndo(z.Zones[0].Frozen != nil, z.Zones[0].Sealed)
		}
		_, err = freezeAll.ask(t, origin)
		m.frozen, m.running = err == nil, true
		return err
	}
	if !t.isStopped(err) {
		return err
	}
	if !m.from.onEtcd() {
		if m.lock, err = disk.Lock(m.from.directory); errors.Is(err, disk.ErrLocked) && t.offline != nil {
			return diagnose.WithFix(fmt.Errorf("zone %s: it cannot be frozen at the running server: %w", origin, t.offline), "stop the server, or give it a control socket")
		}
		return err
	}
	return m.from.change(zone.Config{}, func(z *zone.Zone) error {
		_, frozen := z.Frozen()
		m.noteUndo(frozen, z.Sealed())
		_, err := z.Seal(t.ctx)
		m.frozen = err == nil
		return err
	})
}

// unlock lets servers open the database again.
func (m *migration) unlock() {
	if m.lock != nil {
		_ = m.lock.Close() // the process ends, and with it the lock
	}
}

// noteUndo notes what makes the zone what it is now.
func (m *migration) noteUndo(frozen, sealed bool) {
	switch {
	case sealed:
	case frozen:
		m.undo = unseal
	default:
		m.undo = thawAll
	}
}

// copy copies the zone, and compares the copy with it.
func (m *migration) copy() (*zone.Snapshot, error) {
	snapshot, err := m.from.read()
	if err != nil {
		return nil, err
	}
	p := newProgress(m.streams.Err, "records stored", snapshot.Len(), recordStep)
	contents := p.observe(store.Contents{Serial: snapshot.Serial(), Records: snapshot.WireRecords(), Owners: snapshot.Owners()})
	err = m.to.fill(contents)
	p.end()
	if errors.Is(err, store.ErrNotEmpty) {
		return nil, m.to.occupied()
	}
	if err != nil {
		return nil, err
	}
	copied, err := m.to.read()
	if err == nil && !administration.Same(snapshot, copied) {
		err = fmt.Errorf("zone %s: the copy in %v is not the same as the zone", m.from.origin, m.to)
	}
	return copied, err
}

// giveUp has the zone frozen no more than it was before.
func (m *migration) giveUp(t *target) (err error) {
	if !m.frozen || len(m.undo) == 0 {
		return nil
	}
	origin := m.from.origin
	if m.running {
		_, err = m.undo.ask(t, origin)
	} else {
		err = m.from.change(zone.Config{}, func(z *zone.Zone) error { return m.undo.do(t.ctx, z) })
	}
	if err != nil {
		return diagnose.WithFix(fmt.Errorf("zone %s: it stays frozen: %w", origin, err), "coredns gsstsig thaw -all %s", origin)
	}
	return nil
}

// occupied is the error that the home has a zone already.
func (h home) occupied() error {
	fix := fmt.Sprintf("if it is a former copy that nobody serves any more, remove the directory %s and migrate again", h.directory)
	if h.onEtcd() {
		fix = fmt.Sprintf("if it is a former copy that nobody serves any more, remove it by \"etcdctl del --prefix %s\" and migrate again", etcd.ZonePrefix(h.block.Etcd.Prefix, h.origin))
	}
	return diagnose.WithFix(fmt.Errorf("%v has the zone %s already, and migrate does not replace it", h, h.origin), "%s", fix)
}

// fill fills an empty home as it is: store.ErrNotEmpty if it is not.
func (h home) fill(c store.Contents) (err error) {
	ctx := context.Background()
	if h.onEtcd() {
		return h.shared(func(s store.Shared) error {
			_, err := s.Init(ctx, c)
			return err
		})
	}
	made := []string{h.directory}
	if h.block != nil {
		made = append(made, service.RecordOf(h.block, h.origin))
	}
	inherit, err := inheritOwner(h.directory)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, inherit(made)) }()
	if err := os.MkdirAll(h.directory, 0o700); err != nil {
		return err
	}
	database, err := disk.Open(h.directory, disk.Options{Origin: h.origin})
	if err != nil {
		return err
	}
	if err := errors.Join(database.Init(ctx, c), database.Close()); err != nil {
		return err
	}
	return service.RecordMasterFile(h.block, h.origin)
}

// restored goes on with a zone after etcd was restored from a backup.
func restored(flags *flag.FlagSet) runner {
	server := addControlFlags(flags)
	var served serials
	flags.Var(&served, "served", "a server or a secondary has `SERIAL`: set a greater one; may be given several times")
	output := addOutputFlag(flags)
	return func(s Streams, args []string) (int, error) {
		origin, err := onlyZone(args)
		if err != nil {
			return 0, err
		}
		h, err := findHome(*server.conf, origin)
		if err != nil {
			return 0, err
		}
		if !h.onEtcd() {
			return 0, diagnose.WithFix(fmt.Errorf("zone %s: it is kept in %v, not on etcd", origin, h), "restore a database by load, with -previous or -served")
		}
		t, err := server.open(s)
		if err != nil {
			return 0, err
		}
		defer t.close()
		// A server that runs may know the serial that was lost. It is no matter if there is none.
		if state, err := call[view.Status](t, "status", view.StatusRequest{Zone: origin}); err == nil && len(state.Zones) == 1 {
			served = append(served, state.Zones[0].Serial)
		}
		e, err := newEpoch(h, served)
		if err != nil {
			return 0, err
		}
		if output.json {
			return ExitOK, printJSON(s.Out, e)
		}
		return ExitOK, e.print(s.Out)
	}
}

// epochJSON is what restored prints.
type epochJSON struct {
	Zone string `json:"zone"`
	From uint32 `json:"from"` // serials
	To   uint32 `json:"to"`
}

func (e epochJSON) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "zone %s: serial %d -> %d. All servers load it again, and secondaries transfer it\n", e.Zone, e.From, e.To)
	return err
}

// serialRaise is by how much a serial is raised beyond all that are known: servers may have had more changes than anybody tells.
const serialRaise = 1 << 20

// newEpoch raises the serial of a zone on etcd beyond those that were served.
func newEpoch(h home, served []uint32) (epochJSON, error) {
	snapshot, err := h.read()
	if err != nil {
		return epochJSON{}, err
	}
	at := snapshot.Serial()
	highest := at
	for _, serial := range served {
		if int32(serial-highest) > 0 { // RFC 1982
			highest = serial
		}
	}
	raise := highest - at + serialRaise
	if int32(raise) <= 0 {
		return epochJSON{}, fmt.Errorf("zone %s: serials %d and %d are too far apart: none is greater than both (RFC 1982 section 3.2)", h.origin, at, highest)
	}
	e := epochJSON{Zone: h.origin, From: at}
	err = h.epoch(raise, &e.To)
	return e, err
}
