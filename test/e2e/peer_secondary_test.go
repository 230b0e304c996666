//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
	"github.com/gsstsig/coredns-gsstsig/internal/test/named"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// followedChanges is how many updates a secondary has to follow.
const followedChanges = 10_000

// largeSeed is a zone whose transfer takes several messages.
func largeSeed(records int) string {
	var b strings.Builder
	b.WriteString(seed("ns1.example.test") + "ns1 IN A 127.0.0.1\n")
	for i := range records {
		fmt.Fprintf(&b, "h%d IN A 10.%d.%d.%d\n", i, i>>16, i>>8&255, i&255)
	}
	return b.String()
}

// change sends unsigned updates to a server from several connections at once: each takes a record away and puts two there.
func change(t *testing.T, address netip.AddrPort, first, count int) {
	t.Helper()
	const connections = 8
	var next atomic.Int64
	next.Store(int64(first))
	var wait sync.WaitGroup
	for range connections {
		wait.Go(func() {
			conn, err := dns.DialTimeout("udp", address.String(), 10*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for {
				i := int(next.Add(1)) - 1
				if i >= first+count {
					return
				}
				m := new(dns.Msg).SetUpdate(forwardZone + ".")
				name := fmt.Sprintf("c%d.%s.", i%500, forwardZone)
				header := func(rrtype uint16) dns.RR_Header {
					return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: 60}
				}
				m.RemoveRRset([]dns.RR{&dns.A{Hdr: header(dns.TypeA)}})
				m.Insert([]dns.RR{
					&dns.A{Hdr: header(dns.TypeA), A: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i))},
					&dns.TXT{Hdr: header(dns.TypeTXT), Txt: []string{"change " + strconv.Itoa(i%50)}},
				})
				if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
					t.Error(err)
					return
				}
				if err := conn.WriteMsg(m); err != nil {
					t.Error(err)
					return
				}
				reply, err := conn.ReadMsg()
				if err != nil || reply.Id != m.Id || reply.Rcode != dns.RcodeSuccess {
					t.Errorf("update %d: %v, %v", i, reply, err)
					return
				}
			}
		})
	}
	wait.Wait()
}

var (
	gotWhole       = regexp.MustCompile(`got nonincremental response`)
	gotIncremental = regexp.MustCompile(`got incremental response`)
)

