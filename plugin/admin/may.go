package admin

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/permission"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// may prints what the policy decides on an update of one record in the present state of the zone.
func may(flags *flag.FlagSet) runner {
	conf := flags.String("conf", "Corefile", "read the server's Corefile from `FILE`")
	deletion := flags.Bool("delete", false, "ask about the deletion of the RRset instead of the addition of a record")
	client := flags.String("client", "", "the update comes by TCP from `ADDRESS`, for the rules tcp-self, 6to4-self and owner")
	var groups list
	flags.Var(&groups, "group", "the principal is in the group `SID`; may be given several times")
	account := flags.String("account", "", "the principal's account in Active Directory is `NAME`; a machine's ends in $")
	sid := flags.String("sid", "", "the account has the `SID`, which is compared with that of owners")
	noPAC := flags.Bool("no-pac", false, "the ticket has no PAC, though others of its realm have one")
	output := addOutputFlag(flags)
	return func(s Streams, args []string) (int, error) {
		if len(args) < 3 {
			return 0, &usageError{"PRINCIPAL, NAME and TYPE are needed"}
		}
		for _, group := range groups {
			if !strings.HasPrefix(group, "S-1-") {
				return 0, &usageError{fmt.Sprintf("-group %q is not a SID, such as S-1-5-21-1-2-3-512", group)}
			}
		}
		if *sid != "" && !strings.HasPrefix(*sid, "S-1-") {
			return 0, &usageError{fmt.Sprintf("-sid %q is not a SID, such as S-1-5-21-1-2-3-1104", *sid)}
		}
		if *noPAC && (*account != "" || *sid != "" || len(groups) > 0) {
			return 0, &usageError{"a ticket with -no-pac tells no -account, -sid and -group"}
		}
		id, err := permission.Identity(args[0], *client, groups)
		if err != nil {
			return 0, &usageError{err.Error()}
		}
		if id.Kind == policy.Kerberos {
			id.Account, id.SID, id.HasPAC, id.RealmNamesAccounts = *account, *sid, !*noPAC, *noPAC
		}
		if _, err := nameWord("name", args[1]); err != nil {
			return 0, err
		}
		name := dns.Fqdn(args[1])
		update, err := permission.Change(name, args[2], args[3:], *deletion)
		if err != nil {
			return 0, &usageError{err.Error()}
		}
		servers, err := corefile.ReadFile(*conf)
		if err != nil {
			return 0, err
		}
		block, origin, err := blockOf(servers, name)
		if err != nil {
			return 0, err
		}
		decision, err := decide(block, origin, id, update)
		if err != nil {
			return 0, err
		}
		result := permission.View(origin, id, update, decision)
		if block.Database != "" && !block.HasDatabase(origin) {
			result.Notes = append(result.Notes, fmt.Sprintf("there is no database %s, so this is the answer on %s. Fix: correct the property database, or start the server, which makes the database",
				block.DatabaseOf(origin), seedWords(block, origin)))
		}
		if block.Database == "" && !block.OnEtcd() {
			result.Notes = append(result.Notes, fmt.Sprintf("zone %s has no database and is in memory only: what a running server has changed is not known here, owners included", origin))
		}
		if output.json {
			err = printJSON(s.Out, result)
		} else {
			err = printDecision(s.Out, result)
		}
		if result.Permitted {
			return ExitOK, err
		}
		return ExitNo, err
	}
}

// printDecision prints a decision as a sentence, and what to do about a refusal.
func printDecision(w io.Writer, d view.Decision) error {
	verb := "may not"
	if d.Permitted {
		verb = "may"
	}
	text := fmt.Sprintf("%s %s %s", d.Identity, verb, d.Update)
	if d.Rule != "" && d.Rule != policy.NoRule {
		text += ", by " + d.Rule
	}
	text += "\n"
	if d.Reason != "" {
		text += "Reason: " + d.Reason + "\n"
	}
	if d.Fix != "" {
		text += "Fix: " + d.Fix + "\n"
	}
	for _, note := range d.Notes {
		text += "note: " + note + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// seedWords says what a zone begins with.
func seedWords(s *service.Service, origin string) string {
	from, _ := s.Seed(origin, nil, func(diagnose.Finding) {})
	return "what the zone begins with, " + from
}

// blockOf returns the service of the block that has a name, and the name's zone.
func blockOf(servers []corefile.Server, name string) (*service.Service, string, error) {
	var block *corefile.Block
	var origin string
	for _, server := range servers {
		for _, o := range server.Origins {
			if dns.IsSubDomain(o, name) && len(o) > len(origin) {
				block, origin = server.Block, o
			}
		}
	}
	if block == nil {
		return nil, "", fmt.Errorf("%s is in no zone of a gsstsig block", name)
	}
	found, err := service.Open(block)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", block.Position, block.Explain(err))
	}
	return found, origin, nil
}

// decide returns the decision on an update, on a copy of the zone.
func decide(s *service.Service, origin string, id policy.Identity, update []dns.RR) (zone.Decision, error) {
	z, err := copyOf(s, origin, nil, func(diagnose.Finding) {})
	if err != nil {
		return zone.Decision{}, err
	}
	defer z.Close()
	others := sync.OnceValue(func() []*zone.Snapshot { return othersOf(s, origin) })
	rules, err := s.Policy(origin, []string{z.Snapshot().SOA().Ns}, func(name []byte) string { return ownerOf(s, name) }, func(name []byte) bool {
		return slices.ContainsFunc(others(), func(other *zone.Snapshot) bool { return other.LeadsTo(name) })
	})
	if err != nil {
		return zone.Decision{}, err
	}
	return permission.Decide(s.Realms, rules, z, id, update)
}

// othersOf returns the block's zones but one, as far as they can be read.
func othersOf(s *service.Service, origin string) (others []*zone.Snapshot) {
	for _, other := range s.Origins {
		if other == origin {
			continue
		}
		if z, err := copyOf(s, other, nil, func(diagnose.Finding) {}); err == nil {
			others = append(others, z.Snapshot())
			_ = z.Close() // a copy, in memory
		}
	}
	return others
}

// ownerOf returns the recorded owner of a name with records in the databases of the block's zones, or "".
func ownerOf(s *service.Service, name []byte) string {
	text := dnswire.NameText(name)
	origin := s.ZoneOf(text)
	if origin == "" || !s.HasDatabase(origin) && !s.OnEtcd() {
		return ""
	}
	h, err := homeOf(s.Block, origin)
	if err != nil {
		return ""
	}
	snapshot, err := h.read()
	if err != nil {
		return ""
	}
	if owner, _ := snapshot.Owner(text); owner.Deleted.IsZero() {
		return owner.Principal
	}
	return ""
}
