//go:build e2e

package e2e

import (
	_ "embed"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/types"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// withClock is a login whose programs have a clock that is ahead, or behind where negative.
func withClock(t *testing.T, who login, ahead time.Duration) login {
	t.Helper()
	clock, err := realm.Clock(ahead)
	if err != nil {
		t.Fatal(err)
	}
	who.env = append(slices.Clone(who.env), clock...)
	return who
}

// TestClockOfTheClient has clients whose clocks are ten minutes off.
func TestClockOfTheClient(t *testing.T) {
	t.Parallel()
	const off, host = 10 * time.Minute, "ns.clock.test"
	// Its tickets are older than any of the clocks.
	r := startRealm(t, realm.Config{Name: "CLOCK.TEST", Clock: -2 * off}, "DNS/"+host, "host/a.clock.test")
	keytab := keytabOf(t, r, "DNS/"+host)
	strict := startCoreDNS(t, server.Config{Corefile: block("clock.test", keytab), Probe: "clock.test"})
	lenient := startCoreDNS(t, server.Config{Corefile: block("clock.test", keytab, "clockskew 15m"), Probe: "clock.test"})
	for _, test := range []struct {
		ahead time.Duration
		where string
	}{{off, "ahead of"}, {-off, "behind"}} {
		t.Run(test.where, func(t *testing.T) {
			t.Parallel()
			who := logInTo(t, r, "host/a.clock.test")
			if _, err := r.Ticket(who.cache, "DNS/"+host); err != nil {
				t.Fatal(err)
			}
			config := gssclient.Config{Server: strict.Address, Service: "DNS/" + host + "@CLOCK.TEST"}
			negotiated(t, who, config, "tcp")
			who = withClock(t, who, test.ahead)
			refusedHandshake(t, strict.Address, who, config.Service, "Clock skew too great")
			awaitLine(t, strict.Log(), 0, "result=badkey", "the clock of host/a.clock.test@CLOCK.TEST is ", test.where+" this server's",
				"more than the 5m0s allowed", "NTP")
			triesAgain(t, strict, who, host)

			// clockskew is about Kerberos' authenticator. For signatures, the client sets the permitted difference:
			// TSIG's fudge, of five minutes.
			config.Server = lenient.Address
			c := negotiated(t, who, config, "tcp")
			signedByWrongClock(t, c, "clock.test", test.ahead)
		})
	}
}

//go:embed testdata/gensec.py
var gensecClient string

// triesAgain has Samba's client ask for a context by its wrong clock. Its library, Heimdal, learns the server's time from the
// refusal and uses that from then on.
func triesAgain(t *testing.T, s *server.Server, who login, host string) {
	t.Helper()
	// Debian's own: modules of its packages are not seen by others.
	cmd := exec.CommandContext(testContext(t), "/usr/bin/python3", "-c", gensecClient,
		s.Address.Addr().String(), strconv.Itoa(int(s.Address.Port())), "CLOCK.TEST", host)
	cmd.Env = who.env
	said, err := cmd.CombinedOutput()
	if err != nil || string(said) != "error 17\nerror 0\nestablished\n" {
		t.Errorf("%v:\n%s", err, said)
	}
}

// signedByWrongClock has a client update by its clock, which is told so, and by the right one.
func signedByWrongClock(t *testing.T, c *gssclient.Client, zone string, ahead time.Duration) {
	t.Helper()
	message := add(t, zone, fmt.Sprintf("clock%d.%s. 300 A 192.0.2.1", ahead/time.Second, zone))
	reply, err := c.Exchange("udp", message, gssclient.Misbehaviour{})
	if err != nil {
		t.Fatal(err)
	}
	if reply.Message.Rcode != dns.RcodeNotAuth || reply.TSIGError != dns.RcodeBadTime || reply.MIC != gssclient.MICOK {
		t.Errorf("signed by a wrong clock: %s, TSIG error %d, signature %s", dns.RcodeToString[reply.Message.Rcode], reply.TSIGError, reply.MIC)
	}
	reply, err = c.Exchange("udp", message, gssclient.Misbehaviour{Skew: -ahead})
	if err != nil || reply.Message.Rcode != dns.RcodeSuccess || reply.MIC != gssclient.MICOK {
		t.Errorf("signed by a right clock: %+v, %v", reply, err)
	}
}

// TestClockLearnt has clients that log in while their clock is not their KDC's: they learn the difference from it
// (kdc_timesync of krb5.conf), and Kerberos goes by the KDC's clock from then on. Whether that helps depends on whose clock is
// right.
func TestClockLearnt(t *testing.T) {
	t.Parallel()
	const off = 10 * time.Minute
	for _, ahead := range []time.Duration{off, -off} {
		t.Run(fmt.Sprintf("client %v", ahead), func(t *testing.T) {
			t.Parallel()
			address := startSecure(t)
			cache, err := shared.realm.CCacheAt(ahead, host1)
			if err != nil {
				t.Fatal(err)
			}
			env, err := shared.realm.Env(cache)
			if err != nil {
				t.Fatal(err)
			}
			who := withClock(t, login{principal: host1, cache: cache, env: env}, ahead)
			// There is a context. The client's DNS side signs by the wrong clock all the same.
			signedByWrongClock(t, negotiated(t, who, gssclient.Config{Server: address}, "tcp"), forwardZone, ahead)
		})
		t.Run(fmt.Sprintf("KDC %v", ahead), func(t *testing.T) {
			t.Parallel()
			const host = "ns.kdc.test"
			r := startRealm(t, realm.Config{Name: "KDC.TEST", Clock: ahead}, "DNS/"+host, "host/a.kdc.test")
			s := startCoreDNS(t, server.Config{Corefile: block("kdc.test", keytabOf(t, r, "DNS/"+host)), Probe: "kdc.test"})
			cache, err := r.CCacheAt(0, "host/a.kdc.test")
			if err != nil {
				t.Fatal(err)
			}
			env, err := r.Env(cache)
			if err != nil {
				t.Fatal(err)
			}
			outcome := nsupdate(testContext(t), t, s.Address, "-g", env, "update add a.kdc.test 300 A 192.0.2.1")
			if outcome.Rcode != "" || !strings.Contains(outcome.Output, "TKEY is unacceptable") {
				t.Errorf("rcode %q:\n%s", outcome.Rcode, outcome.Output)
			}
			awaitLine(t, s.Log(), 0, "result=badkey", "the clock of host/a.kdc.test@KDC.TEST is ", "NTP")
		})
	}
}

// TestTicketsOutOfTime presents tickets that ended, and ones that are not valid yet, by a clock that is right. MIT's
// library would not do so; this project's client does as it is told.
func TestTicketsOutOfTime(t *testing.T) {
	t.Parallel()
	const life = time.Hour
	for _, test := range []struct {
		name  string
		clock time.Duration // of the KDC
		skew  time.Duration // that the server permits
		says  []string      // "" is a context
	}{
		{"ended an hour ago", -2 * time.Hour, 0, []string{"the ticket of host/a.late.test@LATE.TEST ended at", "kinit"}},
		{"valid in two hours", 2 * time.Hour, 0, []string{"the ticket of host/a.late.test@LATE.TEST is valid only from", "NTP"}},
		{"valid in two hours, by a clock that may be off so far", 2 * time.Hour, 3 * time.Hour, nil},
		{"of a KDC whose clock is a little ahead", 4 * time.Minute, 0, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const host = "ns.late.test"
			r := startRealm(t, realm.Config{Name: "LATE.TEST", Lifetime: life, Clock: test.clock}, "DNS/"+host, "host/a.late.test")
			var lines []string
			if test.skew != 0 {
				lines = append(lines, "clockskew "+test.skew.String())
			}
			s := startCoreDNS(t, server.Config{Corefile: block("late.test", keytabOf(t, r, "DNS/"+host), lines...), Probe: "late.test"})
			who := logInTo(t, r, "host/a.late.test")
			if _, err := r.Ticket(who.cache, "DNS/"+host); err != nil {
				t.Fatal(err)
			}
			c := dialClient(t, client.Config{
				Server: s.Address.String(), Credentials: client.FromTicket(ticketIn(t, who, "DNS/"+host)), ServicePrincipal: "DNS/" + host,
			})
			key, err := c.Negotiate(testContext(t))
			if test.says == nil {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := key.Update(testContext(t), addition("late.test.")); err != nil {
					t.Error(err)
				}
				return
			}
			if refusal := new(client.TKEYError); !errors.As(err, &refusal) || refusal.Code != dns.RcodeBadKey {
				t.Errorf("got %v", err)
			}
			awaitLine(t, s.Log(), 0, append(test.says, "result=badkey")...)
		})
	}
}

