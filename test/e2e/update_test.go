//go:build e2e

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

var nsupdateClient = tested.Client{Name: "nsupdate", Package: "bind9-dnsutils"}

// TestHostRegistersItself is the main job: a real client adds its addresses and its reverse name, and dig shows them.
func TestHostRegistersItself(t *testing.T) {
	t.Parallel()
	tested.Path(t, nsupdateClient, "-g and -o: a host's addresses and reverse name")
	address := startSecure(t)
	ctx := testContext(t)
	client1 := logIn(t, host1)
	before := serial(t, address, forwardZone)
	for _, auth := range []string{"-g", "-o"} {
		for _, commands := range [][]string{
			{"update delete client1.example.test A", "update add client1.example.test 300 A 192.0.2.11",
				"update add client1.example.test 300 AAAA 2001:db8::11"},
			{"update add 11.2.0.192.in-addr.arpa 300 PTR client1.example.test."},
		} {
			outcome := nsupdate(ctx, t, address, auth, client1.env, commands...)
			if outcome.Rcode != "NOERROR" || !outcome.Signed {
				t.Fatalf("nsupdate %s %q: rcode %q, signed %v:\n%s", auth, commands, outcome.Rcode, outcome.Signed, outcome.Output)
			}
		}
	}
	for _, want := range []struct{ name, qtype, record string }{
		{"client1.example.test", "A", "client1.example.test.\t300\tIN\tA\t192.0.2.11"},
		{"client1.example.test", "AAAA", "client1.example.test.\t300\tIN\tAAAA\t2001:db8::11"},
		{"11.2.0.192.in-addr.arpa", "PTR", "11.2.0.192.in-addr.arpa. 300\tIN\tPTR\tclient1.example.test."},
	} {
		records, err := dnsutils.Dig(ctx, address, want.name, want.qtype)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) != 1 || records[0] != want.record {
			t.Errorf("dig %s %s: %q, want %q", want.name, want.qtype, records, want.record)
		}
	}
	if after := serial(t, address, forwardZone); after <= before {
		t.Errorf("the serial went from %d to %d", before, after)
	}
}

// TestUnsignedRefused also makes sure that a refusal does not tell what is in the zone.
func TestUnsignedRefused(t *testing.T) {
	t.Parallel()
	tested.Path(t, nsupdateClient, "unsigned, refused")
	address := startSecure(t)
	before := serial(t, address, forwardZone)
	outcome := nsupdate(testContext(t), t, address, "", nil, "update add anyone.example.test 300 A 192.0.2.66")
	if outcome.Rcode != "REFUSED" || outcome.Signed {
		t.Errorf("nsupdate without key: rcode %q, signed %v", outcome.Rcode, outcome.Signed)
	}
	for _, network := range []string{"udp", "tcp"} {
		m := add(t, forwardZone, "anyone.example.test. 300 A 192.0.2.66")
		m.NameUsed([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: "absent.example.test."}}})
		if reply := exchange(t, address, network, m); reply.Rcode != dns.RcodeRefused {
			t.Errorf("over %s, with a prerequisite that is not met: %s", network, dns.RcodeToString[reply.Rcode])
		}
	}
	expect(t, address, "anyone.example.test", dns.TypeA)
	if after := serial(t, address, forwardZone); after != before {
		t.Errorf("the serial went from %d to %d", before, after)
	}
}

