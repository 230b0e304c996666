//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/link"
)

// A fault is something that goes wrong for a while, with updates under way at all servers.
type fault struct {
	name string
	do   func(d *deployment, victim int, lasts func())
}

// faults have no part in what is promised in the end: nothing acknowledged is lost, nothing is done twice, all answers are those
// of one server, and all servers are equal.
var faults = []fault{
	{"none", func(_ *deployment, _ int, lasts func()) { lasts() }},
	{"server killed", func(d *deployment, victim int, lasts func()) {
		d.kill(victim)
		lasts()
		d.restart(victim)
	}},
	{"server paused", func(d *deployment, victim int, lasts func()) {
		d.signal(victim, syscall.SIGSTOP)
		lasts()
		d.signal(victim, syscall.SIGCONT)
	}},
	{"server killed when etcd does not reach it", func(d *deployment, victim int, lasts func()) {
		d.cut(victim, link.FromServer)
		lasts()
		d.kill(victim)
		d.cut(victim, 0)
		d.restart(victim)
	}},
	{"server cut off", func(d *deployment, victim int, lasts func()) {
		d.cut(victim, link.Both)
		lasts()
		d.cut(victim, 0)
	}},
	{"server does not reach etcd", func(d *deployment, victim int, lasts func()) {
		d.cut(victim, link.ToServer)
		lasts()
		d.cut(victim, 0)
	}},
	{"etcd does not reach server", func(d *deployment, victim int, lasts func()) {
		d.cut(victim, link.FromServer)
		lasts()
		d.cut(victim, 0)
	}},
	{"server does not reach the leader", func(d *deployment, victim int, lasts func()) {
		l := d.links[victim][d.leader()]
		l.Cut(link.Both)
		lasts()
		l.Cut(0)
	}},
	{"connections break", func(d *deployment, victim int, lasts func()) {
		for range 5 {
			for _, l := range d.links[victim] {
				l.Break()
			}
			lasts()
		}
	}},
	{"links slow", func(d *deployment, victim int, lasts func()) {
		for _, l := range d.links[victim] {
			l.Delay(40 * time.Millisecond)
		}
		lasts()
		for _, l := range d.links[victim] {
			l.Delay(0)
		}
	}},
	{"follower killed", func(d *deployment, _ int, lasts func()) {
		victim := (d.leader() + 1) % size
		d.killMember(victim)
		lasts()
		d.restartMember(victim)
	}},
	{"leader killed", func(d *deployment, _ int, lasts func()) {
		victim := d.leader()
		d.killMember(victim)
		lasts()
		d.restartMember(victim)
	}},
	{"leader paused", func(d *deployment, _ int, lasts func()) {
		victim := d.leader()
		d.pauseMember(victim)
		lasts()
		d.resumeMember(victim)
	}},
	{"leader moved", func(d *deployment, _ int, lasts func()) {
		for range 3 {
			d.moveLeader((d.leader() + 1) % size)
			lasts()
		}
	}},
	{"majority killed", func(d *deployment, victim int, lasts func()) {
		other := (victim + 1) % size
		d.killMember(victim)
		d.killMember(other)
		lasts()
		// A member alone does not answer, so it is waited for when both run.
		d.restartMembers(victim, other)
	}},
	{"history compacted while a server is paused", func(d *deployment, victim int, lasts func()) {
		d.signal(victim, syscall.SIGSTOP)
		lasts()
		d.compact()
		d.signal(victim, syscall.SIGCONT)
	}},
	{"history compacted while a server is cut off", func(d *deployment, victim int, lasts func()) {
		d.cut(victim, link.Both)
		lasts()
		d.compact()
		for _, l := range d.links[victim] {
			l.Break()
		}
		d.cut(victim, 0)
	}},
}

// soakVariable is how long TestFaults goes on, once it has had each fault once.
const soakVariable = "CLUSTER_SOAK"

// TestFaults has each fault once, and with CLUSTER_SOAK, after that, faults at random.
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
	text := os.Getenv(soakVariable)
	if text == "" {
		return
	}
	soak, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", soakVariable, err)
	}
	for end := time.Now().Add(soak); time.Now().Before(end) && !t.Failed(); {
		f, victim := faults[rand.IntN(len(faults))], rand.IntN(size)
		t.Run("at random/"+f.name, func(t *testing.T) {
			d.in(t)
			l.during(func() {
				f.do(d, victim, func() { d.last(time.Duration(rand.IntN(4000)) * time.Millisecond) })
			})
			l.settle()
		})
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

// compact removes etcd's whole history.
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
		if _, err := c.Compact(ctx, now.Header.Revision); err != nil {
			return fmt.Errorf("compact: %w", err)
		}
		return nil
	})
}
