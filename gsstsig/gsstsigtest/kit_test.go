//go:build e2e

package gsstsigtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/gsstsigtest"
	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

const timeout = 2 * time.Minute // of a test

// negotiate makes a context for one of the kit's clients.
func negotiate(t *testing.T, k *gsstsigtest.Kit, principal, network string) *client.Context {
	t.Helper()
	config, err := k.Krb5Config()
	if err != nil {
		t.Fatal(err)
	}
	keytab, err := k.Keytab(principal)
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := client.FromKeytab(config, keytab, principal)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	t.Cleanup(cancel)
	c, err := client.Dial(ctx, client.Config{
		Server: k.Address().String(), Network: network, Credentials: credentials, ServicePrincipal: k.Service(), Timeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	made, err := c.Negotiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Close)
	return made
}

// addition is an update that adds one address.
func addition(k *gsstsigtest.Kit, name, address string) *dns.Msg {
	m := new(dns.Msg).SetUpdate(k.Zone())
	rr, err := dns.NewRR(name + " 300 A " + address)
	if err != nil {
		panic(err)
	}
	m.Insert([]dns.RR{rr})
	return m
}

// TestUpdates has right updates done, and owned names kept, by both transports.
func TestUpdates(t *testing.T) {
	t.Parallel()
	const second = "host/second.kit.test"
	k := gsstsigtest.New(t, gsstsigtest.Config{Realm: "KIT.TEST", Zone: "kit.test", Host: "primary.kit.test", Clients: []string{"host/first.kit.test", second}})
	for i, network := range []string{"udp", "tcp"} {
		principal := k.Clients()[i]
		name := principal[len("host/"):]
		own := negotiate(t, k, principal, network)
		if _, err := own.Update(context.Background(), addition(k, name+".", "192.0.2.1")); err != nil {
			t.Errorf("%s: %v", network, err)
		}
		if got := k.Records(name, dns.TypeA); len(got) != 1 || got[0].(*dns.A).A.String() != "192.0.2.1" {
			t.Errorf("%s: %v", network, got)
		}
		if got := k.Owner(name); got != principal+"@KIT.TEST" {
			t.Errorf("%s belongs to %q", name, got)
		}
	}
	var refused *client.RcodeError
	_, err := negotiate(t, k, second, "udp").Update(context.Background(), addition(k, "first.kit.test.", "192.0.2.66"))
	if !errors.As(err, &refused) || refused.Rcode != dns.RcodeRefused {
		t.Errorf("another's name: %v", err)
	}
	ask := func(m *dns.Msg) *dns.Msg {
		t.Helper()
		r, err := dns.Exchange(m, k.Address().String())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for what, test := range map[string]struct {
		m     *dns.Msg
		rcode int
	}{
		"unsigned":        {addition(k, "third.kit.test.", "192.0.2.3"), dns.RcodeRefused},
		"a question":      {new(dns.Msg).SetQuestion("first.kit.test.", dns.TypeA), dns.RcodeSuccess},
		"of no name":      {new(dns.Msg).SetQuestion("none.kit.test.", dns.TypeA), dns.RcodeNameError},
		"of another zone": {new(dns.Msg).SetQuestion("example.org.", dns.TypeA), dns.RcodeRefused},
		"a notify":        {new(dns.Msg).SetNotify(k.Zone()), dns.RcodeNotImplemented},
		"no question":     {new(dns.Msg), dns.RcodeFormatError},
	} {
		if r := ask(test.m); r.Rcode != test.rcode {
			t.Errorf("%s: %s, want %s", what, dns.RcodeToString[r.Rcode], dns.RcodeToString[test.rcode])
		}
	}
	if soa := ask(new(dns.Msg).SetQuestion(k.Zone(), dns.TypeSOA)).Answer; len(soa) != 1 || soa[0].(*dns.SOA).Ns != "primary.kit.test." {
		t.Errorf("SOA %v", soa)
	}
	if _, err := k.Keytab(k.Service()); err == nil {
		t.Error("the server's key is given away")
	}
}

// TestUnsigned has the mode nonsecure-and-secure.
func TestUnsigned(t *testing.T) {
	t.Parallel()
	k := gsstsigtest.New(t, gsstsigtest.Config{Mode: policy.NonsecureAndSecure})
	r, err := dns.Exchange(addition(k, "any.example.test.", "192.0.2.1"), k.Address().String())
	if err != nil || r.Rcode != dns.RcodeSuccess || len(k.Records("any.example.test", dns.TypeA)) != 1 {
		t.Errorf("%v, %v", r, err)
	}
}

// TestFaults has each of them met by a client that finds it out, as often as
// was said, and by nsupdate.
func TestFaults(t *testing.T) {
	t.Parallel()
	k := gsstsigtest.New(t, gsstsigtest.Config{})
	principal := k.Clients()[0]
	env, err := k.Env(principal)
	if err != nil {
		t.Fatal(err)
	}
	tsig := func(code uint16, signed bool) func(error) bool {
		return func(err error) bool {
			var refusal *client.TSIGError
			return errors.As(err, &refusal) && refusal.Code == code && refusal.Verified == signed
		}
	}
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	for i, test := range []struct {
		name  string
		fault gsstsigtest.Fault
		found func(error) bool
		done  bool // the update
	}{
		{"wrong MAC", gsstsigtest.WrongMAC, is(client.ErrSignature), true},
		{"echoed MAC", gsstsigtest.EchoMAC, is(client.ErrSignature), true},
		{"expired context", gsstsigtest.ExpiredContext, tsig(dns.RcodeBadKey, false), false},
		{"bad time", gsstsigtest.BadTime, tsig(dns.RcodeBadTime, true), false},
		{"refused", gsstsigtest.Refused, func(err error) bool {
			var refused *client.RcodeError
			return errors.As(err, &refused) && refused.Rcode == dns.RcodeRefused
		}, false},
		{"slow", gsstsigtest.Slow(time.Minute), is(os.ErrDeadlineExceeded), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			met := k.Misbehaved()
			k.Misbehave(test.fault, 2)
			defer k.Misbehave(gsstsigtest.Fault{}, 0)
			name := fmt.Sprintf("c%d.example.test.", i)
			own := negotiate(t, k, principal, "udp")
			_, err := own.Update(context.Background(), addition(k, name, "192.0.2.1"))
			if !test.found(err) {
				t.Errorf("the client says: %v", err)
			}
			if done := len(k.Records(name, dns.TypeA)) == 1; done != test.done {
				t.Errorf("done: %v, want %v", done, test.done)
			}
			if n := k.Misbehaved() - met; n != 1 {
				t.Errorf("%d messages met it", n)
			}
			if test.name == "slow" {
				return // nsupdate waits for longer than a test should take
			}
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			update := dnsutils.Update{Server: k.Address(), Auth: "-g", Env: env, Commands: []string{"update add " + name + " 300 A 192.0.2.2"}}
			outcome, err := update.Run(ctx)
			if err != nil || outcome.Rcode == "NOERROR" && outcome.Signed {
				t.Errorf("nsupdate noticed nothing: %+v, %v", outcome, err)
			}
			// Twice was said; and from then on all is well.
			k.Misbehave(gsstsigtest.Fault{}, 0)
			if outcome, err = update.Run(ctx); err != nil || outcome.Rcode != "NOERROR" || !outcome.Signed {
				t.Errorf("afterwards: %+v, %v", outcome, err)
			}
		})
	}
	t.Run("by the count", func(t *testing.T) {
		k.Misbehave(gsstsigtest.Refused, 1)
		own := negotiate(t, k, principal, "tcp")
		for _, refused := range []bool{true, false, false} {
			if _, err := own.Update(context.Background(), addition(k, "count.example.test.", "192.0.2.1")); (err != nil) != refused {
				t.Errorf("%v; refused: %v", err, refused)
			}
		}
		k.Misbehave(gsstsigtest.Refused, 0)
		for range 3 {
			if _, err := own.Update(context.Background(), addition(k, "count.example.test.", "192.0.2.1")); err == nil {
				t.Error("not refused")
			}
		}
	})
}

// TestStops has nothing left when the context is over.
func TestStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	k, err := gsstsigtest.Start(ctx, gsstsigtest.Config{})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	address := k.Address().String()
	if _, err := dns.Exchange(new(dns.Msg).SetQuestion(k.Zone(), dns.TypeSOA), address); err != nil {
		t.Error(err)
	}
	cancel()
	k.Stop()
	c := &dns.Client{Net: "tcp", Timeout: time.Second}
	if _, _, err := c.Exchange(new(dns.Msg).SetQuestion(k.Zone(), dns.TypeSOA), address); err == nil {
		t.Error("still there")
	}
}

// TestErrors has a name that is none.
func TestErrors(t *testing.T) {
	t.Parallel()
	if k, err := gsstsigtest.Start(context.Background(), gsstsigtest.Config{Zone: "a..b"}); err == nil {
		k.Stop()
		t.Error("started")
	}
}
