package zone

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// ScavengeAuthor is the author in the log of changes, and the source, of updates that remove stale
// records.
const ScavengeAuthor = "aging"

// scavengeRecords is how many records one such update removes at most. It keeps the writer for about
// a millisecond (BenchmarkScavenge).
const scavengeRecords = 100

// Enabled reports whether records age.
func (a Aging) Enabled() bool { return a.NoRefresh+a.Refresh > 0 }

// due returns when a record of that time becomes stale, in seconds of Unix time.
func (a Aging) due(hours uint32) int64 {
	return 3600*int64(hours) + int64((a.NoRefresh+a.Refresh)/time.Second)
}

// A Stale is a record that aging removes.
type Stale struct {
	store.Record
	// Due is when both intervals have passed since the time of the record, in UTC. It goes with the
	// next scavenging after that, but not before Zone.AgingFrom.
	Due time.Time
}

// Stale yields the dynamic records that become stale by a time under the given intervals, whether the
// zone ages or not, by name in canonical order. Their rdata must not be modified.
func (s *Snapshot) Stale(aging Aging, by time.Time) iter.Seq[Stale] {
	return func(yield func(Stale) bool) {
		if !aging.Enabled() || s.dynamic == 0 {
			return
		}
		s.staleFrom(firstKey, aging, by.Unix(), func(_ string, r store.Record) bool {
			return yield(Stale{Record: r, Due: time.Unix(aging.due(r.Hours), 0).UTC()})
		})
	}
}

// firstKey sorts after that of the zone's own name, whose records are static, and before every other.
const firstKey = "\x00"

// staleFrom calls visit with every record that is stale at a time in seconds of Unix time, from the
// name with that key on, until it returns false.
func (s *Snapshot) staleFrom(key string, aging Aging, at int64, visit func(key string, r store.Record) bool) {
	s.names.Ascend(key, func(key string, n *node) bool {
		name := ""
		for set := range n.sets {
			if set.times == nil {
				continue
			}
			for data, hours := range set.timed {
				if hours == 0 || aging.due(hours) > at {
					continue
				}
				if name == "" {
					name = s.origin.spelled(key, n)
				}
				if !visit(key, store.Record{Name: name, Type: set.rrtype, Class: dns.ClassINET, TTL: set.ttl, Hours: hours, Data: data}) {
					return false
				}
			}
		}
		return true
	})
}

// Aging returns the intervals in force.
func (z *Zone) Aging() Aging { return z.settings.Load().aging }

// AgingFrom returns before when no record is removed, in UTC: the refresh interval after the zone was
// opened, was thawed, or aging was switched on, or after the clock was set ahead or differed from
// another server's. Clients could not refresh their records before.
func (z *Zone) AgingFrom() time.Time {
	return time.Unix(z.grace.from(z.Aging().Refresh), 0).UTC()
}

// grace is since when clients have been able to refresh records.
type grace struct {
	mu sync.Mutex // guards what follows
	// since is in seconds of Unix time.
	since int64
	// wall and elapsed are the clocks when observe was last called.
	wall    int64
	elapsed time.Duration
	// jump is by how much the clock was set ahead since jumped was last called.
	jump time.Duration
	// ahead is by how much the clock was set ahead each time, the oldest first, but for what it was set back again.
	// What no longer counts is removed by expired.
	ahead []setAhead
	// other is the server whose clock differed most since differed was last called, and difference by how much.
	other      string
	difference time.Duration
}

// A setAhead is by how much the clock was set ahead, and elapsed when it was.
type setAhead struct{ by, at time.Duration }

// maxSetAhead bounds grace.ahead: beyond it, two count as one that came later.
const maxSetAhead = 64

// clock reads the machine's clock, for what is written to records or compared with their times. If the clock
// was set ahead since it was read last, grace begins again. All these readings count: records that clients
// refresh between two passes, while the clock is behind, are old at once when it is right again.
func (z *Zone) clock() time.Time {
	now := z.now()
	z.grace.observe(now.Unix(), z.elapsed())
	return now
}

// begin notes that clients can refresh records from now on.
func (g *grace) begin(now int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.since = now
}

func (g *grace) from(refresh time.Duration) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.since + int64(refresh/time.Second)
}

