package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if order := os.Getenv(attackVariable); order != "" {
		if err := beAttacker(order); err != nil {
			fmt.Fprintln(os.Stderr, "hostile:", err)
			os.Exit(1)
		}
		return
	}
	if order := os.Getenv(insiderVariable); order != "" {
		if err := beInsider(order); err != nil {
			fmt.Fprintln(os.Stderr, "hostile:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.DurationVar(&o.flood, "duration", 10*time.Minute, "how long the flood lasts; 0 leaves it out")
	flag.DurationVar(&o.slice, "slice", 30*time.Second, "how long it lasts at a time, by turns with a third of that without it")
	flag.IntVar(&o.rate, "rate", 0, "messages a second by UDP, and as many by TCP; 0 is as fast as it goes")
	flag.Float64Var(&o.least, "least", 0.9, "share of their rate that the good clients must keep")
	flag.DurationVar(&o.insider, "insider", 10*time.Minute, "how long the insider's abuse lasts, with the ordinary updates that it is compared with")
	flag.DurationVar(&o.tls, "tls", 8*time.Minute, "how long TLS handshakes are sent that nobody finishes, with the time that they are sent elsewhere")
	flag.Float64Var(&o.tlsLeast, "tls-least", 0.6, "share of their rate that the good clients must keep beside those from one address")
	flag.StringVar(&o.abuse, "abuse", "", "try that abuse of an insider alone")
	flag.Float64Var(&o.beside, "insider-least", 0.8, "share of their rate beside ordinary updates that they must keep beside an insider's")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := soak(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
}

type options struct {
	flood, slice, insider, tls time.Duration
	rate                       int
	least, beside, tlsLeast    float64
	abuse                      string
}

// tolerance is how much larger than before the server may be after the flood.
const tolerance = 0.05

// soak is the long run: figures on standard output, an error if one is not good enough.
func soak(ctx context.Context, o options) error {
	dir, binary, remove, err := prepare(ctx)
	if err != nil {
		return err
	}
	defer remove()
	h, err := newHarness(ctx, dir, binary, "")
	if err != nil {
		return errors.Join(err, h.close())
	}
	defer h.close()
	favour(h.server.PID(), 10)
	say := func(format string, args ...any) { fmt.Printf(time.Now().Format("15:04:05 ")+format+"\n", args...) }
	var errs []error
	if o.flood > 0 {
		errs = append(errs, h.soakFlood(ctx, o, say))
	}
	if o.tls > 0 && ctx.Err() == nil {
		errs = append(errs, h.soakTLS(ctx, o, say))
	}
	if o.insider > 0 && ctx.Err() == nil {
		errs = append(errs, h.soakInsider(ctx, o, say))
	}
	return errors.Join(errs...)
}

// soakFlood is the long run beside hostile messages.
func (h *harness) soakFlood(ctx context.Context, o options, say func(string, ...any)) error {
	recorded, err := h.record(ctx)
	if err != nil {
		return err
	}
	messages := hostileMessages(recorded)
	say("%d messages made out of %d recorded ones; load %s", len(messages), len(recorded), load())

	nowhere, err := newSink()
	if err != nil {
		return err
	}
	defer nowhere.close()
	address := h.server.Address.String()
	here := map[string]string{"udp": address, "tcp": address}

	// measured has the good clients work while something else goes on.
	measured := func(what string, d time.Duration, targets map[string]string, sources []string) (float64, goodWork, error) {
		var flood *attackers
		var before time.Duration
		w, err := h.work(ctx, task{duration: d, renew: !slices.Equal(sources, shared), begin: func() (err error) {
			if targets != nil {
				flood, err = launch(targets, sources, messages, o.rate)
			}
			before = cpuOf(h.server.PID())
			return err
		}})
		taken := cpuOf(h.server.PID()) - before
		var t tally
		if flood != nil {
			var failed error
			t, failed = flood.end()
			err = errors.Join(err, failed)
		}
		rate := w.rate(d)
		say("%s: %.0f updates/s, %d handshakes, %d repeated, %d failed, longest %v; the server took %.2f processors; load %s",
			what, rate, w.Handshakes, w.Repeats, w.Failures, w.Longest.Round(time.Millisecond), taken.Seconds()/d.Seconds(), load())
		if flood != nil {
			say("  attackers: %.0f messages/s (%.1f MB/s), %d connections, %.0f answers/s (%.2f MB/s)", float64(t.Sent)/d.Seconds(),
				float64(t.Octets)/d.Seconds()/1e6, t.Connections, float64(t.Answers)/d.Seconds(), float64(t.AnswerOctets)/d.Seconds()/1e6)
		}
		for text, n := range w.Errors {
			say("  %d times: %s", n, text)
		}
		return rate, w, err
	}

	// What the server grows to, its pools and tables and the log of changes, is there before the first measurement.
	_, warm, err := measured("warming up, with the flood", o.slice, here, elsewhere)
	if err != nil {
		return err
	}
	if _, _, err := measured("warming up, with the attackers busy elsewhere", o.slice, nowhere.targets(), elsewhere); err != nil {
		return err
	}
	undisturbed, _, err := measured("nothing else running", o.slice, nil, nil)
	if err != nil {
		return err
	}
	// So are authenticators, which are remembered for a while: as many as the flood leaves room for in that time.
	if err := h.handshakes(ctx, int(float64(warm.Handshakes)/o.slice.Seconds()*min(o.flood, remembered).Seconds())); err != nil {
		return err
	}
	before, err := h.settled(ctx, 15, nil)
	if err != nil {
		return err
	}
	say("before: %v", before)
	// The two go by turns, since others may use the machine as well, sometimes more and sometimes less.
	var shares, floods []float64
	failures := 0
	for left := o.flood; left > 0; left -= o.slice {
		alone, work, err := measured("the attackers busy elsewhere", o.slice/3, nowhere.targets(), elsewhere)
		if err != nil {
			return err
		}
		failures += work.Failures
		flooded, work, err := measured("beside the flood", o.slice, here, elsewhere)
		if err != nil {
			return err
		}
		failures += work.Failures
		shares, floods = append(shares, flooded/alone), append(floods, flooded)
		if err := h.crashed(); err != nil {
			return err
		}
	}
	after, err := h.settled(ctx, 15, nil)
	if err != nil {
		return err
	}
	say("after: %v", after)
	alone, _, err := measured("the attackers busy elsewhere", o.slice, nowhere.targets(), shared)
	if err != nil {
		return err
	}
	neighbours, work, err := measured("beside the flood, from the same address as well, with contexts made before", o.slice, here, shared)
	if err != nil {
		return err
	}
	failures += work.Failures
	counters, err := h.counters(ctx)
	if err != nil {
		return err
	}
	say("counters: %s", strings.Join(counters, ", "))

	slices.Sort(shares)
	slices.Sort(floods)
	share := shares[len(shares)/2]
	say("beside the flood good clients kept %.0f %% of their rate beside attackers that are busy elsewhere (median of %d, from %.0f to %.0f %%), "+
		"%.0f %% with attackers at their own address too; of their rate with nothing else running %.0f %%",
		100*share, len(shares), 100*shares[0], 100*shares[len(shares)-1], 100*neighbours/alone, 100*floods[len(floods)/2]/undisturbed)
	var errs []error
	if share < o.least {
		errs = append(errs, fmt.Errorf("good clients kept %.0f %% of their rate, %.0f %% are due", 100*share, 100*o.least))
	}
	if failures > 0 {
		errs = append(errs, fmt.Errorf("%d operations of good clients failed", failures))
	}
	errs = append(errs, grown(before, after), h.crashed())
	return errors.Join(errs...)
}

// remembered is how long the server remembers an authenticator: the permitted clock skew, and a little more.
const remembered = 5*time.Minute + 20*time.Second

// settled measures the server when nothing goes on any more: connections and timers of the flood need a moment to end. It
// looks once a second, that often at least and, unless enough is nil, until enough is satisfied or a minute has passed, and
// takes the least.
func (h *harness) settled(ctx context.Context, looks int, enough func(size) bool) (size, error) {
	least, err := h.measure(ctx)
	if err != nil {
		return least, err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	const longest = 60
	for look := 1; look < looks || enough != nil && look < longest && !enough(least); look++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return least, ctx.Err()
		}
		s, err := h.measure(ctx)
		if err != nil {
			return least, err
		}
		least = size{min(least.RSS, s.RSS), min(least.Heap, s.Heap), min(least.Goroutines, s.Goroutines), min(least.Contexts, s.Contexts)}
	}
	return least, nil
}

// restingGoroutines is how many the server may have whatever was before: up to 256 rest in the listener once there were
// so many requests at a time, and end little by little.
const restingGoroutines = 256 + 40

// grown says by how much more than tolerance the server has.
func grown(before, after size) error {
	var errs []error
	before.Goroutines = max(before.Goroutines, restingGoroutines)
	for what, pair := range map[string][2]float64{
		"RSS":        {float64(before.RSS), float64(after.RSS)},
		"live heap":  {float64(before.Heap), float64(after.Heap)},
		"goroutines": {float64(before.Goroutines), float64(after.Goroutines)},
	} {
		if pair[1] > pair[0]*(1+tolerance) {
			errs = append(errs, fmt.Errorf("%s has grown from %.0f to %.0f", what, pair[0], pair[1]))
		}
	}
	return errors.Join(errs...)
}

// crashed says what the server has ended or recovered from.
func (h *harness) crashed() error {
	select {
	case <-h.server.Done():
		return errors.New("the server has ended:\n" + tail(h.server.Log().String()))
	default:
	}
	for line := range strings.Lines(h.server.Log().String()) {
		if strings.Contains(line, "panic") || strings.Contains(line, "internal error") {
			return errors.New("the server has recovered from: " + line)
		}
	}
	return nil
}

func tail(text string) string {
	lines := slices.Collect(strings.Lines(text))
	return strings.Join(lines[max(0, len(lines)-40):], "")
}

// load is how busy the machine is.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}
