//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/internal/test/link"
)

// A fault is something that goes wrong for a while, with updates under way at all servers.
type fault struct {
	name string
	of   part
	do   func(d *deployment, victim int, lasts func())
}

// A part is what a fault is of. Two faults at once are of a server and of a member of etcd.
type part int

const (
	anything part = iota
	aServer
	aStart // of a server
	aMember
	mostMembers // etcd stands still meanwhile
)

// faults have no part in what is promised in the end: nothing acknowledged is lost, nothing is done twice, all answers are those
// of one server, and all servers are equal.
var faults = []fault{
	{"none", anything, func(_ *deployment, _ int, lasts func()) { lasts() }},
	{"server killed", aStart, func(d *deployment, victim int, lasts func()) {
		d.kill(victim)
		lasts()
		d.restart(victim)
	}},
	{"server paused", aServer, func(d *deployment, victim int, lasts func()) {
		d.signal(victim, syscall.SIGSTOP)
		lasts()
		d.signal(victim, syscall.SIGCONT)
	}},
	{"server killed when etcd does not reach it", aStart, func(d *deployment, victim int, lasts func()) {
		d.cut(victim, link.FromServer)
		lasts()
		d.kill(victim)
		d.cut(victim, 0)
		d.restart(victim)
	}},
	{"server cut off", aServer, func(d *deployment, victim int, lasts func()) {
		d.cut(victim, link.Both)
		lasts()
		d.cut(victim, 0)
	}},
	{"server does not reach etcd", aServer, func(d *deployment, victim int, lasts func()) {
		d.cut(victim, link.ToServer)
		lasts()
		d.cut(victim, 0)
	}},
	{"etcd does not reach server", aServer, func(d *deployment, victim int, lasts func()) {
		d.cut(victim, link.FromServer)
		lasts()
		d.cut(victim, 0)
	}},
	{"server does not reach the leader", anything, func(d *deployment, victim int, lasts func()) {
		l := d.links[victim][d.leader()]
		l.Cut(link.Both)
		lasts()
		l.Cut(0)
	}},
	{"connections break", aServer, func(d *deployment, victim int, lasts func()) {
		for range 5 {
			for _, l := range d.links[victim] {
				l.Break()
			}
			lasts()
		}
	}},
	{"links slow", aServer, func(d *deployment, victim int, lasts func()) {
		for _, l := range d.links[victim] {
			l.Delay(40 * time.Millisecond)
		}
		lasts()
		for _, l := range d.links[victim] {
			l.Delay(0)
		}
	}},
	{"follower killed", aMember, func(d *deployment, _ int, lasts func()) {
		victim := (d.leader() + 1) % size
		d.killMember(victim)
		lasts()
		d.restartMember(victim)
	}},
	{"leader killed", aMember, func(d *deployment, _ int, lasts func()) {
		victim := d.leader()
		d.killMember(victim)
		lasts()
		d.restartMember(victim)
	}},
	{"leader paused", aMember, func(d *deployment, _ int, lasts func()) {
		victim := d.leader()
		d.pauseMember(victim)
		lasts()
		d.resumeMember(victim)
	}},
	{"leader moved", aMember, func(d *deployment, _ int, lasts func()) {
		for range 3 {
			d.moveLeader((d.leader() + 1) % size)
			lasts()
		}
	}},
	{"majority killed", mostMembers, func(d *deployment, victim int, lasts func()) {
		other := (victim + 1) % size
		d.killMember(victim)
		d.killMember(other)
		lasts()
		// A member alone does not answer, so it is waited for when both run.
		d.restartMembers(victim, other)
	}},
	{"history compacted while a server is paused", anything, func(d *deployment, victim int, lasts func()) {
		d.signal(victim, syscall.SIGSTOP)
		lasts()
		d.compact()
		d.signal(victim, syscall.SIGCONT)
	}},
	{"history compacted while a server is cut off", anything, func(d *deployment, victim int, lasts func()) {
		d.cut(victim, link.Both)
		lasts()
		d.compact()
		for _, l := range d.links[victim] {
			l.Break()
		}
		d.cut(victim, 0)
	}},
}

// TestFaults has each fault once, and then, for soakVariable, two at once at random.
func TestFaults(t *testing.T) {
	d := deploy(t, config{})
	l := d.newLoad()
	for i, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			d.in(t)
			l.during(func() { f.do(d, i%size, func() { d.last(time.Second) }) })
			l.settle()
		})
		if t.Failed() {
			return
		}
	}
	soak := 25 * time.Second
	if text := os.Getenv(soakVariable); text != "" {
		var err error
		if soak, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", soakVariable, err)
		}
	}
	for end := time.Now().Add(soak); time.Now().Before(end) && !t.Failed(); {
		outer, inner, victim := random(aMember, mostMembers), random(aServer, aStart), rand.IntN(size)
		if outer.of == mostMembers && inner.of == aStart {
			// A server that starts would wait for etcd, and this for the server.
			outer, inner = inner, outer
		}
		t.Run(outer.name+" and "+inner.name, func(t *testing.T) {
			d.in(t)
			l.during(func() {
				outer.do(d, victim, func() {
					inner.do(d, rand.IntN(size), func() { d.last(time.Duration(rand.IntN(4000)) * time.Millisecond) })
				})
			})
			l.settle()
		})
	}
}

// soakVariable is for how long TestFaults has faults at random.
const soakVariable = "CLUSTER_SOAK"

// random returns a fault of one of the parts.
func random(of ...part) fault {
	for {
		if f := faults[rand.IntN(len(faults))]; slices.Contains(of, f.of) {
			return f
		}
	}
}

// in has a subtest use the deployment until it ends.
func (d *deployment) in(t *testing.T) {
	outer, ctx := d.t, d.ctx
	d.t, d.ctx = t, t.Context()
	t.Cleanup(func() { d.t, d.ctx = outer, ctx })
}

// last waits: faults last for a while.
func (d *deployment) last(while time.Duration) {
	timer := time.NewTimer(while)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.ctx.Done():
	}
}

func (d *deployment) pauseMember(member int) {
	d.t.Helper()
	if err := d.members.Pause(member); err != nil {
		d.t.Fatal(err)
	}
}

func (d *deployment) resumeMember(member int) {
	d.t.Helper()
	if err := d.members.Resume(member); err != nil {
		d.t.Fatal(err)
	}
}

func (d *deployment) moveLeader(to int) {
	d.t.Helper()
	d.until("another leader", func() error {
		ctx, cancel := context.WithTimeout(d.ctx, 10*time.Second)
		defer cancel()
		return d.members.MoveLeader(ctx, to)
	})
}

// restartMembers starts members again that need each other to answer.
func (d *deployment) restartMembers(members ...int) {
	d.t.Helper()
	started := make(chan error, len(members))
	for _, member := range members {
		go func() { started <- d.members.Restart(d.ctx, member) }()
	}
	for range members {
		if err := <-started; err != nil {
			d.t.Fatal(err)
		}
	}
}

// compact removes etcd's whole history, and waits until it has freed the room.
func (d *deployment) compact() {
	d.t.Helper()
	c, err := d.members.Client()
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	d.until("a compaction", func() error {
		ctx, cancel := context.WithTimeout(d.ctx, 10*time.Second)
		defer cancel()
		now, err := c.Get(ctx, "/")
		if err != nil {
			return err
		}
		if _, err := c.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
			return fmt.Errorf("compact: %w", err)
		}
		return nil
	})
}