// clockJump is how far the machine's clock may go ahead of the time that has passed, between two
// readings, before it counts as one that was set ahead.
const clockJump = time.Hour

// observe compares the machine's clock with the time that has passed since the last call. If it was
// set ahead, or the machine was suspended, records are older than the time in which clients could
// refresh them, and grace begins again.
func (g *grace) observe(now int64, elapsed time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var jump time.Duration
	if g.wall != 0 {
		jump = time.Duration(now-g.wall)*time.Second - (elapsed - g.elapsed)
	}
	g.wall, g.elapsed = now, elapsed
	switch {
	case jump >= clockJump:
		g.ahead = append(g.ahead, setAhead{jump, elapsed})
		if len(g.ahead) > maxSetAhead {
			g.ahead[1].by += g.ahead[0].by
			g.ahead = slices.Delete(g.ahead, 0, 1)
		}
	case jump <= -clockJump:
		for back := -jump; back > 0 && len(g.ahead) > 0; {
			last := &g.ahead[len(g.ahead)-1]
			taken := min(back, last.by)
			last.by, back = last.by-taken, back-taken
			if last.by == 0 {
				g.ahead = g.ahead[:len(g.ahead)-1]
			}
		}
	}
	if jump < clockJump {
		g.since = min(g.since, now) // the clock was ahead when it began, and was set back
		return
	}
	g.since, g.jump = now, max(g.jump, jump)
}

// expired returns the time at which a tombstone was made that expires now. If the clock was set ahead, it may be
// wrong, or have been wrong when the tombstone was made: for a lifetime from then on, what it was set ahead by does
// not count.
func (g *grace) expired(now time.Time, lifetime time.Duration) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ahead = slices.DeleteFunc(g.ahead, func(a setAhead) bool { return g.elapsed-a.at >= lifetime })
	at := now.Add(-lifetime)
	for _, a := range g.ahead {
		at = at.Add(-a.by)
	}
	return at.Unix()
}

// jumped returns by how much the clock was set ahead, at most, since the last call.
func (g *grace) jumped() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	jump := g.jump
	g.jump = 0
	return jump
}