// TestSecondaryBIND has BIND follow ten thousand changes. The transfer plugin is configured with its address and port,
// sends NOTIFY there, and permits the transfers by the address alone. A reload of the server's configuration in between
// makes no difference, and neither does a kill of the server, since the log of changes is in the database.
func TestSecondaryBIND(t *testing.T) {
	t.Parallel()
	tested.Path(t, tested.Client{Name: "BIND", Package: "bind9"}, "secondary by NOTIFY, AXFR and IXFR, through a reload and two kills")
	// The server keeps its port when it is started again.
	port, peerPort := freePort(t), freePort(t)
	address := loopback.Address(port)
	zone := fmt.Sprintf("%s:%d", forwardZone, port)
	beside := []string{fmt.Sprintf("transfer {\n        to 127.0.0.1:%d\n    }", peerPort)}
	inside := []string{"file db " + forwardZone, "database " + t.TempDir(), "updates nonsecure-and-secure"}
	const other = ". {\n    bind 127.0.0.1\n    whoami\n}\n"
	start := func() *server.Server {
		return startCoreDNS(t, server.Config{Corefile: blockOf(zone, inside, beside) + other, Files: map[string]string{"db": largeSeed(2_000)}})
	}
	ours := start()
	secondary := startNamed(t, named.Config{
		Port: peerPort, Debug: 3, Memory: true,
		Zones: []named.Zone{{Name: forwardZone, Primary: address}},
	})
	until(t, "the first transfer", func() bool { return len(gotWhole.FindAllString(secondary.Log(), -1)) > 0 })
	caughtUp := func() {
		t.Helper()
		want := serial(t, address, forwardZone)
		until(t, "BIND catches up", func() bool { return serial(t, secondary.Address, forwardZone) == want })
	}
	began := time.Now()
	const part = followedChanges / 4
	change(t, address, 0, part)
	caughtUp()
	if err := ours.Reload(testContext(t), blockOf(zone, inside, append(beside, "log"))+other); err != nil {
		t.Fatal(err)
	}
	change(t, address, part, part)
	caughtUp()
	// The second time there are changes that BIND has not yet fetched. It sleeps meanwhile: BIND fetches the whole zone
	// after an incremental transfer that broke off, and that would hide whether the log of changes outlives the server.
	if err := secondary.Pause(); err != nil {
		t.Fatal(err)
	}
	ours.Kill()
	ours = start()
	change(t, address, 2*part, part)
	ours.Kill()
	start()
	if err := secondary.Continue(); err != nil {
		t.Fatal(err)
	}
	change(t, address, 3*part, part)
	caughtUp()
	records := sameZone(t, address, secondary.Address, forwardZone)
	if got := serial(t, secondary.Address, forwardZone); got <= followedChanges {
		t.Errorf("the serial is %d after %d changes", got, followedChanges)
	}
	said := secondary.Log()
	whole, incremental := len(gotWhole.FindAllString(said, -1)), len(gotIncremental.FindAllString(said, -1))
	if whole != 1 || incremental < 3 {
		t.Errorf("%d whole and %d incremental transfers; want 1 whole and the rest incremental", whole, incremental)
	}
	t.Logf("%d changes in %v by %d incremental transfers; %d records", followedChanges, time.Since(began), incremental, records)
}

// TestSecondaryCoreDNS has CoreDNS's own secondary plugin follow: it knows AXFR alone, and NOTIFY.
func TestSecondaryCoreDNS(t *testing.T) {
	t.Parallel()
	tested.Path(t, tested.Client{Name: "CoreDNS secondary", Module: "github.com/coredns/coredns"}, "by NOTIFY and AXFR")
	// It gets its port first, so that the primary can be told; and the primary's, by its environment.
	binary, err := shared.coredns()
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	ours := startBlock(t, forwardZone, []string{"file db " + forwardZone, "updates nonsecure-and-secure"},
		[]string{fmt.Sprintf("transfer {\n        to 127.0.0.1:%d\n    }", port)}, map[string]string{"db": largeSeed(5_000)})
	follower, err := server.Start(shared.ctx, server.Config{
		Binary: binary,
		Corefile: fmt.Sprintf("%[1]s:%[2]d {\n    bind 127.0.0.1\n    secondary {\n        transfer from %[3]v\n    }\n"+
			"    transfer {\n        to 127.0.0.1\n    }\n    errors\n}\n. {\n    bind 127.0.0.1\n    whoami\n}\n", forwardZone, port, ours.Address),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := follower.Stop(); err != nil {
			t.Error(err)
		}
	})
	address := netip.AddrPortFrom(ours.Address.Addr(), port)
	current := func() bool {
		reply := exchange(t, address, "udp", new(dns.Msg).SetQuestion(forwardZone+".", dns.TypeSOA))
		if len(reply.Answer) != 1 {
			return false
		}
		return reply.Answer[0].(*dns.SOA).Serial == serial(t, ours.Address, forwardZone)
	}
	until(t, "the first transfer", current)
	change(t, ours.Address, 0, 500)
	until(t, "CoreDNS catches up", current)
	sameZone(t, ours.Address, address, forwardZone)
}

