//go:build e2e

package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	etcdtest "github.com/gsstsig/coredns-gsstsig/internal/test/etcd"
	"github.com/gsstsig/coredns-gsstsig/internal/test/link"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

func startLink(t *testing.T, c *etcdtest.Cluster, member int) (*link.Link, string) {
	t.Helper()
	way, err := link.Start(c.Address(member))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(way.Close)
	return way, "http://" + way.Address.String()
}

// expectStored loads the zone by another server and compares its names of type A.
func expectStored(ctx context.Context, t *testing.T, c *etcdtest.Cluster, sequence uint64, names ...string) {
	t.Helper()
	r := load(ctx, t, openZone(t, connect(t, "witness", c.Endpoints()...), ZoneOptions{}))
	var got, want []string
	for _, x := range r.records {
		if x.Type == 1 {
			got = append(got, x.Name)
		}
	}
	for _, name := range names {
		want = append(want, wire(name))
	}
	slices.Sort(got)
	slices.Sort(want)
	if r.at.Sequence != sequence || !slices.Equal(got, want) {
		t.Errorf("batch %d with %q, want %d with %q", r.at.Sequence, got, sequence, want)
	}
}

// TestAnswerLost loses the answer of a commit that was done. The next member finds that out.
func TestAnswerLost(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	way, endpoint := startLink(t, c, 0)
	r := load(ctx, t, openZone(t, connect(t, "a", endpoint, c.Endpoint(0)), ZoneOptions{}))
	way.Cut(link.FromServer)
	before := r.at.Sequence
	at, missed, err := r.z.Propose(ctx, r.at, r.batch(nil, []store.Record{address("a.example.test.", 1)}))
	if err != nil || missed != nil || at.Sequence != before+1 {
		t.Fatal(at, missed, err)
	}
	expectStored(ctx, t, c, before+1, "a.example.test.")
}

// TestRequestDelayed holds a commit back that the next member does. When it arrives it does nothing.
func TestRequestDelayed(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	way, endpoint := startLink(t, c, 0)
	r := load(ctx, t, openZone(t, connect(t, "a", endpoint, c.Endpoint(0)), ZoneOptions{}))
	way.Cut(link.ToServer)
	before := r.at.Sequence
	b := r.batch(nil, []store.Record{address("a.example.test.", 1)})
	at, _, err := r.z.Propose(ctx, r.at, b)
	if err != nil {
		t.Fatal(err)
	}
	r.applyChanges(b)
	r.at = at
	b = r.batch([]store.Record{address("a.example.test.", 1)}, nil)
	if _, _, err := r.z.Propose(ctx, r.at, b); err != nil {
		t.Fatal(err)
	}
	way.Cut(0)
	// The link hands on in order: what was held back has arrived once this was answered.
	if _, err := openZone(t, connect(t, "b", endpoint), ZoneOptions{}).Confirm(ctx, r.at); !errors.Is(err, store.ErrConflict) {
		t.Fatal(err)
	}
	expectStored(ctx, t, c, before+2)
}