// compare has grace begin again if the clock of the server that has committed a batch differs from this one by so
// much that one of them was set wrong. If it is this one, records look older here than they are. If it is the other
// one, it gives records times of which they look older. late is how long ago the batch may have been committed.
func (g *grace) compare(now int64, server string, then int64, late time.Duration) {
	difference := time.Duration(min(max(then-now, -maxDifference), maxDifference)) * time.Second
	if difference < 0 {
		difference = min(0, difference+max(0, late).Truncate(time.Second))
	}
	if difference.Abs() < clockJump {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.since = now
	if difference.Abs() >= g.difference.Abs() {
		g.other, g.difference = server, difference
	}
}

// maxDifference is the largest number of seconds, about, that a time.Duration holds.
const maxDifference = 1 << 33

// differed returns whose clock differed from this one, and by how much it was ahead, since the last call.
func (g *grace) differed() (other string, difference time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	other, difference = g.other, g.difference
	g.other, g.difference = "", 0
	return other, difference
}

// A Scavenging is the outcome of [Zone.Scavenge].
type Scavenging struct {
	// Removed is how many records were removed.
	Removed int
	// Waiting is how many records were not, although they are stale: see AgingFrom.
	Waiting int
	// ClockJump is by how much the machine's clock has gone ahead, since the last scavenging, of the
	// time that has passed. It is zero if the difference is less than an hour; otherwise no record is
	// removed until the refresh interval has passed.
	ClockJump time.Duration
	// Other is another server of the zone whose clock, as its commits since the last scavenging show, differs by an
	// hour or more, and ClockDifference by how much it is ahead of this one. Then too no record is removed until the
	// refresh interval has passed.
	Other           string
	ClockDifference time.Duration
}

// Scavenge removes all stale records, in updates of a few records each, which take turns with those of
// clients. Names whose last record goes keep their owner as a tombstone. done is called with the
// Result of each update; it may be nil.
//
// It is not for concurrent use on one zone. If ctx ends, the zone is frozen or the store cannot
// commit, it returns an error beside what was done until then. If there is no room for further
// tombstones of SignedOwner, its names stay for now and all others go on: the error is a *LimitError.
func (z *Zone) Scavenge(ctx context.Context, done func(Result)) (s Scavenging, err error) {
	now := z.clock().Unix()
	defer func() {
		s.ClockJump = z.grace.jumped()
		s.Other, s.ClockDifference = z.grace.differed()
	}()
	if aging := z.Aging(); aging.Enabled() && now < z.grace.from(aging.Refresh) {
		for range z.Snapshot().Stale(aging, time.Unix(now, 0)) {
			s.Waiting++
		}
		return s, ctx.Err()
	}
	var full *LimitError
	most := scavengeRecords
	for key := firstKey; key != ""; {
		// Each update is put together from the newest state: no state is kept in memory for long.
		begun := z.queue.clock()
		r, next, err := z.scavengeFrom(ctx, key, most, full != nil)
		if full == nil {
			if full = noTombstones(err); full != nil {
				continue // the same again, without the names that there is no room for
			}
		}
		if errors.Is(err, store.ErrTooLarge) && most > 1 {
			most /= 2 // of large records, or at names that have large ones
			continue
		}
		if err != nil {
			return s, err
		}
		key = next
		if r.Changed {
			for _, record := range r.Removed {
				if record.Type != dns.TypeSOA {
					s.Removed++
				}
			}
			if done != nil {
				done(r)
			}
			z.rest(ctx, z.queue.clock()-begun)
		}
	}
	if full != nil {
		return s, full
	}
	return s, nil
}

// noTombstones returns the error of an update for whose tombstones there is no room. Other limits, such as that of the queue, are
// not about what it removes.
func noTombstones(err error) *LimitError {
	var limit *LimitError
	if errors.As(err, &limit) && (limit.Limit == "OwnerTombstones" || limit.Limit == "ZoneOctets") {
		return limit
	}
	return nil
}

// restAfter waits for as long as the last update of Scavenge took, or until ctx ends. Half of the time
// is then left to clients: a disk that has just taken much lets the next write wait (BenchmarkScavenge).
func restAfter(ctx context.Context, took time.Duration) {
	timer := time.NewTimer(min(took, longestRest))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// longestRest bounds the pause: a machine that was suspended makes an update look long.
const longestRest = 100 * time.Millisecond

// scavengeFrom removes stale records, most at most, from the name with that key on, but not those of names
// that would leave reserved tombstones if unreserved is set. It returns where to go on, "" at the end.
func (z *Zone) scavengeFrom(ctx context.Context, key string, most int, unreserved bool) (r Result, next string, err error) {
	if err := ctx.Err(); err != nil {
		return r, "", fmt.Errorf("zone: scavenging: %w", err)
	}
	aging, now := z.Aging(), z.clock().Unix()
	if !aging.Enabled() || now < z.grace.from(aging.Refresh) {
		return r, "", nil
	}
	snapshot := z.Snapshot()
	if snapshot.dynamic == 0 {
		return r, "", nil
	}
	sections := &Sections{}
	snapshot.staleFrom(key, aging, now, func(key string, r store.Record) bool {
		if len(sections.Updates) == most {
			next = key
			return false
		}
		if own, owned := snapshot.owners.Get(key); unreserved && owned && isReserved(own.principal()) {
			return true
		}
		r.Class, r.TTL = dns.ClassNONE, 0
		sections.Updates = append(sections.Updates, r)
		return true
	})
	if len(sections.Updates) == 0 {
		return r, "", nil
	}
	r = z.Apply(ctx, &Update{
		Sections: sections, Principal: ScavengeAuthor, Source: ScavengeAuthor,
		Authorize: func(*Proposal) Decision { return Decision{Allow: true, Rule: aging.String()} },
		stale:     func(hours uint32) bool { return hours != 0 && aging.due(hours) <= now },
	})
	if r.Err != nil {
		return r, "", r.Err
	}
	return r, next, nil
}

// String returns the intervals as they are written in a Corefile.
func (a Aging) String() string {
	return fmt.Sprintf("aging %s %s", formatHours(a.NoRefresh), formatHours(a.Refresh))
}

func formatHours(d time.Duration) string {
	switch {
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}
