//go:build e2e

package etcd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	etcdtest "github.com/gsstsig/coredns-gsstsig/internal/test/etcd"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const testOrigin = "example.test."

func begin(t testing.TB, config etcdtest.Config) (context.Context, *etcdtest.Cluster) {
	t.Helper()
	// The test's own context ends before clients are closed.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	c, err := etcdtest.Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return ctx, c
}

// connect opens the cluster as a server.
func connect(t testing.TB, server string, endpoints ...string) *Cluster {
	t.Helper()
	return connectWith(t, Options{Endpoints: endpoints, Server: server})
}

func connectWith(t testing.TB, options Options) *Cluster {
	t.Helper()
	options.Log = func(text string) { t.Logf("%s: %s", options.Server, text) }
	c, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func openZone(t testing.TB, c *Cluster, options ZoneOptions) *Zone {
	t.Helper()
	z, err := c.Zone(testOrigin, options)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func wire(text string) string {
	name, err := dnswire.ParseName(text, nil)
	if err != nil {
		panic(err)
	}
	return string(name)
}

func soa(serial uint32) store.Record {
	data := make([]byte, 22)
	data[2], data[3], data[4], data[5] = byte(serial>>24), byte(serial>>16), byte(serial>>8), byte(serial)
	return store.Record{Name: wire(testOrigin), Type: 6, Class: 1, TTL: 3600, Data: data}
}

func address(name string, last byte) store.Record {
	return store.Record{Name: wire(name), Type: 1, Class: 1, TTL: 300, Data: []byte{192, 0, 2, last}}
}

// A replica is what a server has of the zone: it applies batches as a zone does.
type replica struct {
	z       *Zone
	at      store.Position
	records map[string]store.Record
	owners  map[string]store.Owner
	marks   map[store.Mark]bool
	frozen  store.Freeze
}

func recordKey(r store.Record) string { return fmt.Sprintf("%q %d %x", r.Name, r.Type, r.Data) }

func (r *replica) Record(record store.Record) error {
	record.Data = slices.Clone(record.Data)
	r.records[recordKey(record)] = record
	return nil
}
func (r *replica) Owner(o store.Owner) error   { r.owners[o.Name] = o; return nil }
func (r *replica) Mark(m store.Mark) error     { r.marks[m] = true; return nil }
func (r *replica) Frozen(f store.Freeze) error { r.frozen = f; return nil }

func (r *replica) reset() {
	r.records, r.owners, r.marks = make(map[string]store.Record), make(map[string]store.Owner), make(map[store.Mark]bool)
	r.frozen = store.Freeze{}
}

// load makes a replica of what the store has, or fills the store first.
func load(ctx context.Context, t testing.TB, z *Zone) *replica {
	t.Helper()
	r := &replica{z: z}
	r.reset()
	at, found, err := z.Load(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	if !found {
		_, err := z.Init(ctx, store.Contents{Serial: 1, Records: slices.Values([]store.Record{soa(1)})})
		if err != nil && !errors.Is(err, store.ErrNotEmpty) {
			t.Fatal(err)
		}
		return load(ctx, t, z)
	}
	r.at = at
	return r
}

func (r *replica) applyChanges(b store.Batch) {
	for _, c := range b.Changes {
		for _, x := range c.Removed {
			delete(r.records, recordKey(x))
		}
		for _, list := range [][]store.Record{c.Added, c.Refreshed} {
			for _, x := range list {
				r.records[recordKey(x)] = x
			}
		}
		for _, o := range c.Owners {
			r.owners[o.Name] = o
		}
		for _, name := range c.Disowned {
			delete(r.owners, name)
		}
	}
	for _, m := range b.Marks {
		r.marks[m] = true
	}
	if b.Frozen != nil {
		r.frozen = *b.Frozen
	}
}

func (r *replica) apply(t testing.TB, list []store.Committed) {
	t.Helper()
	for _, c := range list {
		if c.Position.Sequence != r.at.Sequence+1 {
			t.Fatalf("batch %d after %d", c.Position.Sequence, r.at.Sequence)
		}
		r.applyChanges(c.Batch)
		r.at = c.Position
	}
}

// batch makes a batch of changes, each of which adds and removes records, and says what names hold then.
func (r *replica) batch(removed, added []store.Record) store.Batch {
	from := r.at.Serial
	return r.complete(store.Batch{Changes: []store.Change{{
		From: from, To: from + 1, Author: "host/a@REALM", Rule: "grant",
		Removed: append([]store.Record{soa(from)}, removed...), Added: append([]store.Record{soa(from + 1)}, added...),
	}}})
}

func (r *replica) complete(b store.Batch) store.Batch {
	after := &replica{records: maps.Clone(r.records), owners: maps.Clone(r.owners), marks: make(map[store.Mark]bool)}
	after.applyChanges(b)
	b.At = func(name string) (records []store.Record, owner *store.Owner) {
		for _, x := range after.records {
			if dnswire.EqualNames([]byte(x.Name), []byte(name)) {
				records = append(records, x)
			}
		}
		if o, ok := after.owners[name]; ok {
			owner = &o
		}
		return records, owner
	}
	return b
}

// commit proposes what make returns until it is committed, as a zone does.
func (r *replica) commit(ctx context.Context, make func() store.Batch) error {
	for {
		b := make()
		at, missed, err := r.z.Propose(ctx, r.at, b)
		switch {
		case err == nil:
			r.applyChanges(b)
			r.at = at
			return nil
		case errors.Is(err, store.ErrConflict):
			for _, c := range missed {
				r.applyChanges(c.Batch)
				r.at = c.Position
			}
		default:
			return err
		}
	}
}

func (r *replica) text() string {
	var lines []string
	for _, x := range r.records {
		lines = append(lines, fmt.Sprintf("%q %d %d %d %d %x", x.Name, x.Type, x.Class, x.TTL, x.Hours, x.Data))
	}
	for _, o := range r.owners {
		lines = append(lines, fmt.Sprintf("%q %s %s", o.Name, o.Principal, o.Deleted))
	}
	for m := range r.marks {
		lines = append(lines, fmt.Sprintf("%x %d", m.Context, m.Number))
	}
	slices.Sort(lines)
	return fmt.Sprintf("%d %v %q", r.at.Serial, r.frozen, lines)
}

// follow applies what Follow yields, in the background, to a replica of its own.
type following struct {
	mu      sync.Mutex
	replica *replica
	beats   int
	err     error
	done    chan struct{}
	changed chan struct{}
}

func follow(ctx context.Context, z *Zone, r *replica) *following {
	f := &following{replica: r, done: make(chan struct{}), changed: make(chan struct{})}
	go func() {
		defer close(f.done)
		for c, err := range z.Follow(ctx, r.at) {
			f.mu.Lock()
			switch {
			case err != nil:
				f.err = err
			case c.Position.Sequence == r.at.Sequence:
				f.beats++
			case c.Position.Sequence != r.at.Sequence+1:
				f.err = fmt.Errorf("batch %d after %d", c.Position.Sequence, r.at.Sequence)
			default:
				r.applyChanges(c.Batch)
				r.at = c.Position
			}
			close(f.changed)
			f.changed = make(chan struct{})
			f.mu.Unlock()
		}
	}()
	return f
}

// until waits for a condition of the replica that follows.
func (f *following) until(ctx context.Context, t testing.TB, what string, ok func() bool) {
	t.Helper()
	for {
		f.mu.Lock()
		done, changed, err := ok(), f.changed, f.err
		f.mu.Unlock()
		if done {
			return
		}
		if err != nil {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		select {
		case <-changed:
		case <-f.done:
			f.mu.Lock()
			defer f.mu.Unlock()
			if !ok() {
				t.Fatalf("waiting for %s: %v", what, f.err)
			}
			return
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, ctx.Err())
		}
	}
}

var prefixCount = []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithCountOnly()}