// TestUnknown never tells the outcome. Later it is found in what was missed.
func TestUnknown(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	way, endpoint := startLink(t, c, 0)
	r := load(ctx, t, openZone(t, connect(t, "a", endpoint), ZoneOptions{}))
	way.Cut(link.FromServer)
	if _, _, err := r.z.Propose(ctx, r.at, r.batch(nil, []store.Record{address("a.example.test.", 1)})); !errors.Is(err, store.ErrUnknown) {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, _, err := r.z.Propose(cancelled, r.at, r.batch(nil, []store.Record{address("b.example.test.", 1)})); !errors.Is(err, store.ErrUnknown) {
		t.Fatal(err)
	}
	if _, err := r.z.Confirm(ctx, r.at); err == nil || errors.Is(err, store.ErrConflict) {
		t.Fatal(err)
	}
	way.Cut(0)
	_, missed, err := r.z.Propose(ctx, r.at, r.batch(nil, []store.Record{address("c.example.test.", 1)}))
	if !errors.Is(err, store.ErrConflict) || len(missed) != 1 {
		t.Fatal(missed, err)
	}
	// Which of the first two it is depends on the network.
	r.apply(t, missed)
	if err := r.commit(ctx, func() store.Batch { return r.batch(nil, []store.Record{address("c.example.test.", 1)}) }); err != nil {
		t.Fatal(err)
	}
	fresh := load(ctx, t, openZone(t, connect(t, "b", c.Endpoints()...), ZoneOptions{}))
	if fresh.text() != r.text() {
		t.Errorf("%s\n%s", fresh.text(), r.text())
	}
}

// TestNothingThere fails without having sent anything, which is not unknown.
func TestNothingThere(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	r := load(ctx, t, openZone(t, connect(t, "a", c.Endpoints()...), ZoneOptions{}))
	c.Kill(0)
	// Connections that were open are found to be closed by the first request.
	for {
		_, _, err := r.z.Propose(ctx, r.at, r.batch(nil, nil))
		if err == nil {
			t.Fatal("committed")
		}
		if !errors.Is(err, store.ErrUnknown) {
			if !errors.Is(err, ErrUnreachable) {
				t.Fatal(err)
			}
			break
		}
	}
	if _, _, err := r.z.Load(ctx, r); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	if err := c.Restart(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if err := r.commit(ctx, func() store.Batch { return r.batch(nil, nil) }); err != nil {
		t.Fatal(err)
	}
}

// TestMembers kills and pauses the member in use, a follower and the leader, under a server that commits and one that
// follows. Nothing is lost or done twice.
func TestMembers(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{Members: 3})
	r := load(ctx, t, openZone(t, connect(t, "a", c.Endpoints()...), ZoneOptions{}))
	other := openZone(t, connect(t, "b", c.Endpoints()...), ZoneOptions{})
	f := follow(ctx, other, load(ctx, t, other))
	n := 0
	commit := func(what string) {
		t.Helper()
		n++
		name := fmt.Sprintf("a%d.example.test.", n)
		done := false
		for !done {
			err := r.commit(ctx, func() store.Batch {
				_, done = r.records[recordKey(address(name, 1))]
				return r.batch(nil, []store.Record{address(name, 1)})
			})
			switch {
			case err == nil:
				done = true
			case !errors.Is(err, store.ErrUnknown) && !errors.Is(err, ErrUnreachable):
				t.Fatalf("%s: %v", what, err)
			default:
				// The election took longer.
				t.Logf("%s: %v", what, err)
			}
		}
		f.until(ctx, t, what, func() bool { return f.replica.at.Sequence >= r.at.Sequence })
	}
	commit("at first")
	for leader := range 3 {
		if err := c.MoveLeader(ctx, leader); err != nil {
			t.Fatal(err)
		}
		used, _ := r.z.cluster.members.inUse()
		if err := c.Pause(used.index); err != nil {
			t.Fatal(err)
		}
		commit(fmt.Sprintf("member %d in use paused, %d leads", used.index, leader))
		if err := c.Resume(used.index); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(ctx, used.index); err != nil {
			t.Fatal(err)
		}
		used, _ = r.z.cluster.members.inUse()
		c.Kill(used.index)
		commit(fmt.Sprintf("member %d in use killed", used.index))
		if err := c.Restart(ctx, used.index); err != nil {
			t.Fatal(err)
		}
		commit("all back")
	}
	fresh := load(ctx, t, openZone(t, connect(t, "c", c.Endpoints()...), ZoneOptions{}))
	if len(fresh.records) != 1+n {
		t.Errorf("%d records after %d batches", len(fresh.records), n)
	}
	f.until(ctx, t, "the end", func() bool { return f.replica.at.Sequence >= fresh.at.Sequence })
	if f.replica.text() != fresh.text() {
		t.Errorf("%s\n%s", f.replica.text(), fresh.text())
	}
}

// TestCutOneWay cuts one way between a server that follows and its member, which has another one behind it.
func TestCutOneWay(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{Members: 3})
	r := load(ctx, t, openZone(t, connect(t, "a", c.Endpoint(0)), ZoneOptions{}))
	way, endpoint := startLink(t, c, 1)
	z := openZone(t, connect(t, "b", endpoint, c.Endpoint(2)), ZoneOptions{})
	f := follow(ctx, z, load(ctx, t, z))
	for _, direction := range []link.Direction{link.FromServer, link.ToServer} {
		z.cluster.members.back()
		beats := 0
		f.until(ctx, t, "a heartbeat", func() bool {
			if beats == 0 {
				beats = f.beats
			}
			return f.beats > beats
		})
		way.Cut(direction)
		if err := r.commit(ctx, func() store.Batch { return r.batch(nil, nil) }); err != nil {
			t.Fatal(err)
		}
		f.until(ctx, t, "the batch", func() bool { return f.replica.at.Sequence == r.at.Sequence })
		way.Cut(0)
	}
}