// ticketIn reads a service ticket out of a credential cache, whether it is valid or not.
func ticketIn(t *testing.T, who login, service string) client.ServiceTicket {
	t.Helper()
	cache, err := credentials.LoadCCache(who.cache)
	if err != nil {
		t.Fatal(err)
	}
	name, err := krb5.ParsePrincipal(service)
	if err != nil {
		t.Fatal(err)
	}
	entry, ok := cache.GetEntry(types.PrincipalName{NameType: 1, NameString: name.Components})
	if !ok {
		t.Fatalf("%s holds no ticket for %s", who.cache, service)
	}
	principal, err := krb5.ParsePrincipal(who.principal)
	if err != nil {
		t.Fatal(err)
	}
	ticket := client.ServiceTicket{SessionKey: entry.Key, Client: principal, Expires: time.Now().Add(time.Hour)}
	if err := ticket.Ticket.Unmarshal(entry.Ticket); err != nil {
		t.Fatal(err)
	}
	return ticket
}

// TestContextEndsWithItsTicket waits for a ticket's end: the reply to the handshake has told when that is.
func TestContextEndsWithItsTicket(t *testing.T) {
	t.Parallel()
	const host, life = "ns.short.test", 8 * time.Second
	r := startRealm(t, realm.Config{Name: "SHORT.TEST", Lifetime: life}, "DNS/"+host, "host/a.short.test")
	address := startCoreDNS(t, server.Config{Corefile: block("short.test", keytabOf(t, r, "DNS/"+host)), Probe: "short.test"}).Address
	began := time.Now()
	who := logInTo(t, r, "host/a.short.test")
	c := startClient(t, who, gssclient.Config{Server: address, Service: "DNS/" + host + "@SHORT.TEST"})
	handshake, err := c.Negotiate("tcp")
	if err != nil || !handshake.Established {
		t.Fatalf("%+v, %v", handshake, err)
	}
	if handshake.Expiration.After(began.Add(life + 2*time.Second)) {
		t.Errorf("a ticket of %v, begun at %v, for a context until %v", life, began, handshake.Expiration)
	}
	update(t, c, "udp", "short.test", "a.short.test. 300 A 192.0.2.1")
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for ctx := testContext(t); ; {
		asked := time.Now()
		reply, err := c.Exchange("udp", add(t, "short.test", "a.short.test. 300 A 192.0.2.2"), gssclient.Misbehaviour{})
		if err != nil {
			t.Fatal(err)
		}
		if reply.Message.Rcode == dns.RcodeNotAuth && reply.TSIGError == dns.RcodeBadKey {
			if time.Now().Before(handshake.Expiration) {
				t.Errorf("over before %v", handshake.Expiration)
			}
			return
		}
		if reply.Message.Rcode != dns.RcodeSuccess || reply.MIC != gssclient.MICOK || asked.After(handshake.Expiration.Add(time.Second)) {
			t.Fatalf("%v after the end: %s, TSIG error %d, signature %s", asked.Sub(handshake.Expiration),
				dns.RcodeToString[reply.Message.Rcode], reply.TSIGError, reply.MIC)
		}
		select {
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		case <-ticker.C:
		}
	}
}
