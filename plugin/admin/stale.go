package admin

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/administration"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// duration is a flag in the words of TTLs, such as 7d.
type duration uint32

// String implements flag.Value.
func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return fmt.Sprint(uint32(*d))
}

// Set implements flag.Value.
func (d *duration) Set(v string) error {
	if err := needsUnit(v); err != nil {
		return err
	}
	seconds, err := dnswire.ParseTTL(v)
	if err != nil {
		return errors.New("must be a time such as 12h or 7d")
	}
	*d = duration(seconds)
	return nil
}

// needsUnit refuses a number without unit, which is seconds in a TTL and most likely days here.
func needsUnit(v string) error {
	if strings.Trim(v, "0") != "" && strings.Trim(v, "0123456789") == "" {
		return fmt.Errorf("write a unit, such as %sd", v)
	}
	return nil
}

// intervals is a flag of the two intervals of aging.
type intervals struct{ noRefresh, refresh *uint32 }

// String implements flag.Value.
func (i *intervals) String() string { return "" }

// Set implements flag.Value.
func (i *intervals) Set(v string) error {
	first, second, found := strings.Cut(v, ",")
	for _, word := range []string{first, second} {
		if err := needsUnit(word); err != nil {
			return err
		}
	}
	noRefresh, err1 := dnswire.ParseTTL(first)
	refresh, err2 := dnswire.ParseTTL(second)
	if !found || errors.Join(err1, err2) != nil || uint64(noRefresh)+uint64(refresh) == 0 {
		return errors.New("must be two times such as 7d,7d")
	}
	i.noRefresh, i.refresh = &noRefresh, &refresh
	return nil
}

// stale prints what aging takes, and when.
func stale(flags *flag.FlagSet) runner {
	server := addControlFlags(flags)
	var in duration
	flags.Var(&in, "in", "print also records that become stale within `TIME`, such as 7d")
	var preview intervals
	flags.Var(&preview, "intervals", "preview what aging would remove with the intervals `NO-REFRESH,REFRESH`, such as 7d,7d")
	output := addOutputFlag(flags)
	return func(s Streams, words []string) (int, error) {
		origin, err := onlyZone(words)
		if err != nil {
			return 0, err
		}
		q := view.StaleRequest{Zone: origin, In: uint32(in), NoRefresh: preview.noRefresh, Refresh: preview.refresh}
		t, err := server.open(s)
		if err != nil {
			return 0, err
		}
		defer t.close()
		list, err := call[view.StaleList](t, "stale", q)
		stopped := t.isStopped(err)
		if stopped {
			list, err = t.stale(q, err)
		}
		if err != nil {
			return 0, err
		}
		if output.json {
			return ExitOK, printJSON(s.Out, list)
		}
		if list.Preview {
			fmt.Fprintf(s.Out, "preview with the intervals %s and %s, which the zone %s does not have now\n", interval(list.NoRefresh), interval(list.Refresh), list.Zone)
		}
		rows := [][]string{{"DUE", "NAME", "TTL", "TYPE", "DATA", "LAST SEEN", "OWNER"}}
		if len(list.Stale) == 0 {
			rows = [][]string{{"no record is stale"}}
			if in > 0 {
				rows = [][]string{{"no record is stale, or becomes so within " + interval(uint32(in))}}
			}
		}
		for _, r := range list.Stale {
			rows = append(rows, []string{when(&r.Due), r.Name, fmt.Sprint(r.Record.TTL), r.Record.Type, r.Record.Data, hour(r.Record.Refreshed), orDash(r.Owner)})
		}
		if err := table(s.Out, rows); err != nil {
			return 0, err
		}
		switch {
		case list.Preview:
			fmt.Fprintf(s.Out, "aging with these intervals would take nothing in its first %s, so that clients can refresh their records\n", interval(list.Refresh))
		case stopped:
			fmt.Fprintf(s.Out, "nothing is taken before the server has run for %s, so that clients can refresh their records\n", interval(list.Refresh))
		case list.Frozen:
			fmt.Fprintf(s.Out, "the zone is frozen: nothing is taken before it was thawed, and %s after that, so that clients can refresh their records\n", interval(list.Refresh))
		case list.From != nil:
			fmt.Fprintf(s.Out, "nothing is taken before %s, so that clients can refresh their records\n", when(list.From))
		}
		return ExitOK, nil
	}
}

// stale lists what is stale in a database.
func (t *target) stale(q view.StaleRequest, reason error) (view.StaleList, error) {
	origin := dns.CanonicalName(q.Zone)
	snapshot, err := t.snapshot(origin, reason)
	if err != nil {
		return view.StaleList{}, err
	}
	block, err := t.block(origin)
	if err != nil {
		return view.StaleList{}, err
	}
	return administration.Stale(snapshot, block.Aging(origin), &q, time.Now())
}

// scavenge has the server take what is stale now.
func scavenge(flags *flag.FlagSet) runner {
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
		done, err := call[view.Scavenged](t, "scavenge", view.ZoneRequest{Zone: origin})
		if err != nil {
			return 0, err
		}
		if output.json {
			return ExitOK, printJSON(s.Out, done)
		}
		fmt.Fprintf(s.Out, "zone %s: %s removed\n", done.Zone, count(done.Removed, "record"))
		if done.Waiting > 0 {
			fmt.Fprintf(s.Out, "%s stale and not removed before %s, so that clients can refresh them\n", agree(done.Waiting, "more is", "more are"), when(done.From))
		}
		return ExitOK, nil
	}
}
