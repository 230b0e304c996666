package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/gsstsig/coredns-gsstsig/test/cmd/corednssuite/extrablock"
)

func main() {
	selection := flag.String("run", "", "run the tests whose names match this regular `expression`")
	keep := flag.Bool("keep", false, "keep the temporary directory")
	timeout := flag.Duration("timeout", 30*time.Minute, "how long the program may take, with compiling")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if err := check(ctx, *selection, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "corednssuite:", err)
		os.Exit(1)
	}
}

func say(format string, args ...any) { fmt.Printf(time.Now().Format("15:04:05 ")+format+"\n", args...) }

// check runs the tests on both listeners and prints how the results differ. It returns an error if they differ where they
// must not.
func check(ctx context.Context, expression string, keep bool) (err error) {
	selection, err := regexp.Compile(expression)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	dir, err := os.MkdirTemp("", "corednssuite-")
	if err != nil {
		return err
	}
	if keep {
		say("the temporary directory is %s", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	b, err := prepare(ctx, dir, selection)
	if err != nil {
		return err
	}
	stock, ours, err := b.run(ctx)
	if err != nil {
		return err
	}
	differences := compare(stock.results, ours.results)
	var unsteady []difference
	if len(differences) > 0 {
		say("%d results differ; both runs are repeated", len(differences))
		stockAgain, oursAgain, err := b.run(ctx)
		if err != nil {
			return err
		}
		differences, unsteady = repeated(differences, compare(stockAgain.results, oursAgain.results))
	}
	seen, extended, err := extrablock.Recorded(b.module.record())
	if err != nil {
		return err
	}
	say("this project's listener served %d of %d Corefiles", extended, seen)
	show(stock.results, ours, differences, unsteady)
	wrong := unexpected(differences, known, selection)
	if extended == 0 {
		wrong = append(wrong, "this project's listener served no test. Fix: select tests that start a server for plain DNS.")
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "\n"))
	}
	return nil
}

// binaries are the compiled tests, and the names of those to run.
type binaries struct {
	module      module
	stock, ours string
	tests       []string
}

func prepare(ctx context.Context, dir string, selection *regexp.Regexp) (b binaries, err error) {
	if b.module, err = copyModule(ctx, dir); err != nil {
		return b, err
	}
	say("compiling the tests of CoreDNS %s", b.module.version)
	overlay, err := b.module.writeHooks()
	if err != nil {
		return b, err
	}
	// In this order: what the first one adds to go.mod holds for both.
	if b.ours, err = b.module.build(ctx, "ours", overlay); err != nil {
		return b, err
	}
	if b.stock, err = b.module.build(ctx, "stock", ""); err != nil {
		return b, err
	}
	b.tests, err = b.module.list(ctx, b.stock, selection)
	return b, err
}

// run runs the tests on CoreDNS's listener and on this project's.
func (b binaries) run(ctx context.Context) (stock, ours report, err error) {
	say("%d tests on CoreDNS's listener", len(b.tests))
	if stock, err = b.module.runTests(ctx, b.stock, b.tests); err != nil {
		return stock, ours, err
	}
	say("%d tests on this project's listener", len(b.tests))
	ours, err = b.module.runTests(ctx, b.ours, b.tests)
	return stock, ours, err
}

// show prints the numbers of both runs, a table of the differences, and what the tests said that pass on CoreDNS's
// listener alone.
func show(stock results, ours report, differences, unsteady []difference) {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer table.Flush()
	fmt.Fprintln(table, "listener\tpass\tfail\tskip")
	fmt.Fprintf(table, "CoreDNS's\t%d\t%d\t%d\n", stock.count("pass"), stock.count("fail"), stock.count("skip"))
	fmt.Fprintf(table, "this project's\t%d\t%d\t%d\n", ours.results.count("pass"), ours.results.count("fail"), ours.results.count("skip"))
	table.Flush()
	worse, better := 0, 0
	for _, d := range differences {
		if d.worse() {
			worse++
		}
		if d.better() {
			better++
		}
	}
	fmt.Printf("tests that fail on both: %d; pass on CoreDNS's alone: %d, on this project's alone: %d; differ once in two runs: %d\n",
		failBoth(stock, ours.results), worse, better, len(unsteady))
	if len(differences)+len(unsteady) > 0 {
		fmt.Fprintln(table, "\ntest\tCoreDNS's\tthis project's\trepeated")
		for _, d := range differences {
			fmt.Fprintf(table, "%s\t%s\t%s\tthe same\n", d.test, d.stock, d.ours)
		}
		for _, d := range unsteady {
			fmt.Fprintf(table, "%s\t%s\t%s\tother results\n", d.test, d.stock, d.ours)
		}
		table.Flush()
	}
	for _, d := range differences {
		if d.worse() {
			fmt.Printf("\n%s on this project's listener:\n%s", d.test, strings.Join(ours.output[d.test], ""))
		}
	}
}
