package admin

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The flags are those of package flag, with one hyphen: -conf FILE. Cobra reads command lines and completes them, but knows
// flags of several letters with two hyphens only, so that command lines are rewritten for it, and what it completes is
// rewritten back. Flags of one letter are the same for both.

// execute reads the command line of a command and runs it.
func (c *command) execute(program string, args []string, s Streams) (status int, err error) {
	cmd := c.cobra(func(run runner, words []string) error {
		status, err = run(s, words)
		return err
	})
	cmd.SetHelpFunc(func(*cobra.Command, []string) { c.help(s.Out, program) })
	cmd.SetOut(s.Out)
	cmd.SetErr(s.Err)
	cmd.SetArgs(doubleHyphens(args))
	return status, cmd.Execute()
}

// cobra makes a command for cobra that calls run.
func (c *command) cobra(run func(runner, []string) error) *cobra.Command {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	do := c.define(flags)
	cmd := &cobra.Command{
		Use:               c.name,
		Short:             c.purpose,
		SilenceErrors:     true,
		SilenceUsage:      true,
		ValidArgsFunction: c.completeWord,
		RunE:              func(_ *cobra.Command, words []string) error { return run(do, words) },
	}
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		var invalid *pflag.InvalidValueError
		if errors.As(err, &invalid) {
			return &usageError{fmt.Sprintf("-%s %s: %v", invalid.GetFlag().Name, invalid.GetValue(), invalid.Unwrap())}
		}
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) {
			return &usageError{"unknown flag: -" + unknown.GetSpecifiedName()}
		}
		var empty *pflag.ValueRequiredError
		if errors.As(err, &empty) {
			return &usageError{"flag needs an argument: -" + empty.GetSpecifiedName()}
		}
		return &usageError{strings.ReplaceAll(err.Error(), "--", "-")}
	})
	cmd.Flags().AddGoFlagSet(flags)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		f.Usage = strings.ReplaceAll(f.Usage, "`", "")
		value, _ := flag.UnquoteUsage(flags.Lookup(f.Name))
		// It fails for a flag that is not there only.
		if err := cmd.RegisterFlagCompletionFunc(f.Name, completeValue(f.Name, value)); err != nil {
			panic(err)
		}
	})
	return cmd
}

// doubleHyphens gives flags of several letters their second hyphen, up to the word -- that ends flags. The values of flags
// stay as they are.
func doubleHyphens(args []string) []string {
	args = slices.Clone(args)
	takesValue := valueFlags()
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		name, value, isFlag := flagName(args[i])
		if !isFlag {
			continue
		}
		if len(name) > 1 || name == "h" {
			args[i] = "--" + strings.TrimLeft(args[i], "-")
			if name == "h" {
				args[i] = "--help"
			}
		} else if strings.HasPrefix(args[i], "--") {
			args[i] = args[i][1:]
		}
		if !value && takesValue[name] {
			i++
		}
	}
	return args
}

// flagName returns the name of a flag, and whether the same word has its value.
func flagName(word string) (name string, value, isFlag bool) {
	name = strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-")
	if name == word || name == "" {
		return "", false, false
	}
	name, _, value = strings.Cut(name, "=")
	return name, value, true
}

// valueFlags are the names of all flags that take a value. A name takes one in every command or in none.
func valueFlags() map[string]bool {
	names := make(map[string]bool)
	for _, c := range commands("") {
		c.flags().VisitAll(func(f *flag.Flag) { names[f.Name] = !isBool(f) })
	}
	return names
}

func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// moveCommandFirst moves the first word that is no flag and no value of one, the name of the command, before all flags.
func moveCommandFirst(args []string) []string {
	takesValue := valueFlags()
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		name, value, isFlag := flagName(args[i])
		if !isFlag {
			return slices.Concat([]string{args[i]}, args[:i], args[i+1:])
		}
		if !value && takesValue[name] {
			i++
		}
	}
	return args
}

// output is the flag -o.
type output struct{ json bool }

func addOutputFlag(flags *flag.FlagSet) *output {
	o := new(output)
	flags.Var(o, "o", "output `FORMAT`: text or json (default text)")
	return o
}

// String implements flag.Value.
func (o *output) String() string {
	if o.json {
		return "json"
	}
	return ""
}

// Set implements flag.Value.
func (o *output) Set(v string) error {
	if v != "text" && v != "json" {
		return errors.New("must be text or json")
	}
	o.json = v == "json"
	return nil
}