// TestFollowMissed compacts etcd's history under a server that is cut off: it goes on by the log.
func TestFollowMissed(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	way, endpoint := startLink(t, c, 0)
	z := openZone(t, connect(t, "b", endpoint), ZoneOptions{})
	r := load(ctx, t, openZone(t, connect(t, "a", c.Endpoints()...), ZoneOptions{}))
	f := follow(ctx, z, load(ctx, t, z))
	f.until(ctx, t, "a heartbeat", func() bool { return f.beats > 0 })
	way.Cut(link.Both)
	for i := range 50 {
		if err := r.commit(ctx, func() store.Batch { return r.batch(nil, []store.Record{address("a.example.test.", byte(i))}) }); err != nil {
			t.Fatal(err)
		}
	}
	compact(ctx, t, c)
	way.Break()
	way.Cut(0)
	f.until(ctx, t, "what was missed", func() bool { return f.replica.at.Sequence == r.at.Sequence })
	if f.replica.text() != r.text() {
		t.Errorf("%s\n%s", f.replica.text(), r.text())
	}
	beats := f.beats
	f.until(ctx, t, "a heartbeat", func() bool { return f.beats > beats })
}

// TestNoSpace fills etcd's database. Updates say so, and what reads goes on.
func TestNoSpace(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{Quota: 4 << 20})
	r := load(ctx, t, openZone(t, connect(t, "a", c.Endpoints()...), ZoneOptions{}))
	before := r.at
	var removed []store.Record
	var err error
	for i := range 200 {
		text := store.Record{Name: wire("text.example.test."), Type: 16, Class: 1, TTL: 5, Data: make([]byte, 60_000)}
		text.Data[0] = byte(i)
		if err = r.commit(ctx, func() store.Batch { return r.batch(removed, []store.Record{text}) }); err != nil {
			break
		}
		removed = []store.Record{text}
	}
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "Fix: ") || errors.Is(err, store.ErrUnknown) {
		t.Fatal(err)
	}
	if missed, err := r.z.Confirm(ctx, r.at); err != nil {
		t.Error(missed, err)
	}
	if fresh := load(ctx, t, openZone(t, connect(t, "b", c.Endpoints()...), ZoneOptions{})); fresh.text() != r.text() {
		t.Error("what was loaded differs")
	}
	n := 0
	for _, err := range r.z.Changes(ctx, before.Serial, r.at.Serial) {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n != int(r.at.Serial-before.Serial) {
		t.Errorf("%d changes", n)
	}
	s, err := r.z.cluster.Status(ctx)
	if err != nil || len(s.Members[0].Problems) == 0 {
		t.Errorf("%+v, %v", s.Members, err)
	}
}

