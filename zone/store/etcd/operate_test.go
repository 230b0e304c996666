//go:build e2e

package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	etcdtest "github.com/gsstsig/coredns-gsstsig/internal/test/etcd"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// TestStatus looks at a cluster of which one member is gone.
func TestStatus(t *testing.T) {
	const quota = 1 << 30
	ctx, c := begin(t, etcdtest.Config{Members: 3, Quota: quota})
	a := connect(t, "a", c.Endpoints()...)
	r := load(ctx, t, openZone(t, a, ZoneOptions{}))
	if err := a.Publish(ctx, []byte("value of a")); err != nil {
		for err != nil { // there is no lease yet
			err = a.Publish(ctx, []byte("value of a"))
		}
	}
	other, err := a.Zone(`0/26.2.0.192.in-addr.arpa.`, ZoneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Init(ctx, store.Contents{Serial: 7, Records: slices.Values([]store.Record{soa(7)})}); err != nil {
		t.Fatal(err)
	}
	since := time.Now().Add(5 * time.Second)
	r.z.cluster.options.Now = func() time.Time { return since }
	for i := range 10 {
		if err := r.commit(ctx, func() store.Batch { return r.batch(nil, []store.Record{address("a.example.test.", byte(i))}) }); err != nil {
			t.Fatal(err)
		}
		since = since.Add(time.Minute)
	}
	c.Kill(2)
	s, err := connect(t, "b", c.Endpoints()...).Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	leaders := 0
	for i, m := range s.Members {
		if (m.Err != nil) != (i == 2) {
			t.Errorf("member %d: %v", i, m.Err)
		}
		if i < 2 && (m.Name != fmt.Sprint("m", i) || m.VersionErr != nil || m.Size == 0 || m.Quota != quota || len(m.Problems) > 0) {
			t.Errorf("member %d: %+v", i, m)
		}
		if m.Leader {
			leaders++
		}
	}
	if leaders > 1 {
		t.Errorf("%d leaders", leaders)
	}
	if len(s.Servers) != 1 || s.Servers[0].Server != "a" || string(s.Servers[0].Value) != "value of a" {
		t.Errorf("servers %+v", s.Servers)
	}
	if len(s.Zones) != 2 || s.Zones[0].Origin != `0/26.2.0.192.in-addr.arpa.` || s.Zones[0].Serial != 7 || s.Zones[0].Epoch != 1 ||
		s.Zones[1].Origin != testOrigin || s.Zones[1].Serial != 11 || s.Zones[1].Batches != 10 || s.Zones[1].Server != "a" {
		t.Errorf("zones %+v", s.Zones)
	}
	if s.Compacted != 0 || !s.HistorySince.Equal(since.Add(-10*time.Minute)) {
		t.Errorf("compacted %d, since %v, want %v", s.Compacted, s.HistorySince, since.Add(-10*time.Minute))
	}
	if _, err := etcdClient(t, c).Compact(ctx, r.at.Revision-2); err != nil {
		t.Fatal(err)
	}
	if s, err = a.Status(ctx); err != nil || s.Compacted != r.at.Revision-2 || !s.HistorySince.Equal(since.Add(-2*time.Minute)) {
		t.Errorf("compacted %d, since %v, want %v; %v", s.Compacted, s.HistorySince, since.Add(-2*time.Minute), err)
	}
	if len(s.Past) != 0 {
		t.Errorf("past %+v", s.Past)
	}
	// A server that goes takes along what it published.
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = connect(t, "c", c.Endpoints()...).Status(ctx); err != nil || len(s.Servers) != 0 {
		t.Errorf("%+v, %v", s.Servers, err)
	}
}

// TestPastServers: who has stopped, and who is gone, is known for a day, or until a server has the name again.
func TestPastServers(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	client := etcdClient(t, c)
	now := time.Now().UTC().Truncate(time.Second)
	var later atomic.Int64
	at := func(d time.Duration) func() time.Time {
		return func() time.Time { return now.Add(d + time.Duration(later.Load())) }
	}
	publish := func(server string, seen time.Duration) *Cluster {
		t.Helper()
		of := connectWith(t, Options{Endpoints: c.Endpoints(), Server: server, Now: at(seen)})
		for err := of.Publish(ctx, []byte("here")); err != nil; err = of.Publish(ctx, []byte("here")) {
			if !errors.Is(err, ErrUnreachable) { // but there is no lease yet
				t.Fatal(err)
			}
		}
		return of
	}
	end := func(of *Cluster) {
		t.Helper()
		if err := of.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// kill ends a server as a signal does: its lease alone goes, which takes ten seconds in the field.
	kill := func(of *Cluster) {
		t.Helper()
		of.cancel()
		of.running.Wait()
		if _, err := client.Revoke(ctx, of.session.id()); err != nil {
			t.Fatal(err)
		}
	}
	reader := connectWith(t, Options{Endpoints: c.Endpoints(), Server: "reader", Now: at(0)}) // it publishes nothing
	expect := func(running []string, past ...PastServer) {
		t.Helper()
		s, err := reader.Status(ctx)
		var names []string
		for _, x := range s.Servers {
			names = append(names, x.Server)
		}
		if err != nil || !slices.Equal(names, running) || !slices.Equal(s.Past, past) {
			t.Errorf("running %q, past %+v, %v; want %q, %+v", names, s.Past, err, running, past)
		}
	}
	stopped, gone := publish("stopped", -time.Hour), publish("gone", -2*time.Hour)
	expect([]string{"gone", "stopped"})
	end(stopped)
	kill(gone)
	a, b := PastServer{"gone", now.Add(-2 * time.Hour), false}, PastServer{"stopped", now.Add(-time.Hour), true}
	expect(nil, a, b)
	// What is old is not told, and not kept.
	kill(publish("old", -PastLifetime-time.Second))
	expect(nil, a, b)
	if answer, err := client.Get(ctx, reader.presenceKey(""), clientv3.WithPrefix()); err != nil || len(answer.Kvs) != 2 {
		t.Errorf("%+v, %v", answer, err)
	}
	// Nor is what is not in the form, or more than some.
	if _, err := client.Put(ctx, reader.presenceKey("other"), "?"); err != nil {
		t.Fatal(err)
	}
	back := publish("gone", 0)
	expect([]string{"gone"}, b)
	for i := range maxPast {
		if _, err := client.Put(ctx, reader.presenceKey(fmt.Sprintf("many%02d", i)), string(appendPresence(nil, now, false))); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := reader.Status(ctx); err != nil || len(s.Past) != maxPast || s.Past[0].Server != "many00" {
		t.Errorf("%+v, %v", s.Past, err)
	}
	// A server that is seen for long notes it now and then.
	later.Store(int64(presenceInterval))
	if err := back.Publish(ctx, []byte("here")); err != nil {
		t.Fatal(err)
	}
	kill(back)
	s, err := reader.Status(ctx)
	i := slices.IndexFunc(s.Past, func(p PastServer) bool { return p.Server == "gone" })
	if err != nil || i < 0 || !s.Past[i].Seen.Equal(now.Add(presenceInterval)) || s.Past[i].Stopped {
		t.Errorf("%+v, %v", s.Past, err)
	}
}

// TestRestoredBackup brings back a backup under two servers, of which one has seen what is lost.
func TestRestoredBackup(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	a := load(ctx, t, openZone(t, connect(t, "a", c.Endpoints()...), ZoneOptions{}))
	add := func(r *replica, name string) error {
		return r.commit(ctx, func() store.Batch {
			b := r.batch(nil, []store.Record{address(name, 1)})
			b.Marks = []store.Mark{{Context: [16]byte{1}, Number: uint64(r.at.Sequence)}}
			return b
		})
	}
	if err := add(a, "a.example.test."); err != nil {
		t.Fatal(err)
	}
	if err := c.Save(ctx); err != nil {
		t.Fatal(err)
	}
	if err := add(a, "lost.example.test."); err != nil {
		t.Fatal(err)
	}
	f := follow(ctx, a.z, &replica{z: a.z, at: a.at, records: a.records, owners: a.owners, marks: a.marks})
	if err := c.Restore(ctx); err != nil {
		t.Fatal(err)
	}
	f.until(ctx, t, "the end of Follow", func() bool { return f.err != nil })
	if !errors.Is(f.err, store.ErrDiverged) || !strings.Contains(f.err.Error(), "Fix: ") {
		t.Errorf("follow: %v", f.err)
	}
	if err := add(a, "refused.example.test."); !errors.Is(err, store.ErrDiverged) {
		t.Errorf("propose: %v", err)
	}
	if _, err := a.z.Confirm(ctx, a.at); !errors.Is(err, store.ErrDiverged) {
		t.Errorf("confirm: %v", err)
	}
	// Loaded again, what was lost is not among what this server knows.
	again := load(ctx, t, a.z)
	if again.at.Sequence != a.at.Sequence-1 || again.records[recordKey(address("lost.example.test.", 1))].Name != "" {
		t.Errorf("%+v\n%s", again.at, again.text())
	}
	if missed, err := a.z.Confirm(ctx, again.at); err != nil {
		t.Errorf("confirm after loading: %v, %v", missed, err)
	}
	// Another server that knows nothing of it goes on, up to where the first one was, and beyond.
	b := load(ctx, t, openZone(t, connect(t, "b", c.Endpoints()...), ZoneOptions{}))
	for range 3 {
		if err := add(b, "b.example.test."); err != nil {
			t.Fatal(err)
		}
		if err := add(a, "refused.example.test."); !errors.Is(err, store.ErrDiverged) {
			t.Errorf("propose at %d with the store at %d: %v", a.at.Sequence, b.at.Sequence, err)
		}
	}
	for _, err := range a.z.Follow(ctx, a.at) {
		if !errors.Is(err, store.ErrDiverged) {
			t.Errorf("follow from another history: %v", err)
		}
	}

	decided := openZone(t, connect(t, "c", c.Endpoints()...), ZoneOptions{})
	if epoch, err := decided.Epoch(ctx); err != nil || epoch != a.at.Epoch {
		t.Errorf("epoch %d, %v", epoch, err)
	}
	serial, err := decided.NewEpoch(ctx, 1000)
	if err != nil || serial != b.at.Serial+1000 {
		t.Fatal(serial, err)
	}
	for _, r := range []*replica{a, b} {
		if err := add(r, "old.example.test."); !errors.Is(err, store.ErrHistory) {
			t.Errorf("propose in the epoch before: %v", err)
		}
		for _, err := range r.z.Follow(ctx, r.at) {
			if !errors.Is(err, store.ErrHistory) {
				t.Errorf("follow from the epoch before: %v", err)
			}
		}
	}
	sequence := a.at.Sequence
	a, b = load(ctx, t, a.z), load(ctx, t, b.z)
	if a.at.Serial != serial || a.at.Sequence <= sequence || a.text() != b.text() || a.records[recordKey(soa(serial))].Type != typeSOA {
		t.Errorf("%+v\n%s\n%s", a.at, a.text(), b.text())
	}
	if err := add(a, "new.example.test."); err != nil {
		t.Fatal(err)
	}
	if err := add(b, "newer.example.test."); err != nil {
		t.Fatal(err)
	}
	// The same once more. What comes back does not tell of the epoch that servers have seen, and the one that begins then is later
	// all the same.
	lost := a.at
	if err := c.Restore(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := openZone(t, connect(t, "d", c.Endpoints()...), ZoneOptions{}).NewEpoch(ctx, 1_000_000); err != nil {
		t.Fatal(err)
	}
	fresh := load(ctx, t, openZone(t, connect(t, "e", c.Endpoints()...), ZoneOptions{}))
	if epoch, err := fresh.z.Epoch(ctx); err != nil || epoch != fresh.at.Epoch {
		t.Errorf("epoch %d, %v", epoch, err)
	}
	if fresh.at.Epoch <= lost.Epoch || lost.Epoch <= 1 {
		t.Errorf("epoch %d after %d", fresh.at.Epoch, lost.Epoch)
	}

	for _, raise := range []uint32{0, 1 << 31} {
		if _, err := a.z.NewEpoch(ctx, raise); !errors.Is(err, errRaise) {
			t.Errorf("raised by %d: %v", raise, err)
		}
	}
}

// TestTrim keeps the log within its bounds and the marks for their time.
func TestTrim(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	options := ZoneOptions{MaxBatches: 5, CacheOctets: 1}
	r := load(ctx, t, openZone(t, connect(t, "a", c.Endpoints()...), options))
	commit := func(n int) {
		t.Helper()
		for range n {
			err := r.commit(ctx, func() store.Batch {
				b := r.batch(nil, []store.Record{address("a.example.test.", byte(r.at.Serial))})
				b.Marks = []store.Mark{{Context: [16]byte{1}, Number: uint64(r.at.Serial)}}
				return b
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	commit(20)
	count := func(root string) int {
		t.Helper()
		answer, err := r.z.cluster.get(ctx, root, prefixCount...)
		if err != nil {
			t.Fatal(err)
		}
		return int(answer.Count)
	}
	if n := count(r.z.logRoot()); n != 5 {
		t.Errorf("%d batches in the log", n)
	}
	if n := count(r.z.marksRoot()); n != 15 {
		t.Errorf("marks of %d batches apart from the log", n)
	}
	fresh := load(ctx, t, openZone(t, connect(t, "b", c.Endpoints()...), options))
	if len(fresh.marks) != 20 || fresh.text() != r.text() {
		t.Errorf("%d marks\n%s\n%s", len(fresh.marks), fresh.text(), r.text())
	}
	serials := func(z *Zone, from, to uint32) (list []uint32, err error) {
		for c, err := range z.Changes(ctx, from, to) {
			if err != nil {
				return list, err
			}
			list = append(list, c.To)
		}
		return list, nil
	}
	for _, z := range []*Zone{r.z, fresh.z} {
		if list, err := serials(z, 16, 21); err != nil || !slices.Equal(list, []uint32{17, 18, 19, 20, 21}) {
			t.Error(list, err)
		}
		if list, err := serials(z, 15, 21); !errors.Is(err, store.ErrHistory) || len(list) > 0 {
			t.Error(list, err)
		}
		var log []uint32
		for c, err := range z.Log(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			log = append(log, c.To)
		}
		if !slices.Equal(log, []uint32{21, 20, 19, 18, 17}) {
			t.Error(log)
		}
	}
	// Marks whose time is over go, a few with each commit.
	r.z.options.MarkAge = time.Nanosecond
	commit(20)
	if n := count(r.z.marksRoot()); n != 0 {
		t.Errorf("marks of %d batches whose time is over", n)
	}
	// Who follows behind what was trimmed is told so.
	for _, err := range fresh.z.Follow(ctx, fresh.at) {
		if !errors.Is(err, store.ErrHistory) {
			t.Errorf("%v", err)
		}
	}
	if _, _, err := fresh.z.Propose(ctx, fresh.at, fresh.batch(nil, nil)); !errors.Is(err, store.ErrHistory) {
		t.Errorf("%v", err)
	}
	if again := load(ctx, t, fresh.z); again.at != r.at {
		t.Errorf("%+v, want %+v", again.at, r.at)
	}
}

// TestNameTaken has two servers of one name, which learn of it, and one that was started again, which has nothing to learn.
func TestNameTaken(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	publish := func(of *Cluster) error {
		t.Helper()
		err := of.Publish(ctx, []byte("value"))
		for errors.Is(err, ErrUnreachable) && ctx.Err() == nil { // there is no lease yet
			err = of.Publish(ctx, []byte("value"))
		}
		return err
	}
	first := connect(t, "same", c.Endpoints()...)
	for range 5 {
		if err := publish(first); err != nil {
			t.Fatal(err)
		}
	}
	second := connect(t, "same", c.Endpoints()...) // as if the first had been killed
	for range 5 {
		if err := publish(second); err != nil {
			t.Fatal(err)
		}
	}
	var told [2]bool
	for range 5 {
		for i, server := range []*Cluster{first, second} {
			err := publish(server)
			if err != nil && !errors.Is(err, ErrNameTaken) {
				t.Fatal(err)
			}
			told[i] = told[i] || err != nil && strings.Contains(err.Error(), "same. Fix: ")
		}
	}
	if told != [2]bool{true, true} {
		t.Errorf("told: %v", told)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the other one has taken its value along, or not
		if err := publish(first); err != nil && !errors.Is(err, ErrNameTaken) {
			t.Fatal(err)
		}
	}
	if err := publish(first); err != nil {
		t.Errorf("alone again: %v", err)
	}
}

// TestCloseLeavesNothing: a connection that is closed leaves no goroutine, watch, lease or key behind, also if one of the members
// says nothing: a reload may bring another one each time.
func TestCloseLeavesNothing(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	goroutines := func() (n int) {
		stacks := make([]byte, 4<<20)
		for _, stack := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(stack, "go.etcd.io/") || strings.Contains(stack, "google.golang.org/grpc") || strings.Contains(stack, "zone/store/etcd.(*") {
				n++
			}
		}
		return n
	}
	before := goroutines()
	for _, endpoints := range [][]string{{c.Endpoint(0)}, {"http://" + silent.Addr().String(), c.Endpoint(0)}, {"http://" + silent.Addr().String()}} {
		cluster, err := Open(Options{Endpoints: endpoints, Server: "a"})
		if err != nil {
			t.Fatal(err)
		}
		z := openZone(t, cluster, ZoneOptions{})
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		r := &replica{z: z}
		r.reset()
		if at, found, err := z.Load(short, r); err == nil {
			if !found {
				if at, err = z.Init(short, store.Contents{Serial: 1, Records: slices.Values([]store.Record{soa(1)})}); err != nil {
					t.Error(err)
				}
			}
			r.at = at
			f := follow(ctx, z, r)
			f.until(ctx, t, "a heartbeat", func() bool { return f.beats > 0 })
			mustAdd(ctx, t, cluster.Contexts(), endpoints[0], "x", true)
		}
		cluster.Contexts()
		_ = cluster.Publish(short, []byte("value"))
		_, _ = cluster.Status(short)
		cancel()
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	}
	for n := goroutines(); n > before; n = goroutines() {
		if ctx.Err() != nil {
			stacks := make([]byte, 4<<20)
			t.Fatalf("%d goroutines are left, of %d before:\n%s", n, before, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(20 * time.Millisecond)
	}
	answer, err := etcdClient(t, c).Get(ctx, DefaultPrefix+nodes, clientv3.WithPrefix())
	if err != nil || len(answer.Kvs) != 0 {
		t.Errorf("%v, %v", answer, err)
	}
}
