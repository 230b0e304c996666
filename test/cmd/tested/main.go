// Report prints the table of all clients that the end-to-end tests ran, and compares it with the one in the README.
//
//	report [-write] README DIRECTORY
//
// The directory has the accounts that package tested wrote. With -write the README's table is written instead of
// compared.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

func main() {
	write := flag.Bool("write", false, "write the README's table")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: report [-write] README DIRECTORY")
		os.Exit(2)
	}
	if err := report(flag.Arg(0), flag.Arg(1), *write); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func report(readme, dir string, write bool) error {
	entries, err := tested.Read(dir)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return errors.New("no test has said what it tried in " + dir + ": run make test")
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	if write {
		fresh, err := tested.Write(string(text), entries)
		if err != nil {
			return fmt.Errorf("%s: %w", readme, err)
		}
		return os.WriteFile(readme, []byte(fresh), 0o644)
	}
	fmt.Print("Tested with:\n", tested.Table(entries))
	differences, err := tested.Differences(string(text), entries)
	if err != nil {
		return fmt.Errorf("%s: %w", readme, err)
	}
	if len(differences) > 0 {
		return fmt.Errorf("the table \"Tested with\" of %s is not what the tests tried:\n  %s\n"+
			"After a whole \"make test\", \"make tested\" writes it", readme, strings.Join(differences, "\n  "))
	}
	return nil
}
