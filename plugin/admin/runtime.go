package admin

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/administration"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// table writes rows in aligned columns. The first is the head.
func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = printable(row[i])
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	return t.Flush()
}

// printable writes what a terminal could take for a command as \DDD: principals are what clients are called, and may have any octets.
func printable(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if unicode.IsPrint(r) && (r != utf8.RuneError || n > 1) || r == '\n' {
			b.WriteString(text[i : i+n])
		} else {
			for _, octet := range []byte(text[i : i+n]) {
				fmt.Fprintf(&b, `\%03d`, octet)
			}
		}
		i += n
	}
	return b.String()
}

// when writes a time for people: in UTC, to the second, and "-" for none.
func when(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// status prints what the running server has.
func status(flags *flag.FlagSet) runner {
	server := addControlFlags(flags)
	output := addOutputFlag(flags)
	return func(s Streams, words []string) (int, error) {
		if len(words) > 1 {
			return 0, &usageError{"one ZONE is expected, or none for all"}
		}
		var q view.StatusRequest
		if len(words) == 1 {
			var err error
			if q.Zone, err = zoneWord(words[0]); err != nil {
				return 0, err
			}
		}
		t, err := server.open(s)
		if err != nil {
			return 0, err
		}
		defer t.close()
		state, err := call[view.Status](t, "status", q)
		if err != nil {
			return 0, err
		}
		if output.json {
			return ExitOK, printJSON(s.Out, state)
		}
		if q.Zone != "" {
			return ExitOK, printZones(s.Out, state.Zones)
		}
		return ExitOK, printStatus(s.Out, state)
	}
}

func printStatus(w io.Writer, s view.Status) error {
	ready := "ready"
	if !s.Ready {
		ready = "not ready"
	}
	fmt.Fprintf(w, "gsstsig %s, CoreDNS %s, process %d since %s: %s\n", s.Version, s.CoreDNS, s.PID, when(&s.Started), ready)
	if err := diagnose.Write(w, s.Findings); err != nil {
		return err
	}
	if err := table(w, statusRows(s.Zones)); err != nil {
		return err
	}
	rows := [][]string{{"\nKEY OF", "VERSION", "TYPE", "WRITTEN", "KEYTAB"}}
	for _, k := range s.Keys {
		rows = append(rows, []string{k.Principal, fmt.Sprint(k.KVNO), k.Enctype, when(k.Time), k.Keytab})
	}
	if err := table(w, rows); err != nil {
		return err
	}
	if err := printClusters(w, s.Clusters); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\ncontexts: %d of %d, half open: %d of %d\n", s.Contexts.Established.Used, s.Contexts.Established.Limit, s.Contexts.HalfOpen.Used, s.Contexts.HalfOpen.Limit)
	return err
}

// statusRows are the words about all zones. What only zones on etcd have is in columns that are there if one is.
func statusRows(zones []view.Zone) [][]string {
	onEtcd := slices.ContainsFunc(zones, func(z view.Zone) bool { return z.Etcd != "" })
	row := func(conflicts, unknown, home string, words ...string) []string {
		if onEtcd {
			words = append(words, conflicts, unknown)
		}
		return append(words, home)
	}
	rows := [][]string{row("CONFLICTS", "UNKNOWN", "DATABASE", "\nZONE", "SERIAL", "UPDATES", "RECORDS", "OWNED NAMES", "TOMBSTONES", "LAST CHANGE")}
	for _, z := range zones {
		conflicts, unknown := "-", "-"
		if z.Commits != nil {
			conflicts, unknown = strconv.FormatInt(z.Commits.Conflicts, 10), strconv.FormatInt(z.Commits.Unknown, 10)
		}
		updates := z.Updates
		switch {
		case z.Damaged != nil:
			updates = "damaged"
		case z.Unavailable != nil && z.Serial == 0:
			updates = "not loaded"
		case z.Unavailable != nil:
			updates = "expired"
		}
		words := []string{z.Zone, "-", updates, "-", "-", "-", "-"}
		if z.Damaged == nil && (z.Unavailable == nil || z.Serial != 0) {
			words = []string{z.Zone, fmt.Sprint(z.Serial), updates, strconv.Itoa(z.Records.Used), strconv.Itoa(z.Names), strconv.Itoa(z.Tombstones.Used), when(z.Changed)}
		}
		rows = append(rows, row(conflicts, unknown, homeText(&z), words...))
	}
	return rows
}

// homeText says where a zone is kept.
func homeText(z *view.Zone) string {
	switch {
	case z.Etcd != "":
		return "on etcd"
	case z.Database == "":
		return "in memory"
	}
	return z.Database
}

// printClusters prints the servers and members of clusters.
func printClusters(w io.Writer, clusters []view.Cluster) error {
	for _, c := range clusters {
		fmt.Fprintf(w, "\n%s, where this server is %s\n", printable(c.Etcd), printable(c.Server))
		if c.Error != "" {
			fmt.Fprintf(w, "etcd does not tell more: %s\n", printable(c.Error))
		}
		rows := [][]string{{"SERVER", "STATE", "VERSION", "LAST SEEN"}}
		zones := [][]string{{"\nZONE ON ETCD", "SERIAL", "COMMITTED BY", "EPOCH", "FROZEN"}}
		for _, s := range c.Servers {
			rows = append(rows, []string{s.Server, s.State, orDash(s.Version), when(&s.Seen)})
		}
		for _, s := range c.Running() {
			zones[0] = append(zones[0], "AT "+s.Server)
		}
		if err := table(w, rows); err != nil {
			return err
		}
		for _, r := range c.Rows() {
			zones = append(zones, clusterRow(r))
		}
		if err := table(w, zones); err != nil {
			return err
		}
		rows = [][]string{{"\nMEMBER", "VERSION", "SIZE", "STATE", "ENDPOINT"}}
		for _, m := range c.Members {
			state := "follows"
			switch {
			case m.Error != "":
				state = "does not answer"
			case len(m.Problems) > 0:
				state = strings.Join(m.Problems, ", ")
			case m.Leader:
				state = "leads"
			}
			rows = append(rows, []string{orDash(m.Name), orDash(m.Version), memberSize(m), state, m.Endpoint})
		}
		if err := table(w, rows); err != nil {
			return err
		}
	}
	return nil
}

func memberSize(m view.Member) string {
	if m.Error != "" {
		return "-"
	}
	return m.Size()
}

// clusterRow are the words about a zone on etcd, and at each server.
func clusterRow(r view.ClusterRow) []string {
	row := []string{r.Zone, "not there", "-", "-", "-"}
	switch z := r.OnEtcd; {
	case z == nil:
	case z.Error != "":
		row[1] = "cannot be read"
	default:
		row = []string{r.Zone, fmt.Sprint(z.Serial), z.Server, fmt.Sprint(z.Epoch), frozenText(z.Frozen, z.Sealed)}
	}
	for _, at := range r.At {
		state := "-"
		if at != nil {
			state = at.State()
		}
		row = append(row, state)
	}
	return row
}

// printZones describes zones in detail.
func printZones(w io.Writer, zones []view.Zone) error {
	for _, z := range zones {
		rows := zoneRows(z)
		if z.Damaged != nil {
			if err := diagnose.Write(w, []diagnose.Finding{*z.Damaged}); err != nil {
				return err
			}
			rows = [][]string{{"zone", z.Zone}, {"updates", z.Updates}, {"database", z.Database}}
		}
		if z.Unavailable != nil {
			if err := diagnose.Write(w, []diagnose.Finding{*z.Unavailable}); err != nil {
				return err
			}
			if z.Serial == 0 {
				rows = [][]string{{"zone", z.Zone}, {"updates", z.Updates}, {"etcd", z.Etcd}}
			}
		}
		for i, rule := range z.Rules {
			head := ""
			if i == 0 {
				head = "rules"
			}
			rows = append(rows, []string{head, rule})
		}
		if err := table(w, rows); err != nil {
			return err
		}
	}
	return nil
}

// zoneRows are what a zone is and holds.
func zoneRows(z view.Zone) [][]string {
	rows := [][]string{
		{"zone", z.Zone},
		{"serial", fmt.Sprint(z.Serial)},
		{"primary server", z.Primary},
		{"updates", z.Updates},
	}
	if z.Frozen != nil {
		rows = append(rows, []string{"frozen since", frozenText(z.Frozen, z.Sealed)})
	}
	places := [][]string{{"database", homeText(&z)}}
	if z.Etcd != "" {
		places = [][]string{{"etcd", z.Etcd}, {"confirmed by etcd", when(z.Confirmed)}}
		if z.Commits != nil {
			places = append(places, []string{"conflicts", fmt.Sprint(z.Commits.Conflicts)}, []string{"unknown outcomes", fmt.Sprint(z.Commits.Unknown)})
		}
	}
	rows = append(rows, []string{"last change", when(z.Changed)})
	rows = append(rows, places...)
	used := func(u view.Usage) string { return fmt.Sprintf("%d of %d", u.Used, u.Limit) }
	return append(rows,
		[]string{"records", used(z.Records)},
		[]string{"octets", used(z.Octets)},
		[]string{"owned names", strconv.Itoa(z.Names)},
		[]string{"owners", strconv.Itoa(z.Owners)},
		[]string{"tombstones", used(z.Tombstones)},
	)
}

// show prints names of a zone with their records and owners.
func show(flags *flag.FlagSet) runner {
	server := addControlFlags(flags)
	owner := flags.String("owner", "", "print only names that `PRINCIPAL` owns")
	output := addOutputFlag(flags)
	return func(s Streams, words []string) (int, error) {
		if len(words) < 1 || len(words) > 2 {
			return 0, &usageError{"ZONE is needed, and a NAME may follow"}
		}
		origin, err := zoneWord(words[0])
		if err != nil {
			return 0, err
		}
		q := view.NamesRequest{Zone: origin, Owner: *owner}
		if len(words) == 2 {
			if q.Name, err = nameIn(words[1], origin); err != nil {
				return 0, err
			}
		}
		t, err := server.open(s)
		if err != nil {
			return 0, err
		}
		defer t.close()
		list := []view.Name{}
		if err := t.names(q, func(n view.Name) error {
			list = append(list, n)
			return nil
		}); err != nil {
			return 0, err
		}
		switch {
		case output.json:
			err = printJSON(s.Out, list)
		case len(list) > 0:
			err = printNames(s.Out, list)
		}
		if len(list) > 0 || err != nil || q.Name == "" && q.Owner == "" {
			return ExitOK, err
		}
		none := nothingToShow(&q)
		if q.Name != "" {
			return 0, none
		}
		_, err = fmt.Fprintf(s.Err, "note: %v\n", none)
		return ExitOK, err
	}
}

// nothingToShow says that no name is what was asked for.
func nothingToShow(q *view.NamesRequest) error {
	switch {
	case q.Name != "" && q.Owner != "":
		return fmt.Errorf("%s does not belong to %s", q.Name, q.Owner)
	case q.Name != "":
		return fmt.Errorf("%s has neither records nor an owner", q.Name)
	}
	return fmt.Errorf("no name in the zone %s belongs to %s", q.Zone, q.Owner)
}

// nameIn reads a name, and completes one that is not below the zone's.
func nameIn(name, origin string) (string, error) {
	if name == "@" {
		return origin, nil
	}
	absolute, err := nameWord("name", name)
	if err != nil || strings.HasSuffix(name, ".") || dns.IsSubDomain(origin, absolute) || origin == "." {
		return absolute, err
	}
	return nameWord("name", absolute+origin)
}

func printNames(w io.Writer, list []view.Name) error {
	rows := [][]string{{"NAME", "TTL", "TYPE", "DATA", "OWNER", "LAST SEEN"}}
	for _, n := range list {
		owner := orDash(n.Owner)
		if len(n.Records) == 0 {
			rows = append(rows, []string{n.Name, "-", "-", "deleted", owner, when(n.Deleted)})
		}
		for _, r := range n.Records {
			rows = append(rows, []string{n.Name, fmt.Sprint(r.TTL), r.Type, r.Data, owner, hour(r.Refreshed)})
		}
	}
	return table(w, rows)
}

// own makes a principal the owner of a name.
func own(flags *flag.FlagSet) runner {
	server := addControlFlags(flags)
	output := addOutputFlag(flags)
	return func(s Streams, words []string) (int, error) {
		if len(words) != 2 {
			return 0, &usageError{"NAME and PRINCIPAL are needed"}
		}
		owner, err := administration.ParseOwner(words[1])
		if err != nil {
			return 0, &usageError{err.Error()}
		}
		return changeOwner(s, server, output, "own", words[0], owner)
	}
}

// release takes the owner of a name away.
func release(flags *flag.FlagSet) runner {
	server := addControlFlags(flags)
	output := addOutputFlag(flags)
	return func(s Streams, words []string) (int, error) {
		if len(words) != 1 {
			return 0, &usageError{"one NAME is needed"}
		}
		return changeOwner(s, server, output, "release", words[0], "")
	}
}

func changeOwner(s Streams, server controlFlags, output *output, operation, name, owner string) (int, error) {
	name, err := nameWord("name", name)
	if err != nil {
		return 0, err
	}
	t, err := server.open(s)
	if err != nil {
		return 0, err
	}
	defer t.close()
	var request any = view.OwnRequest{Name: name, Owner: owner}
	if owner == "" {
		request = view.NameRequest{Name: name}
	}
	change, err := call[view.Ownership](t, operation, request)
	if t.isStopped(err) {
		var origin string
		reason := err
		if origin, err = t.zoneOf(name); err != nil {
			return 0, err
		}
		err = t.change(origin, reason, func(z administration.Zone) (err error) {
			if owner == "" {
				change, _, err = z.Release(t.ctx, name)
			} else {
				change, _, err = z.Own(t.ctx, name, owner)
			}
			return err
		})
	}
	if err != nil {
		return 0, err
	}
	if output.json {
		return ExitOK, printJSON(s.Out, change)
	}
	if change.Warning != "" {
		fmt.Fprintln(s.Err, printable("warning: "+change.Warning))
	}
	_, err = fmt.Fprintln(s.Out, printable(change.String()))
	return ExitOK, err
}

// contexts lists the security contexts of clients, or drops some.
func contexts(flags *flag.FlagSet) runner {
	server := addControlFlags(flags)
	drop := flags.String("drop", "", "drop the contexts with this key or principal, `KEY|PRINCIPAL`; their clients negotiate again")
	output := addOutputFlag(flags)
	return func(s Streams, words []string) (int, error) {
		if len(words) > 0 {
			return 0, &usageError{"contexts takes no arguments"}
		}
		t, err := server.open(s)
		if err != nil {
			return 0, err
		}
		defer t.close()
		var list []view.Context
		if *drop != "" {
			list, err = call[[]view.Context](t, "drop", view.DropRequest{Word: *drop})
		} else {
			list, err = call[[]view.Context](t, "contexts", struct{}{})
		}
		if err != nil {
			return 0, err
		}
		if *drop != "" && len(list) == 0 {
			return 0, fmt.Errorf("no context has the key or the principal %q", *drop)
		}
		if output.json {
			return ExitOK, printJSON(s.Out, list)
		}
		switch {
		case *drop != "":
			fmt.Fprintf(s.Out, "dropped %d:\n", len(list))
		case len(list) == 0:
			_, err = fmt.Fprintln(s.Out, "no client has a security context")
			return ExitOK, err
		}
		rows := [][]string{{"PRINCIPAL", "ADDRESS", "CREATED", "EXPIRES", "LAST USE", "MESSAGES", "TYPE", "KEY"}}
		shared := slices.ContainsFunc(list, func(c view.Context) bool { return c.Server != "" })
		if shared {
			rows[0] = slices.Insert(rows[0], 2, "SERVER")
		}
		for _, c := range list {
			row := []string{c.Principal, orDash(c.Address), when(c.Created), when(&c.Expires), when(c.Used), fmt.Sprint(c.Messages), c.Enctype, c.Key}
			if shared {
				row = slices.Insert(row, 2, orDash(c.Server))
			}
			rows = append(rows, row)
		}
		return ExitOK, table(s.Out, rows)
	}
}

// frozenText says since when a zone is frozen, and whether it is for the administrator too.
func frozenText(since *time.Time, sealed bool) string {
	if sealed {
		return when(since) + " for all"
	}
	return when(since)
}

// A freezing has updates of a zone refused or taken, by one step after the other.
type freezing []freezingStep

type freezingStep struct {
	name string // of the server's operation
	do   func(*zone.Zone, context.Context) (bool, error)
}

var (
	freezeClients = freezing{{"freeze", (*zone.Zone).Freeze}}
	freezeAll     = freezing{{"seal", (*zone.Zone).Seal}}
	unseal        = freezing{{"unseal", (*zone.Zone).Unseal}}
	thawClients   = freezing{{"thaw", (*zone.Zone).Thaw}}
	thawAll       = append(unseal, thawClients...)
)

// ask has the running server do it.
func (f freezing) ask(t *target, origin string) (z view.Zone, err error) {
	for _, step := range f {
		if z, err = call[view.Zone](t, step.name, view.ZoneRequest{Zone: origin}); err != nil {
			break
		}
	}
	return z, err
}

// do does it to an open zone.
func (f freezing) do(ctx context.Context, z *zone.Zone) error {
	for _, step := range f {
		if _, err := step.do(z, ctx); err != nil {
			return administration.ExplainThaw(z.Origin(), err)
		}
	}
	return nil
}

// freeze has the updates of a zone refused, thaw ends that.
func freeze(flags *flag.FlagSet) runner {
	all := flags.Bool("all", false, "refuse the administrator's own changes too")
	return freezeOrThaw(flags, func() freezing {
		if *all {
			return freezeAll
		}
		return freezeClients
	})
}

func thaw(flags *flag.FlagSet) runner {
	all := flags.Bool("all", false, "thaw a zone also that migrate or freeze -all has frozen for the administrator too, and so give a move up")
	return freezeOrThaw(flags, func() freezing {
		if *all {
			return thawAll
		}
		return thawClients
	})
}

func freezeOrThaw(flags *flag.FlagSet, operation func() freezing) runner {
	server := addControlFlags(flags)
	output := addOutputFlag(flags)
	return func(s Streams, words []string) (int, error) {
		origin, err := onlyZone(words)
		if err != nil {
			return 0, err
		}
		t, err := server.open(s)
		if err != nil {
			return 0, err
		}
		defer t.close()
		z, err := operation().ask(t, origin)
		if t.isStopped(err) {
			z, err = t.agree(origin, operation(), err)
		}
		if err != nil {
			return 0, err
		}
		if output.json {
			return ExitOK, printJSON(s.Out, z)
		}
		refused := "updates"
		if z.Sealed {
			refused = "all updates"
		}
		if z.Frozen != nil {
			_, err = fmt.Fprintf(s.Out, "zone %s is frozen at serial %d since %s: %s are refused, queries are answered\n", z.Zone, z.Serial, when(z.Frozen), refused)
		} else {
			_, err = fmt.Fprintf(s.Out, "zone %s is not frozen: updates %s\n", z.Zone, z.Updates)
		}
		return ExitOK, err
	}
}