// TestOwnership is the default rule of secure mode: who creates a name keeps it.
func TestOwnership(t *testing.T) {
	t.Parallel()
	address := startSecure(t)
	const name = "shared.example.test"
	owner := negotiated(t, logIn(t, host1), gssclient.Config{Server: address}, "tcp")
	otherLogin := logIn(t, host2)
	other := negotiated(t, otherLogin, gssclient.Config{Server: address}, "tcp")
	send := func(c *gssclient.Client, m *dns.Msg, want int) {
		t.Helper()
		for _, network := range []string{"udp", "tcp"} {
			reply, err := c.Exchange(network, m, gssclient.Misbehaviour{})
			if err != nil {
				t.Fatal(err)
			}
			if reply.Message.Rcode != want || reply.MIC != gssclient.MICOK {
				t.Fatalf("over %s: rcode %s, signature %s; want %s, ok", network, dns.RcodeToString[reply.Message.Rcode],
					reply.MIC, dns.RcodeToString[want])
			}
		}
	}
	send(owner, add(t, forwardZone, name+". 300 A 192.0.2.21"), dns.RcodeSuccess)
	send(other, add(t, forwardZone, name+". 300 A 192.0.2.22"), dns.RcodeRefused)
	send(other, remove(t, forwardZone, name), dns.RcodeRefused)
	expect(t, address, name, dns.TypeA, "192.0.2.21")

	outcome := nsupdate(testContext(t), t, address, "-g", otherLogin.env, "update add "+name+" 300 A 192.0.2.22")
	if outcome.Rcode != "REFUSED" || !outcome.Signed {
		t.Errorf("nsupdate: rcode %q, signed %v; want a signed REFUSED:\n%s", outcome.Rcode, outcome.Signed, outcome.Output)
	}

	// A message that does something permitted and something forbidden does nothing.
	send(other, add(t, forwardZone, "own.example.test. 300 A 192.0.2.22", name+". 300 A 192.0.2.22"), dns.RcodeRefused)
	expect(t, address, "own.example.test", dns.TypeA)

	// Ownership outlives the records.
	send(owner, remove(t, forwardZone, name), dns.RcodeSuccess)
	expect(t, address, name, dns.TypeA)
	send(other, add(t, forwardZone, name+". 300 A 192.0.2.22"), dns.RcodeRefused)
	send(owner, add(t, forwardZone, name+". 300 A 192.0.2.23"), dns.RcodeSuccess)
	expect(t, address, name, dns.TypeA, "192.0.2.23")

	// The machine whose own name it is gets it back from whoever came first.
	const client2 = "client2.example.test"
	send(owner, add(t, forwardZone, client2+". 300 A 192.0.2.24"), dns.RcodeSuccess)
	m := add(t, forwardZone, client2+". 300 A 192.0.2.25")
	m.Ns = append(remove(t, forwardZone, client2).Ns, m.Ns...)
	send(other, m, dns.RcodeSuccess)
	expect(t, address, client2, dns.TypeA, "192.0.2.25")
	send(owner, add(t, forwardZone, client2+". 300 A 192.0.2.24"), dns.RcodeRefused)
}

// TestModes runs the table of modes: who may update, and that a signed request gets a signed answer.
func TestModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []struct {
		name             string
		unsigned, signed int
	}{
		{"none", dns.RcodeRefused, dns.RcodeRefused},
		{"secure", dns.RcodeRefused, dns.RcodeSuccess},
		{"nonsecure-and-secure", dns.RcodeSuccess, dns.RcodeSuccess},
	} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			address := startSecure(t, "updates "+mode.name)
			client := negotiated(t, logIn(t, host1), gssclient.Config{Server: address}, "udp")
			reply, err := client.Exchange("udp", add(t, forwardZone, "signed.example.test. 300 A 192.0.2.31"), gssclient.Misbehaviour{})
			if err != nil {
				t.Fatal(err)
			}
			if reply.Message.Rcode != mode.signed || reply.MIC != gssclient.MICOK {
				t.Errorf("signed update: %s, signature %s", dns.RcodeToString[reply.Message.Rcode], reply.MIC)
			}
			unsigned := exchange(t, address, "udp", add(t, forwardZone, "unsigned.example.test. 300 A 192.0.2.32"))
			if unsigned.Rcode != mode.unsigned || unsigned.IsTsig() != nil {
				t.Errorf("unsigned update: %s", dns.RcodeToString[unsigned.Rcode])
			}
			// A name that a principal owns is closed to those without one.
			if mode.signed == dns.RcodeSuccess {
				owned := exchange(t, address, "udp", add(t, forwardZone, "signed.example.test. 300 A 192.0.2.33"))
				if owned.Rcode != dns.RcodeRefused {
					t.Errorf("unsigned update of an owned name: %s", dns.RcodeToString[owned.Rcode])
				}
				expect(t, address, "signed.example.test", dns.TypeA, "192.0.2.31")
			}
		})
	}
}

