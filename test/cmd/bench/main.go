package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// settings is what the command line chooses.
type settings struct {
	binary   string
	dir      string
	memory   bool
	rounds   int
	duration time.Duration
	only     *regexp.Regexp // of the parts' names; nil is all
	profiles string         // directory for CPU profiles of our server, "" for none
	machines int            // that come on Monday morning
	within   time.Duration  // of each other
	busiest  int            // percent of the machine: a measurement during which others used more is repeated
}

func main() {
	var s settings
	var quick bool
	var only string
	flag.StringVar(&s.binary, "binary", "coredns", "this project's server, as `make coredns` builds it")
	flag.StringVar(&s.dir, "dir", ".cache/bench", "`directory` on a disk for the servers' data; what a run makes there it removes")
	flag.BoolVar(&s.memory, "memory", false, "run our server without database")
	flag.BoolVar(&quick, "quick", false, "shorter rounds, and three of them")
	flag.IntVar(&s.rounds, "rounds", 5, "how many `rounds`")
	flag.DurationVar(&s.duration, "duration", 3*time.Second, "how long each measurement takes")
	flag.StringVar(&only, "only", "", "measure only the parts that match this `pattern`: updates 1, updates 16, updates 256, handshakes, queries, large, owners, morning, cluster (updates 1, 16, 256, 3, 15, 255; contexts, queries, failover, start, morning)")
	flag.StringVar(&s.profiles, "profiles", "", "write CPU profiles of our server to this `directory`")
	flag.IntVar(&s.machines, "machines", 5000, "how many machines come on Monday morning")
	flag.DurationVar(&s.within, "within", 30*time.Second, "within what time they come")
	flag.IntVar(&s.busiest, "others", 100, fmt.Sprintf("repeat a measurement, up to %d times, during which other processes used more `percent` of the machine", repetitions))
	flag.Parse()
	if quick {
		s.rounds, s.duration = 3, time.Second
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := func() (err error) {
		if only != "" {
			if s.only, err = regexp.Compile(only); err != nil {
				return err
			}
		}
		return run(ctx, s)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) (err error) {
	if s.rounds < 1 || s.duration <= 0 {
		return errors.New("rounds and duration must be positive")
	}
	if s.machines < 1 || 2*s.machines > morningMost || s.within < time.Second {
		return fmt.Errorf("machines must be positive and at most %d, within at least a second", morningMost/2)
	}
	if s.binary, err = filepath.Abs(s.binary); err != nil {
		return err
	}
	for _, dir := range []string{s.dir, s.profiles} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp(s.dir, "run-")
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	machine, err := describeMachine(ctx, dir)
	if err != nil {
		return err
	}
	b := &bench{settings: s, dir: dir, patience: replyTimeout}
	defer b.stop()
	if err := b.start(ctx); err != nil {
		return err
	}
	if err := b.measure(ctx); err != nil {
		return err
	}
	b.table.write(os.Stdout, "BIND")
	if len(b.table.rows) > 0 && len(b.onEtcdTable.rows) > 0 {
		fmt.Println()
	}
	b.onEtcdTable.write(os.Stdout, "puts, etcd alone")
	fmt.Printf("\n%s\n", machine)
	if s.memory {
		fmt.Println("This server ran without database: its updates were not durable, and it started from the master file.")
	}
	fmt.Printf("Medians of %d rounds of %v. Processes other than these used %.0f %% of the machine meanwhile (median).\n",
		s.rounds, s.duration, 100*median(b.others))
	return nil
}