// TestTooLarge commits as much as may be in one batch, and refuses more.
func TestTooLarge(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	r := load(ctx, t, openZone(t, connect(t, "a", c.Endpoints()...), ZoneOptions{}))
	many := func(n int) store.Batch {
		records := make([]store.Record, n)
		for i := range records {
			records[i] = address(fmt.Sprintf("a%d.example.test.", i), 1)
		}
		return r.batch(nil, records)
	}
	for what, b := range map[string]store.Batch{
		"names":  many(maxNames + 1),
		"octets": r.batch(nil, []store.Record{{Name: wire("a.example.test."), Type: 16, Class: 1, Data: make([]byte, 65535)}, address("b.example.test.", 1)}),
	} {
		if what == "octets" {
			at := b.At
			b.At = func(name string) (records []store.Record, owner *store.Owner) {
				records, owner = at(name)
				for i := range 16 {
					records = append(records, store.Record{Name: name, Type: 16, Class: 1, Data: make([]byte, 65535-i)})
				}
				return records, owner
			}
		}
		if _, _, err := r.z.Propose(ctx, r.at, b); !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := r.commit(ctx, func() store.Batch { return many(maxNames) }); err != nil {
		t.Fatal(err)
	}
	fresh := load(ctx, t, openZone(t, connect(t, "b", c.Endpoints()...), ZoneOptions{}))
	if fresh.text() != r.text() {
		t.Error("what was loaded differs")
	}
	// All of these names go again.
	var all []store.Record
	for _, x := range r.records {
		if x.Type == 1 {
			all = append(all, x)
		}
	}
	if err := r.commit(ctx, func() store.Batch { return r.batch(all, nil) }); err != nil {
		t.Fatal(err)
	}
	expectStored(ctx, t, c, r.at.Sequence)
}

// TestInitInterrupted fills a zone after somebody who did not get to the end.
func TestInitInterrupted(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	z := openZone(t, connect(t, "a", c.Endpoints()...), ZoneOptions{})
	client := etcdClient(t, c)
	lease, err := client.Grant(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	key, err := z.nameKey(wire("left.example.test."))
	if err != nil {
		t.Fatal(err)
	}
	value, err := appendName(nil, wire("left.example.test."), []store.Record{address("left.example.test.", 1)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Txn(ctx).Then(clientv3.OpPut(z.initKey(), "gone", clientv3.WithLease(lease.ID)), clientv3.OpPut(key, string(value))).Commit(); err != nil {
		t.Fatal(err)
	}
	if _, found, err := z.Load(ctx, nil); found || err != nil {
		t.Fatal(found, err)
	}
	if _, err := z.Init(ctx, store.Contents{Serial: 1, Records: slices.Values([]store.Record{soa(1)})}); err != nil {
		t.Fatal(err)
	}
	expectStored(ctx, t, c, 1)
}

// TestDamaged puts what no server writes into every kind of key. The errors name the key.
func TestDamaged(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	client := etcdClient(t, c)
	r := load(ctx, t, openZone(t, connect(t, "a", c.Endpoints()...), ZoneOptions{MaxBatches: 2}))
	for range 3 {
		err := r.commit(ctx, func() store.Batch {
			b := r.batch(nil, []store.Record{address("a.example.test.", byte(r.at.Serial))})
			b.Marks = []store.Mark{{Number: 1}}
			return b
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	name, err := r.z.nameKey(wire("a.example.test."))
	if err != nil {
		t.Fatal(err)
	}
	fresh := openZone(t, connect(t, "b", c.Endpoints()...), ZoneOptions{})
	for what, key := range map[string]string{
		"head": r.z.headKey(), "entry": r.z.logKey(3), "name": name, "marks": r.z.marksKey(2),
		"a key beside the entries": r.z.logRoot() + "x", "a key beside the names": r.z.nameRoot() + "x",
	} {
		before, err := client.Get(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{"", "\x01", "\x02", "\xff\xff", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
			if _, err := client.Put(ctx, key, value); err != nil {
				t.Fatal(err)
			}
			visitor := &replica{}
			visitor.reset()
			_, _, err := fresh.Load(ctx, visitor)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), fmt.Sprintf("%q", key)) {
				t.Errorf("%s with %q: %v", what, value, err)
			}
		}
		// An entry that does not fit the others.
		if what == "entry" {
			other, err := client.Get(ctx, r.z.logKey(4))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Put(ctx, key, string(other.Kvs[0].Value)); err != nil {
				t.Fatal(err)
			}
			visitor := &replica{}
			visitor.reset()
			if _, _, err := fresh.Load(ctx, visitor); !errors.Is(err, ErrDamaged) {
				t.Errorf("entry at another sequence: %v", err)
			}
		}
		if len(before.Kvs) == 0 {
			_, err = client.Delete(ctx, key)
		} else {
			_, err = client.Put(ctx, key, string(before.Kvs[0].Value))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Delete(ctx, r.z.headKey()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.z.Propose(ctx, r.at, r.batch(nil, nil)); !errors.Is(err, store.ErrDiverged) {
		t.Errorf("wiped: %v", err)
	}
	for _, err := range r.z.Follow(ctx, r.at) {
		if !errors.Is(err, store.ErrDiverged) {
			t.Errorf("wiped: %v", err)
		}
	}
}

// TestLeaseLost takes the server's lease away: what it published comes back, and losing a commit does no harm.
func TestLeaseLost(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	client := etcdClient(t, c)
	a := connect(t, "a", c.Endpoints()...)
	for a.Publish(ctx, []byte("here")) != nil { // there is no lease yet
	}
	r := load(ctx, t, openZone(t, a, ZoneOptions{}))
	stale := load(ctx, t, r.z)
	if err := r.commit(ctx, func() store.Batch { return r.batch(nil, nil) }); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Revoke(ctx, a.session.id()); err != nil {
		t.Fatal(err)
	}
	z := openZone(t, a, ZoneOptions{}) // does not know of the commit
	z.history.replace(store.Position{}, *mustHead(ctx, t, z), stale.at.Revision, nil, nil, 0)
	if _, missed, err := z.submit(ctx, &proposal{at: stale.at}, true); !errors.Is(err, store.ErrConflict) || len(missed) != 1 {
		t.Errorf("%v, %v", missed, err)
	}
	for answer := range client.Watch(ctx, a.nodeKey("a"), clientv3.WithRev(r.at.Revision)) {
		last := answer.Events[len(answer.Events)-1]
		if last.Type == clientv3.EventTypePut && string(last.Kv.Value) == "here" && clientv3.LeaseID(last.Kv.Lease) == a.session.id() {
			break
		}
	}
}

func mustHead(ctx context.Context, t *testing.T, z *Zone) *head {
	t.Helper()
	h, _, _, err := z.readHead(ctx)
	if err != nil || h == nil {
		t.Fatal(h, err)
	}
	return h
}

// compacting is a visitor that has etcd compact its history at the first record.
type compacting struct {
	replica
	compact func()
}

func (c *compacting) Record(r store.Record) error {
	if c.compact != nil {
		c.compact()
		c.compact = nil
	}
	return c.replica.Record(r)
}

// TestLoadCompacted compacts what is being loaded. The error says what to do, and the next attempt succeeds.
func TestLoadCompacted(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	z := openZone(t, connect(t, "a", c.Endpoints()...), ZoneOptions{})
	records := []store.Record{soa(1)}
	for i := range 20_000 {
		records = append(records, address(fmt.Sprintf("a%d.example.test.", i), 1))
	}
	if _, err := z.Init(ctx, store.Contents{Serial: 1, Records: slices.Values(records)}); err != nil {
		t.Fatal(err)
	}
	v := &compacting{compact: func() {
		if _, err := etcdClient(t, c).Put(ctx, "any", ""); err != nil {
			t.Fatal(err)
		}
		compact(ctx, t, c)
	}}
	v.reset()
	if _, _, err := z.Load(ctx, v); err == nil || !strings.Contains(err.Error(), "Fix: let etcd keep its history") {
		t.Error(err)
	}
	if r := load(ctx, t, z); len(r.records) != len(records) {
		t.Errorf("%d records", len(r.records))
	}
}
