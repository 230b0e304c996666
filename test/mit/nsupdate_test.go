//go:build e2e && linux

package mit

import (
	"fmt"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// The lines of nsupdate that tell it what it would find out by itself.
var (
	serverLine = "server " + nsAddress.Addr().String()
	zoneLine   = "zone " + zone
	realmLine  = "realm " + realm
)

// TestNsupdate runs nsupdate as the administrator in all the ways that it can be told, or not, where and how to update.
func TestNsupdate(t *testing.T) {
	s := newSite(t, "kdc1")
	client := s.add(t, "client1", 101)
	if err := client.WriteFile("/etc/krb5.conf", s.krb5Conf(), 0o644); err != nil {
		t.Fatal(err)
	}
	s.follow(t, "mit.md", client)
	name, count := "", 0
	update := func() string {
		count++
		name = fmt.Sprintf("u%d.example.test", count)
		return "update add " + name + " 300 A 10.78.0.200"
	}
	for _, row := range []struct {
		auth    string
		options []string
		lines   []string
		path    string
	}{
		{auth: "-g", path: "-g without server, zone and realm lines"},
		{auth: "-g", lines: []string{serverLine}, path: "-g with a server line"},
		{auth: "-g", lines: []string{zoneLine}, path: "-g with a zone line"},
		{auth: "-g", lines: []string{realmLine}, path: "-g with a realm line"},
		{auth: "-g", lines: []string{serverLine, zoneLine, realmLine}, path: "-g with all three lines"},
		{auth: "-g", options: []string{"-v"}, path: "-g -v"},
		{auth: "-o", path: "-o without server, zone and realm lines"},
		{auth: "-o", lines: []string{serverLine, zoneLine, realmLine}, path: "-o with all three lines"},
		{auth: "-o", options: []string{"-v"}, path: "-o -v"},
		{lines: []string{"gsstsig"}, path: "a gsstsig line"},
		{lines: []string{"oldgsstsig"}, path: "an oldgsstsig line"},
	} {
		t.Run(row.path, func(t *testing.T) {
			tested.Path(t, nsupdate, row.path)
			outcome := runNsupdate(t, client, dnsutils.Update{Auth: row.auth, Options: row.options, Commands: append(row.lines, update())})
			if outcome.Rcode != "NOERROR" || !outcome.Signed {
				t.Errorf("%s, signed %v:\n%s", outcome.Rcode, outcome.Signed, outcome.Output)
			}
			s.expect(t, name, dns.TypeA, "10.78.0.200")
		})
	}

	t.Run("several sends", func(t *testing.T) {
		tested.Path(t, nsupdate, "-g -v, several sends")
		var commands, names []string
		for range 3 {
			commands = append(commands, update(), "send")
			names = append(names, name)
		}
		runNsupdate(t, client, dnsutils.Update{Auth: "-g", Options: []string{"-v"}, Commands: commands})
		for _, name := range names {
			s.expect(t, name, dns.TypeA, "10.78.0.200")
		}
	})

	t.Run("50 in parallel", func(t *testing.T) {
		tested.Path(t, nsupdate, "-g, 50 in parallel")
		const parallel = 50
		var wait sync.WaitGroup
		for i := range parallel {
			wait.Go(func() {
				outcome := runNsupdate(t, client, dnsutils.Update{Auth: "-g", Commands: []string{
					fmt.Sprintf("update add parallel%d.example.test 300 A 10.78.1.%d", i, i),
				}})
				if outcome.Rcode != "NOERROR" || !outcome.Signed {
					t.Errorf("%d: %s, signed %v:\n%s", i, outcome.Rcode, outcome.Signed, outcome.Output)
				}
			})
		}
		wait.Wait()
		for i := range parallel {
			s.expect(t, fmt.Sprintf("parallel%d.example.test", i), dns.TypeA, fmt.Sprintf("10.78.1.%d", i))
		}
	})
}

// runNsupdate runs it on a machine, with the ticket that is there.
func runNsupdate(t *testing.T, on *node.Node, update dnsutils.Update) dnsutils.Outcome {
	t.Helper()
	update.Env, update.On = on.Env(), on.Run
	outcome, err := update.Run(testContext(t))
	if err != nil {
		t.Error(err)
	}
	return outcome
}
