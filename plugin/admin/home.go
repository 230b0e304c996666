package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
	"github.com/gsstsig/coredns-gsstsig/zone/store/etcd"
)

// commandSuffix is what the name of this server in etcd gets for the commands: they are beside the server.
const commandSuffix = "-command"

// A home is where a zone is kept: in a database or on etcd.
type home struct {
	origin    string
	directory string          // of the database; empty: on etcd
	block     *corefile.Block // nil if no Corefile was read; on etcd never
}

// homeOf returns the home of a zone of a block. A zone in memory has none.
func homeOf(block *corefile.Block, origin string) (home, error) {
	switch {
	case block.OnEtcd():
		return home{origin: origin, block: block}, nil
	case block.Database != "":
		return home{origin, block.DatabaseOf(origin), block}, nil
	}
	return home{}, diagnose.WithFix(fmt.Errorf("%s: zone %s has no database, %w", block.Position, origin, errInMemory),
		"add \"database DIR\" to the gsstsig block")
}

// errInMemory says that a zone has no home.
var errInMemory = errors.New("it is in memory only")

// String names the home in messages.
func (h home) String() string {
	if h.directory != "" {
		return "database " + h.directory
	}
	return h.block.Etcd.String()
}

// place is the directory of the database, or the cluster.
func (h home) place() string {
	if h.directory != "" {
		return h.directory
	}
	return h.String()
}

// etcdName is the cluster, "" for a database.
func (h home) etcdName() string {
	if h.directory != "" {
		return ""
	}
	return h.String()
}

func (h home) onEtcd() bool { return h.directory == "" }

// fixUnreachable is the advice where no member of etcd answers a command.
const fixUnreachable = "see that a majority of etcd's members run, and that this machine reaches one: coredns gsstsig check"

// shared opens the zone on etcd, calls do and closes it.
func (h home) shared(do func(store.Shared) error) (err error) {
	defer func() {
		if errors.Is(err, etcd.ErrUnreachable) && diagnose.FromError("", err).Fix == "" {
			err = diagnose.WithFix(err, fixUnreachable)
		}
	}()
	c, err := service.OpenCluster(&h.block.Etcd, commandSuffix, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	z, err := c.Zone(h.origin, etcd.ZoneOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	return do(z)
}

// read reads the zone. A server may use it meanwhile: what is read is one state.
func (h home) read() (snapshot *zone.Snapshot, err error) {
	if !h.onEtcd() {
		return readDatabase(h.directory, h.origin)
	}
	err = h.shared(func(s store.Shared) error {
		snapshot, err = zone.Read(h.origin, sharedSource{s})
		return err
	})
	if errors.Is(err, errNotThere) {
		err = diagnose.WithFix(fmt.Errorf("%w %v", err, h), "start a server, which fills it, or use load")
	}
	return snapshot, err
}

// errNotThere says that etcd does not have the zone.
var errNotThere = errors.New("the zone is not in")

// sharedSource is a shared store that a zone is read from.
type sharedSource struct{ store.Shared }

// Load implements zone.Source.
func (s sharedSource) Load(ctx context.Context, v store.Visitor) (serial uint32, found bool, err error) {
	at, found, err := s.Shared.Load(ctx, contentsVisitor{v})
	if err == nil && !found {
		err = errNotThere
	}
	return at.Serial, found, err
}

// contentsVisitor receives what a zone holds, without what servers have agreed on.
type contentsVisitor struct{ store.Visitor }

// Mark implements store.SharedVisitor.
func (contentsVisitor) Mark(store.Mark) error { return nil }

// Frozen implements store.SharedVisitor.
func (contentsVisitor) Frozen(store.Freeze) error { return nil }

// log calls do with the log of changes, newest first.
func (h home) log(ctx context.Context, do func(iter.Seq2[store.Change, error]) error) error {
	if h.onEtcd() {
		return h.shared(func(s store.Shared) error { return do(s.Log(ctx)) })
	}
	source, err := disk.OpenSnapshot(ctx, h.directory)
	if err != nil {
		return err
	}
	return errors.Join(do(source.Log(ctx)), source.Close())
}

// epoch begins a new epoch of the zone on etcd, with a serial that is raised.
func (h home) epoch(raise uint32, serial *uint32) error {
	return h.shared(func(s store.Shared) (err error) {
		*serial, err = s.(*etcd.Zone).NewEpoch(context.Background(), raise)
		return err
	})
}

// change is open for a zone that has to be there.
func (h home) change(config zone.Config, do func(*zone.Zone) error) error {
	config.Seed = func() ([]store.Record, error) { return nil, fmt.Errorf("%w %v", errNotThere, h) }
	return h.open(config, nil, do)
}

// open opens the zone, calls do and closes it. config has what is not of the home. A database must not be in use; on etcd other
// servers may be at work.
func (h home) open(config zone.Config, progress *progress, do func(*zone.Zone) error) error {
	config.Origin = h.origin
	opened := func(closeStore func() error) (err error) {
		z, err := zone.Open(config)
		if err != nil {
			return errors.Join(err, closeStore())
		}
		defer func() { err = errors.Join(err, z.Close()) }()
		return do(z)
	}
	if h.onEtcd() {
		return h.shared(func(s store.Shared) error {
			config.Shared = observedShared{s, progress}
			return opened(s.Close)
		})
	}
	database, err := disk.Open(h.directory, disk.Options{Origin: h.origin})
	if err != nil {
		return err
	}
	config.Store = observedStore{database, progress}
	return opened(database.Close)
}
