package gsstsig

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/event"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
	"github.com/gsstsig/coredns-gsstsig/zone/store/storetest"
)

// Two blocks on an etcd where nobody listens, and a zone in memory. The port is discard's, which has no server on a test machine.
const outOfReachCorefile = `example.test:{PORT} {
	bind 127.0.0.1
	gsstsig {
		keytab {KEYTAB}
		etcd http://127.0.0.1:9
		etcd_server ns1
	}
}
more.test:{PORT} sub.more.test:{PORT} {
	bind 127.0.0.1
	gsstsig {
		keytab {KEYTAB}
		etcd http://127.0.0.1:9/
		etcd_prefix /gsstsig
		etcd_server ns1
	}
}
memory.test:{PORT} {
	bind 127.0.0.1
	gsstsig {
		keytab {KEYTAB}
	}
}
`

// TestEtcdOutOfReach: the server starts, serves what it has, and says what is missing. Blocks that say the same of etcd share one
// connection, which ends with the last of them.
func TestEtcdOutOfReach(t *testing.T) {
	notLoaded := func(origin string) int {
		return len(logged.lines("[ERROR]", "zone "+origin+": it cannot be loaded from etcd http://127.0.0.1:9 prefix /gsstsig/", "Clients show: SERVFAIL for names in ", "Fix: "))
	}
	before := notLoaded("example.test.")
	noSocket := []string{"[WARNING]", "control socket: there is none", "Fix: add \"control PATH\""}
	warned := len(logged.lines(noSocket...))
	s := start(t, outOfReachCorefile)
	want(t, "connections", len(current.clusters), 1)
	want(t, "lines about the socket", len(logged.lines(noSocket...))-warned, 1)
	want(t, "lines about a zone", notLoaded("example.test.")-before, 1)
	want(t, "lines about another", notLoaded("sub.more.test."), 1)
	want(t, "the zone in memory", s.signed(s.context("host/client1.example.test"), message(t, "memory.test.", "+a.memory.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
	for _, name := range []string{"example.test.", "a.example.test.", "a.sub.more.test."} {
		want(t, name, s.exchange(new(dns.Msg).SetQuestion(name, dns.TypeA)).Rcode, dns.RcodeServerFailure)
	}
	want(t, "an update", s.signed(s.context("host/client1.example.test"), message(t, "example.test.", "+a.example.test. 300 A 192.0.2.1")), dns.RcodeServerFailure)
	want(t, "lines about it", len(logged.lines("[ERROR]", "update zone=example.test.", "rcode=SERVFAIL", "the zone is not served: it is not loaded from etcd yet")), 1)

	status, err := current.statusOf(t.Context(), view.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "ready", status.Ready, false)
	want(t, "clusters", len(status.Clusters), 1)
	want(t, "the name of the server", status.Clusters[0].Server, "ns1")
	if !strings.Contains(status.Clusters[0].Error, "out of reach") || len(status.Clusters[0].Members) != 1 || status.Clusters[0].Members[0].Error == "" {
		t.Errorf("cluster: %+v", status.Clusters[0])
	}
	for _, z := range status.Zones {
		if onEtcd := z.Zone != "memory.test."; onEtcd != (z.Unavailable != nil) || onEtcd != (z.Etcd == "etcd http://127.0.0.1:9 prefix /gsstsig/") {
			t.Errorf("%+v", z)
		}
	}

	// A reload keeps the connection, and one block is enough for that.
	connection := func() *cluster {
		for _, c := range current.clusters {
			return c.value
		}
		return nil
	}
	first := connection()
	_, rest, _ := strings.Cut(outOfReachCorefile, "more.test")
	if err := s.reload("more.test" + rest); err != nil {
		t.Fatal(err)
	}
	want(t, "the connection after a reload", connection(), first)
	if err := s.reload(smallCorefile); err != nil {
		t.Fatal(err)
	}
	want(t, "connections without a block", len(current.clusters), 0)
	want(t, "zones", len(current.zones), 2)
}

// TestExpiry: a zone that etcd does not confirm is served until the SOA record's EXPIRE, and again when etcd answers.
func TestExpiry(t *testing.T) {
	c := storetest.NewCluster(storetest.ClusterOptions{})
	contents := c.Server("ns1")
	z, err := zone.Open(zone.Config{Origin: "example.test.", Shared: contents, Seed: func() ([]store.Record, error) {
		return zone.ParseSeed(strings.NewReader("@ 60 SOA ns1 host 1 900 600 5 60\n@ 60 NS ns1\nns1 60 A 192.0.2.1\n"), zone.SeedConfig{Origin: "example.test.", File: "db"})
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := newServedZone(z, "etcd")
	s.applied, s.closed = make(chan struct{}, 1), make(chan struct{})
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	until := func(served bool) {
		t.Helper()
		for s.observe(); (s.serving() != nil) != served; s.observe() {
			if served {
				c.Heartbeat()
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	s.observe()
	want(t, "served", s.serving(), z)
	contents.Cut(true)
	until(false)
	f := s.failure.Load()
	if f == nil || f.Severity != diagnose.Error || !strings.Contains(f.Problem, "for longer than the SOA record's EXPIRE") || f.Fix == "" {
		t.Errorf("%v", f)
	}
	want(t, "still loaded", s.loaded(), z)
	contents.Cut(false)
	until(true)
	want(t, "what is wrong", s.failure.Load(), nil)
	want(t, "lines", len(logged.lines("[INFO]", "zone example.test.: etcd answers again, serial 1")), 1)
}

// copyZone copies a zone of the server to a directory, as migrate does.
func (s *coredns) copyZone(origin, directory string) {
	s.t.Helper()
	to := disk.Path(filepath.Join(s.directory, directory), origin)
	if err := os.RemoveAll(to); err != nil {
		s.t.Fatal(err)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		s.t.Fatal(err)
	}
	snapshot := zoneOf(s.t, current, origin).Snapshot()
	d, err := disk.Open(to, disk.Options{Origin: origin})
	if err != nil {
		s.t.Fatal(err)
	}
	err = d.Init(context.Background(), store.Contents{Serial: snapshot.Serial(), Records: snapshot.WireRecords(), Owners: snapshot.Owners()})
	if err := errors.Join(err, d.Close()); err != nil {
		s.t.Fatal(err)
	}
}

// TestNothingChangesAZoneThatMoves: from the comparison with the copy until the server goes on with that, nobody changes the zone: what
// was acknowledged then would be lost. If the reload fails, all is as before.
func TestNothingChangesAZoneThatMoves(t *testing.T) {
	s := start(t, durableCorefile)
	moved := strings.Replace(strings.Replace(durableCorefile, "{DIR}/zones", "{DIR}/elsewhere", 1), "gsstsig {", "atsetup\n\tgsstsig {", 1)
	client := s.context("host/client1.example.test")
	want(t, "an update", s.signed(client, message(t, "example.test.", "+a.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
	const origin = "example.test."
	all := []string{origin, "2.0.192.in-addr.arpa."}
	administer := func(name string) error {
		_, err := current.administer(t.Context(), view.Update{Zone: origin, Updates: []view.Instruction{{Name: name, Class: "IN", Type: "TXT", TTL: 60, Data: "x"}}})
		return err
	}
	thaw := func() error {
		_, err := current.thaw(t.Context(), view.ZoneRequest{Zone: origin})
		return err
	}
	for _, z := range all {
		if _, err := current.freeze(t.Context(), view.ZoneRequest{Zone: z}); err != nil {
			t.Fatal(err)
		}
	}
	if err := administer("early.example.test."); err != nil {
		t.Fatal(err)
	}
	for _, z := range all {
		s.copyZone(z, "elsewhere")
	}
	errSetup := errors.New("this configuration does not start")
	for _, fails := range []bool{true, false} {
		calls, z := 0, zoneOf(t, current, origin)
		setAtSetup(t, func() error {
			before := z.Snapshot()
			if err := administer("late.example.test."); err == nil || !strings.Contains(err.Error(), "Fix: wait until the zone has moved") {
				t.Errorf("an update of the administrator: %v", err)
			}
			if _, err := current.own(t.Context(), view.OwnRequest{Name: "a.example.test.", Owner: "host/client2.example.test@EXAMPLE.TEST"}); err == nil {
				t.Error("an owner was changed")
			}
			if err := thaw(); err == nil || !strings.Contains(err.Error(), errMoving.Error()) {
				t.Errorf("thaw: %v", err)
			}
			want(t, "an update of a client", s.signed(client, message(t, origin, "+b.example.test. 300 A 192.0.2.1")), dns.RcodeRefused)
			want(t, "the zone", z.Snapshot(), before)
			calls++
			if fails {
				return errSetup
			}
			return nil
		})
		err := s.reload(moved)
		want(t, "calls", calls, 1)
		if (err != nil) != fails {
			t.Fatalf("the reload: %v", err)
		}
		if fails { // and once more
			if state := zoneOf(t, current, origin); state.Sealed() {
				t.Error("still frozen for the administrator")
			}
			if _, frozen := zoneOf(t, current, origin).Frozen(); !frozen {
				t.Error("not frozen for clients any more")
			}
			if err := administer("early.example.test."); err != nil { // changes nothing
				t.Error(err)
			}
		}
	}
	if err := administer("late.example.test."); err != nil {
		t.Errorf("after the move: %v", err)
	}
	if err := thaw(); err != nil { // of a zone that is not frozen
		t.Error(err)
	}
	want(t, "after the move", s.signed(s.context("host/client1.example.test"), message(t, origin, "+b.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
	// One that migrate has frozen for all stays so when it cannot move.
	if _, err := current.seal(t.Context(), view.ZoneRequest{Zone: origin}); err != nil {
		t.Fatal(err)
	}
	s.copyZone("2.0.192.in-addr.arpa.", "third")
	if err := s.reload(strings.Replace(durableCorefile, "{DIR}/zones", "{DIR}/third", 1)); err == nil {
		t.Error("moved to a place without it")
	}
	if err := administer("later.example.test."); err == nil {
		t.Error("the administrator may change it")
	}
	if err := thaw(); !errors.Is(err, zone.ErrSealed) || !strings.Contains(err.Error(), "thaw -all example.test.") {
		t.Errorf("thawed while it moves: %v", err)
	}
	if _, err := current.unseal(t.Context(), view.ZoneRequest{Zone: origin}); err != nil {
		t.Fatal(err)
	}
	if err := thaw(); err != nil {
		t.Error(err)
	}
	if err := administer("later.example.test."); err != nil {
		t.Error(err)
	}
}

// TestCopiedZoneMoves: a reload moves a zone to another database if that has a copy of it, and the zone was frozen before.
func TestCopiedZoneMoves(t *testing.T) {
	s := start(t, durableCorefile)
	moved := strings.Replace(durableCorefile, "{DIR}/zones", "{DIR}/elsewhere", 1)
	client := s.context("host/client1.example.test")
	want(t, "an update", s.signed(client, message(t, "example.test.", "+a.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
	refused := func(words string) {
		t.Helper()
		if err := s.reload(moved); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("a reload: %v, want an error with %q", err, words)
		}
	}
	// migrate does the same as the next two steps.
	freeze := func(origin string) {
		t.Helper()
		if _, err := current.freeze(t.Context(), view.ZoneRequest{Zone: origin}); err != nil {
			t.Fatal(err)
		}
	}
	copyZone := func(origin string) {
		t.Helper()
		s.copyZone(origin, "elsewhere")
	}
	const forward, reverse = "example.test.", "2.0.192.in-addr.arpa."
	copyZone(forward)
	refused("zone example.test.: it is served from ")
	freeze(forward)
	want(t, "an update of the frozen zone", s.signed(client, message(t, "example.test.", "+b.example.test. 300 A 192.0.2.1")), dns.RcodeRefused)
	if _, err := current.own(t.Context(), view.OwnRequest{Name: "a.example.test.", Owner: "host/client2.example.test@EXAMPLE.TEST"}); err != nil {
		t.Fatal(err)
	}
	refused("or the zone has changed since it was copied") // an owner alone
	copyZone(forward)
	refused("zone 2.0.192.in-addr.arpa.: it is served from ") // all zones of the block move
	freeze(reverse)
	refused("because it is not there")
	copyZone(reverse)
	if err := s.reload(moved); err != nil {
		t.Fatal(err)
	}
	want(t, "an update after it", s.signed(s.context("host/client2.example.test"), message(t, "example.test.", "+a.example.test. 300 A 192.0.2.2")), dns.RcodeSuccess)
	want(t, "zones that are open", len(current.zones), 2)
}

// TestChangesOfOtherServers: the status page lists them with their authors, as if they had been made here.
func TestChangesOfOtherServers(t *testing.T) {
	c := storetest.NewCluster(storetest.ClusterOptions{})
	a := newAuditor()
	a.watchers.Add(1)
	seen := make(chan zone.Applied, 10)
	open := func(server string) *zone.Zone {
		t.Helper()
		z, err := zone.Open(zone.Config{Origin: "example.test.", Shared: c.Server(server), Seed: func() ([]store.Record, error) { return zone.GeneratedApex("example.test.", "ns1.example.test.") },
			Applied: func(from zone.Applied) {
				if server == "ns1" {
					a.applied("example.test.", from)
					seen <- from
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := z.Close(); err != nil {
				t.Error(err)
			}
		})
		return z
	}
	open("ns1")
	m, err := message(t, "example.test.", "+a.example.test. 300 A 192.0.2.1").Pack()
	if err != nil {
		t.Fatal(err)
	}
	want(t, "an update", open("ns2").Apply(t.Context(), &zone.Update{Message: m, Principal: "host/a@EXAMPLE.TEST"}).Rcode, dns.RcodeSuccess)
	want(t, "the server", (<-seen).Server, "ns2")
	changes := event.Newest(a.recent.Changes("example.test."), 10)
	if len(changes) != 1 || changes[0].Identity != "host/a@EXAMPLE.TEST" || changes[0].Before != 1 || changes[0].After != 2 || len(changes[0].Added.List) != 1 || changes[0].Added.List[0].Data != "192.0.2.1" {
		t.Errorf("%+v", changes)
	}
	want(t, "updates of this server's clients", a.recent.History("example.test.")[len(a.recent.History("example.test."))-1].Applied, 0)
}

// onCluster opens a zone on a store that others share, with a seed of its own.
func onCluster(t *testing.T, of store.Shared, seed string) *zone.Zone {
	t.Helper()
	z, err := zone.Open(zone.Config{Origin: "example.test.", Shared: of, Seed: func() ([]store.Record, error) {
		return zone.ParseSeed(strings.NewReader(seed), zone.SeedConfig{Origin: "example.test.", File: "db"})
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := z.Close(); err != nil {
			t.Error(err)
		}
	})
	return z
}

const onClusterSeed = "@ 60 SOA ns1 host 1 900 600 604800 60\n@ 60 NS ns1\nns1 60 A 192.0.2.1\n"

// TestOtherHistorySupersedes: a server that knows more than a backup which was restored does not take over what others make of that,
// also when their serial is greater. It does once an administrator has begun an epoch.
func TestOtherHistorySupersedes(t *testing.T) {
	c := storetest.NewCluster(storetest.ClusterOptions{})
	served := onCluster(t, c.Server("ns1"), onClusterSeed)
	add := func(z *zone.Zone, name string) {
		t.Helper()
		m := message(t, "example.test.", "+"+name+".example.test. 300 A 192.0.2.1")
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if r := z.Apply(t.Context(), &zone.Update{Message: wire}); r.Rcode != dns.RcodeSuccess {
			t.Fatalf("%+v", r)
		}
	}
	backup := c.Backup()
	add(served, "lost")
	c.Restore(backup)
	other := onCluster(t, c.Server("ns2"), "")
	if err := supersedes(other, served); !errors.Is(err, errUndecided) {
		t.Errorf("the backup: %v", err)
	}
	add(other, "a")
	add(other, "b")
	want(t, "the serial served", served.Snapshot().Serial(), 2)
	want(t, "the other serial", other.Snapshot().Serial(), 3)
	if err := supersedes(other, served); !errors.Is(err, errUndecided) {
		t.Errorf("a greater serial, of servers that did not see what is lost: %v", err)
	}
	for served.Diverged() == nil { // before there is an epoch that it could follow
		time.Sleep(time.Millisecond)
	}
	c.NewEpoch()
	if err := supersedes(onCluster(t, c.Server("ns3"), ""), served); err != nil {
		t.Errorf("an administrator has decided: %v", err)
	}
	c.Restore(backup)
	c.NewEpoch()
	if err := supersedes(onCluster(t, c.Server("ns4"), ""), served); !errors.Is(err, errBehind) {
		t.Errorf("an administrator has decided, but has not raised the serial: %v", err)
	}
}

// TestSmallExpire: an EXPIRE of nothing does not end the service of a zone while etcd answers.
func TestSmallExpire(t *testing.T) {
	c := storetest.NewCluster(storetest.ClusterOptions{})
	z := onCluster(t, c.Server("ns1"), strings.Replace(onClusterSeed, "604800", "0", 1))
	want(t, "for how long it is served", expiry(z), leastExpiry)
	s := newServedZone(z, "etcd")
	s.observe()
	want(t, "served", s.serving(), z)
}

// TestLargeAnnouncement: a server that has more to tell than it may says so.
func TestLargeAnnouncement(t *testing.T) {
	want(t, "findings", len(sizeFindings("etcd", 1, 1000)), 0)
	findings := sizeFindings("etcd", 20_000, 1<<20)
	if len(findings) != 1 || findings[0].Severity != diagnose.Warning || !strings.Contains(findings[0].Problem, "20000 zones has 1048576 octets") || findings[0].Fix == "" {
		t.Errorf("%+v", findings)
	}
}

// spoiled is a store with a value that cannot be read.
type spoiled struct {
	store.Shared
	now atomic.Bool
}

func (s *spoiled) Follow(ctx context.Context, from store.Position) iter.Seq2[store.Committed, error] {
	return func(yield func(store.Committed, error) bool) {
		for c, err := range s.Shared.Follow(ctx, from) {
			if s.now.Load() {
				yield(store.Committed{}, diagnose.WithFix(fmt.Errorf("%w: key K", store.ErrUnreadable), "mend K"))
				return
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// TestUnreadable: where etcd holds what a server cannot read, it does not say that etcd is out of reach.
func TestUnreadable(t *testing.T) {
	c := storetest.NewCluster(storetest.ClusterOptions{})
	contents := &spoiled{Shared: c.Server("ns1")}
	s := newServedZone(onCluster(t, contents, onClusterSeed), "etcd")
	finding := func(there bool) *diagnose.Finding {
		t.Helper()
		for s.observe(); (s.failure.Load() != nil) != there; s.observe() {
			c.Heartbeat()
			time.Sleep(5 * time.Millisecond)
		}
		return s.failure.Load()
	}
	finding(false)
	contents.now.Store(true)
	if f := finding(true); f.Severity != diagnose.Error || !strings.Contains(f.Problem, "not kept up to date since ") || !strings.Contains(f.Problem, "key K") || f.Fix != "mend K" {
		t.Errorf("%+v", f)
	}
	contents.now.Store(false)
	finding(false)
}

// TestCommitCounts: what status tells of commits to etcd is what the metrics are told.
func TestCommitCounts(t *testing.T) {
	var n commitCounts
	passed := 0
	observe := n.observe(func(zone.Commit) { passed++ })
	for _, c := range []zone.Commit{{Updates: 1}, {Conflicts: 2}, {Conflicts: 1, Unknown: true, Err: store.ErrUnknown}} {
		observe(c)
	}
	want(t, "conflicts", n.conflicts.Load(), 3)
	want(t, "unknown outcomes", n.unknown.Load(), 1)
	want(t, "passed on", passed, 3)
}
