package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// soakInsider measures the good clients' rate beside each abuse, by turns with that beside ordinary updates of as many
// octets. Where ordinary updates do not get to as many octets, it has the abuse go on with as many as they had. No client that
// waits for answers gets near as many octets as one that sends by UDP without waiting: beside the ordinary updates that this
// is compared with, as many octets are sent to where nobody reads them.
func (h *harness) soakInsider(ctx context.Context, o options, say func(string, ...any)) error {
	nowhere, err := newSink()
	if err != nil {
		return err
	}
	defer nowhere.close()
	// beside has insiders carry out the orders, and tells what the first has done.
	beside := func(orders ...insiderOrder) (float64, harm, error) {
		var ends []func() (harm, error)
		var before time.Duration
		w, err := h.work(ctx, task{duration: o.slice, attempts: untilAnswer, begin: func() error {
			before = cpuOf(h.server.PID())
			for _, order := range orders {
				end, err := launchInsider(order)
				if err != nil {
					return err
				}
				ends = append(ends, end)
			}
			return nil
		}})
		taken := cpuOf(h.server.PID()) - before
		say("beside an insider: %.0f updates/s, %d failed, longest %v; the server took %.2f processors; load %s",
			w.rate(o.slice), w.Failures, w.Longest.Round(time.Millisecond), taken.Seconds()/o.slice.Seconds(), load())
		var first harm
		errs := []error{err}
		for i, end := range ends {
			done, err := end()
			errs = append(errs, err)
			what := orders[i].Abuse
			if orders[i].Target != "" {
				what += ", sent elsewhere"
			}
			say("  the insider's %s: %.0f messages/s, %.2f MB/s, answers %v", what, float64(done.Messages)/o.slice.Seconds(), float64(done.Octets)/o.slice.Seconds()/1e6, done.Rcodes)
			if i == 0 {
				first = done
			}
		}
		if w.Failures > 0 {
			errs = append(errs, fmt.Errorf("beside %s %d operations of good clients failed: %v", orders[0].Abuse, w.Failures, w.Errors))
		}
		return w.rate(o.slice), first, errors.Join(errs...)
	}
	perSecond := func(done harm) int { return int(float64(done.Octets) / o.slice.Seconds()) }
	before, err := h.measure(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	tried := slices.DeleteFunc(slices.Clone(abuses), func(a abuse) bool { return o.abuse != "" && a.name != o.abuse })
	kept := make(map[string][]float64)
	for left := o.insider; left > 0; left -= 3 * o.slice * time.Duration(len(tried)) {
		for _, a := range tried {
			full, slow := a.name+", as fast as they go", a.name+", of the same octets"
			order, other := h.order(a), h.order(ordinary)
			rate, done, err := beside(order)
			if err != nil {
				return err
			}
			other.OctetsPerSecond = perSecond(done)
			if a.udp {
				order.Target, order.OctetsPerSecond = nowhere.targets()["udp"], perSecond(done)
				undisturbed, _, err := beside(other, order)
				if err != nil {
					return err
				}
				kept[full] = append(kept[full], rate/undisturbed)
				continue
			}
			undisturbed, usual, err := beside(other)
			if err != nil {
				return err
			}
			order.OctetsPerSecond = perSecond(usual)
			equal, _, err := beside(order)
			if err != nil {
				return err
			}
			kept[full], kept[slow] = append(kept[full], rate/undisturbed), append(kept[slow], equal/undisturbed)
		}
	}
	var errs []error
	for _, what := range slices.Sorted(maps.Keys(kept)) {
		shares := kept[what]
		slices.Sort(shares)
		share := (shares[(len(shares)-1)/2] + shares[len(shares)/2]) / 2
		say("beside %s: good clients kept %.0f %% of the rate that they are compared with (median of %d, from %.0f to %.0f %%)",
			what, 100*share, len(shares), 100*shares[0], 100*shares[len(shares)-1])
		if share < o.beside {
			errs = append(errs, fmt.Errorf("beside %s: good clients kept %.0f %% of their rate, %.0f %% are due", what, 100*share, 100*o.beside))
		}
	}
	after, err := h.measure(ctx)
	if err != nil {
		return err
	}
	lines, octets := 0, 0
	for line := range strings.Lines(h.server.Log().String()) {
		if octets += len(line); strings.Contains(line, `identity="`+principalOf(insider)) {
			lines++
		}
	}
	say("before: %v; after: %v; the log has %d octets and %d lines about the insider", before, after, octets, lines)
	if after.Heap > before.Heap+insiderRoom {
		errs = append(errs, fmt.Errorf("the live heap has grown from %d to %d octets", before.Heap, after.Heap))
	}
	if most := linesOf(time.Since(began)); lines > most {
		errs = append(errs, fmt.Errorf("%d lines about the insider, of %d at most", lines, most))
	}
	return errors.Join(append(errs, h.crashed())...)
}

// insiderRoom is how many octets the server may grow by through an insider: its share of the tombstones, and the log of
// changes.
const insiderRoom = 512 << 20

// linesOf is how many lines the server's log may have about one identity after that time.
func linesOf(d time.Duration) int { return 5000 + 1000*(1+int(d/time.Second)) }
