package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// measure goes through the rows in the order of their goals in the table.
func (b *bench) measure(ctx context.Context) error {
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"updates 1", func(ctx context.Context) error { return b.updates(ctx, 1, 2) }},
		{"updates 16", func(ctx context.Context) error { return b.updates(ctx, 16, 8) }},
		{"updates 256", b.manyUpdates},
		{"handshakes", b.handshakeRate},
		{"queries", b.queryRate},
		{"large", b.largeZone},
		{"owners", b.ownedZone},
		{"morning", b.mondayMorning},
	} {
		if b.only != nil && !b.only.MatchString(part.name) {
			continue
		}
		if b.memory && part.name == "owners" {
			fmt.Fprintln(os.Stderr, "owners: left out, for a zone without database has none after a restart")
			continue
		}
		if err := part.do(ctx); err != nil {
			return err
		}
	}
	return b.onEtcd(ctx)
}

// inTurn calls do for every subject in every round, beginning with another one each round.
func (b *bench) inTurn(ctx context.Context, do func(round, subject int) error, subjects int) error {
	for round := range b.rounds {
		for i := range subjects {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := do(round, (round+i)%subjects); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownHosts makes updaters with a host each.
func (b *bench) ownHosts(ctx context.Context, clients int, subjects ...*subject) ([][]*updaterClient, error) {
	sets := make([][]*updaterClient, len(subjects))
	for i, s := range subjects {
		var err error
		if sets[i], err = b.updaters(ctx, s, b.middle, clients, true); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

// updates compares the rates of durable updates.
func (b *bench) updates(ctx context.Context, clients int, goal float64) error {
	subjects := []*subject{b.ours, b.bind}
	sets, err := b.ownHosts(ctx, clients, subjects...)
	if err != nil {
		return err
	}
	rates := make([][]float64, len(subjects))
	what := fmt.Sprintf("updates, %d clients", clients)
	err = b.inTurn(ctx, func(_, i int) error {
		m, err := b.load(ctx, what, subjects[i], operations(sets[i]))
		rates[i] = append(rates[i], m.perSecond())
		return err
	}, len(subjects))
	if err != nil {
		return err
	}
	for i, s := range subjects {
		if err := verifyUpdates(ctx, s, sets[i]); err != nil {
			return err
		}
	}
	ratio := median(ratios(rates[0], rates[1]))
	plural := "s"
	if clients == 1 {
		plural = ""
	}
	b.table.add(row{
		what: fmt.Sprintf("durable signed updates/s, UDP, %d client%s", clients, plural),
		ours: number(median(rates[0])), peer: number(median(rates[1])),
		ratio: times(ratio), goal: fmt.Sprintf("≥ %g × BIND", goal), reached: ratio >= goal,
	})
	return nil
}

// manyUpdates is more clients than BIND's update quota of 100 permits, so BIND gets fewer.
func (b *bench) manyUpdates(ctx context.Context) error {
	const clients, bindClients, goal = 256, 64, 12_000
	ours, err := b.ownHosts(ctx, clients, b.ours)
	if err != nil {
		return err
	}
	theirs, err := b.ownHosts(ctx, bindClients, b.bind)
	if err != nil {
		return err
	}
	subjects, sets := []*subject{b.ours, b.bind}, [][]*updaterClient{ours[0], theirs[0]}
	rates := make([][]float64, len(subjects))
	unanswered := 0
	err = b.inTurn(ctx, func(_, i int) error {
		m, err := b.load(ctx, fmt.Sprintf("updates, %d clients", len(sets[i])), subjects[i], operations(sets[i]))
		rates[i] = append(rates[i], m.perSecond())
		if i == 0 {
			unanswered += m.unanswered
		}
		return err
	}, len(subjects))
	if err != nil {
		return err
	}
	for i, s := range subjects {
		if err := verifyUpdates(ctx, s, sets[i]); err != nil {
			return err
		}
	}
	rate := median(rates[0])
	b.table.add(row{
		what: fmt.Sprintf("the same, %d clients (BIND: %d, for its quota)", clients, bindClients),
		ours: fmt.Sprintf("%s, %d unanswered", number(rate), unanswered), peer: number(median(rates[1])),
		ratio:   times(median(ratios(rates[0], rates[1]))),
		goal:    number(goal) + "/s, none unanswered",
		reached: rate >= goal && unanswered == 0,
	})
	return nil
}

// handshakeRate compares whole TKEY negotiations, contexts being left behind as clients do.
func (b *bench) handshakeRate(ctx context.Context) error {
	const clients, goal = 16, 4
	subjects := []*subject{b.ours, b.bind}
	sets := make([][]operation, len(subjects))
	for i, s := range subjects {
		var err error
		if sets[i], err = b.handshakes(ctx, s, clients); err != nil {
			return err
		}
	}
	rates := make([][]float64, len(subjects))
	err := b.inTurn(ctx, func(_, i int) error {
		m, err := b.load(ctx, "handshakes", subjects[i], sets[i])
		rates[i] = append(rates[i], m.perSecond())
		return err
	}, len(subjects))
	if err != nil {
		return err
	}
	ratio := median(ratios(rates[0], rates[1]))
	b.table.add(row{
		what: fmt.Sprintf("TKEY handshakes/s, %d clients", clients),
		ours: number(median(rates[0])), peer: number(median(rates[1])),
		ratio: times(ratio), goal: fmt.Sprintf("≥ %d × BIND", goal), reached: ratio >= goal,
	})
	return nil
}

// queryRate compares answers to queries: of idle servers, under updates as fast as the server takes them, and under
// about as many updates as BIND takes from so many clients when it has nothing else to do.
func (b *bench) queryRate(ctx context.Context) error {
	const clients, pace, goal, recommendedGoal = 4, 1000, 0.9, 0.95
	subjects := []*subject{b.ours, b.bind, b.file, b.knot, b.recommended}
	sets, err := b.ownHosts(ctx, clients, subjects[:2]...)
	if err != nil {
		return err
	}
	var idle, cost, busy, held, updates [5][]float64
	err = b.inTurn(ctx, func(_, i int) error {
		m, _, err := b.ask(ctx, "queries", subjects[i], nil)
		if err != nil {
			return err
		}
		idle[i] = append(idle[i], m.perSecond())
		cost[i] = append(cost[i], m.serverTime())
		if i >= 2 {
			return nil // takes no updates of this kind
		}
		m, u, err := b.ask(ctx, "queries under updates", subjects[i], operations(sets[i]))
		if err != nil {
			return err
		}
		busy[i] = append(busy[i], m.perSecond())
		updates[i] = append(updates[i], u.perSecond())
		if i == 0 {
			m, _, err = b.ask(ctx, "queries under paced updates", subjects[i], paced(operations(sets[i]), pace))
			held[i] = append(held[i], m.perSecond())
		}
		return err
	}, len(subjects))
	if err != nil {
		return err
	}
	toFile, toBIND := median(ratios(idle[0], idle[2])), median(ratios(idle[0], idle[1]))
	b.table.add(row{
		what: fmt.Sprintf("queries/s on A, idle; CoreDNS `file`: %s", number(median(idle[2]))),
		ours: number(median(idle[0])), peer: number(median(idle[1])),
		ratio: times(toBIND), goal: fmt.Sprintf("≥ 1 × `file` (%s)", times(toFile)), reached: toFile >= 1,
	})
	b.table.add(row{
		what: "the same", ours: number(median(idle[0])), peer: number(median(idle[1])),
		ratio: times(toBIND), goal: "≥ 1 × BIND", reached: toBIND >= 1,
	})
	toKnot := median(ratios(idle[0], idle[3]))
	b.table.add(row{
		what: fmt.Sprintf("the same; Knot: %s", number(median(idle[3]))), ours: number(median(idle[0])),
		ratio: times(toKnot), goal: "≥ 1 × Knot", reached: toKnot >= 1,
	})
	toKnot = median(ratios(cost[0], cost[3]))
	b.table.add(row{
		what: fmt.Sprintf("CPU time of a query; Knot: %s µs", number(median(cost[3]))),
		ours: number(median(cost[0])) + " µs", peer: number(median(cost[1])) + " µs",
		ratio: times(median(ratios(cost[0], cost[1]))),
		goal:  fmt.Sprintf("≤ 1 × Knot (%s)", times(toKnot)), reached: toKnot <= 1,
	})
	share := median(ratios(idle[4], idle[0]))
	b.table.add(row{
		what: "the same in the Corefile of the package", ours: number(median(idle[4])), peer: number(median(idle[1])),
		ratio: times(median(ratios(idle[4], idle[1]))),
		goal:  fmt.Sprintf("≥ %g of the block alone (%.2f)", recommendedGoal, share), reached: share >= recommendedGoal,
	})
	share = median(ratios(busy[0], idle[0]))
	b.table.add(row{
		what: fmt.Sprintf("queries/s under %d updaters (this server: %s updates/s, BIND: %s)",
			clients, number(median(updates[0])), number(median(updates[1]))),
		ours: number(median(busy[0])), peer: number(median(busy[1])),
		ratio: times(median(ratios(busy[0], busy[1]))),
		goal:  fmt.Sprintf("≥ 90 %% of idle (%.0f %%; BIND %.0f %%)", 100*share, 100*median(ratios(busy[1], idle[1]))), reached: share >= goal,
	})
	share = median(ratios(held[0], idle[0]))
	b.table.add(row{
		what: fmt.Sprintf("the same, this server's updates held to %s/s", number(pace)),
		ours: number(median(held[0])), peer: number(median(busy[1])),
		ratio: times(median(ratios(held[0], busy[1]))),
		goal:  fmt.Sprintf("≥ 90 %% of idle (%.0f %%)", 100*share), reached: share >= goal,
	})
	return nil
}

// settling is how long a server has after its start until its memory is read: it may give back what it needed for loading.
const settling = time.Second

// largeZone compares start-up and memory with a million records, and then what an update costs in zones of every size.
func (b *bench) largeZone(ctx context.Context) error {
	for _, s := range []*subject{b.file, b.knot, b.recommended} {
		s.stop()
	}
	subjects := []*subject{b.bigOurs, b.bigBIND}
	for _, s := range subjects {
		took, err := s.start(ctx) // fills the database
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%-28s %-8s %8.2f s from the master file\n", "start", s.name, took.Seconds())
		s.stop()
	}
	var starts, memory, peaks [2][]float64
	err := b.inTurn(ctx, func(_, i int) error {
		s := subjects[i]
		took, err := s.start(ctx)
		if err != nil {
			return err
		}
		pause(ctx, settling)
		now, peak, err := s.memory()
		starts[i] = append(starts[i], took.Seconds())
		memory[i] = append(memory[i], now/1e6)
		peaks[i] = append(peaks[i], peak/1e6)
		fmt.Fprintf(os.Stderr, "%-28s %-8s %8.2f s, %.0f MB, at the peak %.0f MB\n", "start", s.name, took.Seconds(), now/1e6, peak/1e6)
		s.stop()
		return err
	}, len(subjects))
	if err != nil {
		return err
	}
	for _, r := range []struct {
		what, unit string
		values     [2][]float64
	}{
		{"start with 1e6 records", " s", starts},
		{"memory after it", " MB", memory},
		{"memory at its peak", " MB", peaks},
	} {
		ratio := median(ratios(r.values[0], r.values[1]))
		b.table.add(row{
			what: r.what, ours: number(median(r.values[0])) + r.unit, peer: number(median(r.values[1])) + r.unit,
			ratio: times(ratio), goal: "≤ 1 × BIND", reached: ratio <= 1,
		})
	}
	return b.updateCost(ctx)
}

// updateCost is the CPU time that an update costs the server, which is less noisy than rates where syncs take the time.
func (b *bench) updateCost(ctx context.Context) error {
	const clients, goal = 16, 1.2
	type target struct {
		subject  *subject
		zone     zoneSpec
		updaters []*updaterClient
		cost     []float64
	}
	var targets []*target
	for _, s := range []*subject{b.bigOurs, b.bigBIND} {
		if _, err := s.start(ctx); err != nil {
			return err
		}
	}
	for _, zone := range []zoneSpec{b.small, b.middle, b.large} {
		for _, s := range [][2]*subject{{b.ours, b.bigOurs}, {b.bind, b.bigBIND}} {
			t := &target{subject: s[0], zone: zone}
			if zone == b.large {
				t.subject = s[1]
			}
			var err error
			if t.updaters, err = b.updaters(ctx, t.subject, zone, clients, false); err != nil {
				return err
			}
			targets = append(targets, t)
		}
	}
	err := b.inTurn(ctx, func(_, i int) error {
		t := targets[i]
		m, err := b.load(ctx, fmt.Sprintf("updates in 1e%d records", len(fmt.Sprint(t.zone.hosts))-1), t.subject, operations(t.updaters))
		t.cost = append(t.cost, m.serverTime())
		return err
	}, len(targets))
	if err != nil {
		return err
	}
	for _, t := range targets {
		if err := verifyUpdates(ctx, t.subject, t.updaters); err != nil {
			return err
		}
	}
	cell := func(side int) string {
		return fmt.Sprintf("%s / %s / %s µs", number(median(targets[side].cost)), number(median(targets[side+2].cost)), number(median(targets[side+4].cost)))
	}
	ratio := median(ratios(targets[4].cost, targets[0].cost))
	b.table.add(row{
		what: "CPU time of an update, zone of 1e2 / 1e4 / 1e6 records", ours: cell(0), peer: cell(1),
		ratio: times(median(ratios(targets[4].cost, targets[5].cost))),
		goal:  fmt.Sprintf("1e6 ≤ 1.2 × 1e2 (%s; BIND %s)", times(ratio), times(median(ratios(targets[5].cost, targets[1].cost)))), reached: ratio <= goal,
	})
	return nil
}
