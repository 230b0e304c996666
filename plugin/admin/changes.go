package admin

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// changes prints the log of a zone.
func changes(flags *flag.FlagSet) runner {
	server := addControlFlags(flags)
	output := addOutputFlag(flags)
	return func(s Streams, words []string) (int, error) {
		if len(words) < 1 || len(words) > 2 {
			return 0, &usageError{"ZONE is needed, and the serial FROM may follow"}
		}
		origin, err := zoneWord(words[0])
		if err != nil {
			return 0, err
		}
		q := view.ChangesRequest{Zone: origin}
		if len(words) == 2 {
			from, err := strconv.ParseUint(words[1], 10, 32)
			if err != nil || from == 0 {
				return 0, &usageError{fmt.Sprintf("%q is not a serial", words[1])}
			}
			q.From = uint32(from)
		}
		t, err := server.open(s)
		if err != nil {
			return 0, err
		}
		defer t.close()
		list := []view.Change{}
		if err := t.changes(q, func(c view.Change) { list = append(list, c) }); err != nil {
			return 0, err
		}
		slices.Reverse(list)
		if output.json {
			return ExitOK, printJSON(s.Out, list)
		}
		if len(list) == 0 {
			fmt.Fprintf(s.Err, "note: the log of the zone %s has no changes\n", origin)
		}
		fmt.Fprintln(s.Err, "note: changes of owners alone are not in this log; the lines \"update\" of the server's log have them as notes")
		return ExitOK, printChanges(s.Out, list)
	}
}

func printChanges(w io.Writer, list []view.Change) error {
	var b strings.Builder
	for _, c := range list {
		fmt.Fprintf(&b, "%s  serial %d -> %d  by %s", when(&c.Time), c.From, c.To, orDash(c.Author))
		if c.Rule != "" && c.Rule != c.Author {
			fmt.Fprintf(&b, ", %s", c.Rule)
		}
		b.WriteByte('\n')
		for _, side := range []struct {
			sign    string
			records []view.NamedRecord
		}{{"-", c.Removed}, {"+", c.Added}} {
			for _, r := range side.records {
				fmt.Fprintf(&b, "  %s %s %d %s %s\n", side.sign, r.Name, r.TTL, r.Type, r.Data)
			}
		}
		for _, o := range c.Owners {
			switch {
			case o.Owner == "":
				fmt.Fprintf(&b, "  owner of %s: nobody\n", o.Name)
			case o.Deleted != nil:
				fmt.Fprintf(&b, "  owner of %s: %s, of a deleted name\n", o.Name, o.Owner)
			default:
				fmt.Fprintf(&b, "  owner of %s: %s\n", o.Name, o.Owner)
			}
		}
	}
	_, err := io.WriteString(w, printable(b.String()))
	return err
}