// TestSignedTransfer fetches a zone of several messages signed: by the Go client's context, which is proven against
// BIND, and by dig with a shared key through the tsig plugin. It also asks for the differences.
func TestSignedTransfer(t *testing.T) {
	t.Parallel()
	const records = 20_000
	ours := startBlock(t, forwardZone, []string{"file db " + forwardZone, fmt.Sprintf("grant %s zonesub ANY", peerKey),
		fmt.Sprintf("grant %s krb5-subdomain . ANY", realmName)},
		[]string{"transfer {\n        to 127.0.0.1\n    }", tsigLine}, map[string]string{"db": largeSeed(records)})
	plain, first := transferred(t, ours.Address, forwardZone)
	if len(plain) != records+3 {
		t.Fatalf("%d records, want %d", len(plain), records+3)
	}

	t.Run("by a ticket", func(t *testing.T) {
		ctx := testContext(t)
		key, err := dialClient(t, client.Config{Server: ours.Address.String(), Credentials: keytabCredentials(t, host1)}).Negotiate(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var got []dns.RR
		for record, err := range key.Transfer(ctx, forwardZone) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, record)
		}
		onlyGot, onlyPlain := apart(canonicals(got), plain)
		if len(onlyGot)+len(onlyPlain) > 0 {
			t.Errorf("differs from an unsigned transfer: %q, %q", onlyGot, onlyPlain)
		}
		const updates = 3
		for range updates {
			if _, err := key.Update(ctx, addition(forwardZone+".")); err != nil {
				t.Fatal(err)
			}
		}
		count := 0
		for _, err := range key.Transfer(ctx, forwardZone, first) {
			if err != nil {
				t.Fatal(err)
			}
			count++
		}
		if count != 2+3*updates {
			t.Errorf("%d records of differences, want %d", count, 2+3*updates)
		}
		for record, err := range key.Transfer(ctx, forwardZone, first+updates) {
			if soa, ok := record.(*dns.SOA); err != nil || !ok || soa.Serial != first+updates {
				t.Errorf("nothing newer: %v, %v", record, err)
			}
		}
		var rcode *client.RcodeError
		for _, err := range key.Transfer(ctx, "below."+forwardZone) {
			if !errors.As(err, &rcode) {
				t.Errorf("a name that is no zone: %v", err)
			}
		}
	})

	t.Run("by a shared key", func(t *testing.T) {
		for _, test := range []struct {
			name, secret string
			right        bool
		}{{"dig verifies", peerSecret, true}, {"another secret", "YW5vdGhlciBvbmU=", false}} {
			output := digTransfer(t, ours.Address, "hmac-sha256:"+peerKey+":"+test.secret)
			count := len(regexp.MustCompile(`(?m)^h\d+\.example\.test\.`).FindAllString(output, -1))
			size := regexp.MustCompile(`XFR size: (\d+) records \(messages (\d+),`).FindStringSubmatch(output)
			bad := strings.Contains(output, "verify signature") || strings.Contains(output, "Transfer failed") ||
				strings.Contains(output, "TSIG verification failure")
			if !test.right {
				if !bad || count > 0 {
					t.Errorf("%s: %d records:\n%s", test.name, count, last(output, 20))
				}
				continue
			}
			if bad || count != records || size == nil {
				t.Fatalf("%s: %d records:\n%s", test.name, count, last(output, 20))
			}
			if messages, err := strconv.Atoi(size[2]); err != nil || messages < 3 {
				t.Errorf("%s: %s messages; the zone is to take several", test.name, size[2])
			}
			if !slices.ContainsFunc(strings.Split(output, "\n"), func(line string) bool {
				return strings.HasPrefix(line, peerKey) && strings.Contains(line, "\tTSIG\t")
			}) {
				t.Errorf("%s: no TSIG record:\n%s", test.name, last(output, 20))
			}
		}
	})
}

// digTransfer is what dig says of a transfer that it verifies by a key.
func digTransfer(t *testing.T, address netip.AddrPort, key string) string {
	t.Helper()
	path, err := process.LookPath("dig")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(testContext(t), path, "@"+address.Addr().String(), "-p", strconv.Itoa(int(address.Port())),
		"-y", key, forwardZone, "AXFR")
	output, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(output)
}