// TestMachineAccount has a client whose principal is a machine account, as in Active Directory.
func TestMachineAccount(t *testing.T) {
	t.Parallel()
	address := startSecure(t, "reclaim always")
	const account = "WORKSTATION1$"
	if err := shared.realm.AddPrincipal(account); err != nil {
		t.Fatal(err)
	}
	first := negotiated(t, logIn(t, host1), gssclient.Config{Server: address}, "udp")
	reply, err := first.Exchange("udp", add(t, forwardZone, "workstation1.example.test. 300 A 192.0.2.91"), gssclient.Misbehaviour{})
	if err != nil || reply.Message.Rcode != dns.RcodeSuccess {
		t.Fatalf("%+v, %v", reply, err)
	}
	// It is the machine's own name, whoever came first.
	outcome := nsupdate(testContext(t), t, address, "-g", logIn(t, account).env,
		"update delete workstation1.example.test A", "update add workstation1.example.test 1200 A 192.0.2.92")
	if outcome.Rcode != "NOERROR" || !outcome.Signed {
		t.Errorf("rcode %q, signed %v:\n%s", outcome.Rcode, outcome.Signed, outcome.Output)
	}
	expect(t, address, "workstation1.example.test", dns.TypeA, "192.0.2.92")
}

// TestSharedKeys has a key of the tsig plugin beside the tickets: what it signs is answered signed by it.
func TestSharedKeys(t *testing.T) {
	t.Parallel()
	tested.Path(t, nsupdateClient, "-y with a key of the tsig plugin")
	const key = "hmac-sha256:shared.example.test.:bm90IGEgc2VjcmV0LCBvbmx5IGEgdGVzdCdzIGtleQ=="
	const other = "hmac-sha256:shared.example.test.:YW5vdGhlciBvbmU="
	tsig := "    tsig {\n        secret shared.example.test. bm90IGEgc2VjcmV0LCBvbmx5IGEgdGVzdCdzIGtleQ==\n    }\n    log\n"
	address := startCoreDNS(t, server.Config{
		Corefile: strings.Replace(secureBlock("grant shared.example.test. zonesub ANY"), "    log\n", tsig, 1), Probe: forwardZone,
	}).Address
	run := func(key string) dnsutils.Outcome {
		outcome, err := dnsutils.Update{
			Server: address, Key: key, Commands: []string{"update add keyed.example.test 300 A 192.0.2.95"},
		}.Run(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		return outcome
	}
	if outcome := run(key); outcome.Rcode != "NOERROR" || !outcome.Signed {
		t.Errorf("rcode %q, signed %v:\n%s", outcome.Rcode, outcome.Signed, outcome.Output)
	}
	expect(t, address, "keyed.example.test", dns.TypeA, "192.0.2.95")
	if outcome := run(other); outcome.Rcode != "NOTAUTH" || outcome.Signed {
		t.Errorf("another secret: rcode %q, signed %v:\n%s", outcome.Rcode, outcome.Signed, outcome.Output)
	}
	// Tickets work beside it, and the rule is not for them.
	client := negotiated(t, logIn(t, host1), gssclient.Config{Server: address}, "tcp")
	reply, err := client.Exchange("udp", add(t, forwardZone, "keyed.example.test. 300 A 192.0.2.96"), gssclient.Misbehaviour{})
	if err != nil {
		t.Fatal(err)
	}
	if reply.Message.Rcode != dns.RcodeRefused || reply.MIC != gssclient.MICOK {
		t.Errorf("%s, signature %s", dns.RcodeToString[reply.Message.Rcode], reply.MIC)
	}
}

// TestKnsupdate updates by Knot's client with a shared key; GSS-TSIG it does not speak.
func TestKnsupdate(t *testing.T) {
	t.Parallel()
	ours := startBlock(t, forwardZone, []string{fmt.Sprintf("grant %s zonesub ANY", peerKey)}, []string{tsigLine}, nil)
	program, err := process.LookPath("knsupdate")
	if err != nil {
		t.Fatal(err)
	}
	for i, options := range [][]string{nil, {"-v"}} {
		tested.Path(t, tested.Client{Name: "knsupdate", Package: "knot-dnsutils"},
			strings.TrimSpace("-y with a key of the tsig plugin "+strings.Join(options, " ")))
		cmd := exec.CommandContext(testContext(t), program, append(options, "-y", "hmac-sha256:"+peerKey+":"+peerSecret)...)
		name := fmt.Sprintf("knot%d.example.test", i)
		cmd.Stdin = strings.NewReader(fmt.Sprintf("server %s %d\nzone %s\nupdate add %s. 300 A 192.0.2.97\nsend\n",
			ours.Address.Addr(), ours.Address.Port(), forwardZone, name))
		if output, err := cmd.CombinedOutput(); err != nil || len(output) > 0 {
			t.Errorf("knsupdate %v: %v\n%s", options, err, output)
		}
		expect(t, ours.Address, name, dns.TypeA, "192.0.2.97")
	}
}
