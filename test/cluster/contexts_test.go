//go:build e2e

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bodgit/tsig"
	"github.com/bodgit/tsig/gss"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/link"
	"github.com/gsstsig/coredns-gsstsig/internal/test/relay"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// front is one address in front of the servers: each datagram and each connection goes to the next of them.
type front struct {
	d *deployment
	*relay.Relay

	mu   sync.Mutex
	next int              // guarded by mu
	seen []relay.Exchange // guarded by mu
}

func (d *deployment) newFront() *front {
	d.t.Helper()
	f := &front{d: d}
	var err error
	if f.Relay, err = relay.Start(relay.Config{
		Pick: func() netip.AddrPort {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.next = (f.next + 1) % size
			return d.address(f.next)
		},
		Observe: func(e relay.Exchange) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.seen = append(f.seen, e)
		},
	}); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(f.Close)
	return f
}

// parted returns how many of the last messages that were signed in a context met another server than the TKEY query that
// made it, and forgets all.
func (f *front) parted() (parted, signed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	made := make(map[string]netip.AddrPort) // by key name
	for _, e := range f.seen {
		m := new(dns.Msg)
		if m.Unpack(e.Request) != nil || len(m.Question) != 1 {
			continue
		}
		if m.Question[0].Qtype == dns.TypeTKEY {
			made[strings.ToLower(m.Question[0].Name)] = e.Server
		}
		if sig := m.IsTsig(); sig != nil {
			signed++
			if made[strings.ToLower(sig.Hdr.Name)] != e.Server {
				parted++
			}
		}
	}
	f.seen = nil
	return parted, signed
}

// TestContextsThroughOneAddress has clients go to one address, behind which TKEY query and updates meet different servers.
func TestContextsThroughOneAddress(t *testing.T) {
	d := deploy(t, config{})
	f := d.newFront()
	config, err := shared.realm.Config()
	if err != nil {
		t.Fatal(err)
	}
	is := func(t *testing.T, name, want string) {
		t.Helper()
		for i := range size {
			d.until(name+" has "+want, func() error {
				answer, err := d.query(i, name, dns.TypeA)
				if err == nil && (len(answer.Answer) != 1 || answer.Answer[0].(*dns.A).A.String() != want) {
					err = fmt.Errorf("server %d: %v", i, answer.Answer)
				}
				return err
			})
		}
	}
	met := func(t *testing.T) {
		t.Helper()
		if parted, signed := f.parted(); parted == 0 {
			t.Errorf("all of %d signed messages met the server that made their context", signed)
		}
	}

	t.Run("nsupdate", func(t *testing.T) {
		cache, err := shared.realm.CCache("alice")
		if err != nil {
			t.Fatal(err)
		}
		env, err := shared.realm.Env(cache)
		if err != nil {
			t.Fatal(err)
		}
		for _, auth := range []string{"-g", "-o"} {
			tested.Path(t, tested.Client{Name: "nsupdate", Package: "bind9-dnsutils"}, auth+", through an address in front of three servers")
			name := "nsupdate" + auth + ".example.test."
			for i := range 6 {
				out, err := dnsutils.Update{Server: f.Address, Auth: auth, Env: env, Zone: zoneName, Commands: []string{
					"update delete " + name + " A", fmt.Sprintf("update add %s 300 A 192.0.2.%d", name, i),
				}}.Run(t.Context())
				if err != nil || out.Rcode != "NOERROR" || !out.Signed {
					t.Fatalf("%v: %+v", err, out)
				}
				is(t, name, fmt.Sprintf("192.0.2.%d", i))
			}
		}
		met(t)
	})

	t.Run("bodgit", func(t *testing.T) {
		text, err := os.ReadFile(config)
		if err != nil {
			t.Fatal(err)
		}
		keytab, err := shared.realm.Keytab(t.TempDir()+"/bob.keytab", "bob")
		if err != nil {
			t.Fatal(err)
		}
		tested.Path(t, tested.Client{Name: "bodgit/tsig, of Terraform's provider", Module: "github.com/bodgit/tsig"},
			"through an address in front of three servers")
		resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, d.address(0).String()) // so that look-ups do not take turns
		}}
		server := fmt.Sprintf("ns1.example.test:%d", f.Address.Port())
		for _, network := range []string{"udp", "tcp"} {
			for i := range 4 {
				// The library signs each message in a context with the same sequence number, so that it needs one for each.
				over := &dns.Client{Net: network, Dialer: &net.Dialer{Resolver: resolver}}
				c, err := gss.NewClient(over, gss.WithConfig(string(text)))
				if err != nil {
					t.Fatal(err)
				}
				key, _, err := c.NegotiateContextWithKeytab(server, realmName, "bob", keytab)
				if err != nil {
					t.Fatal(err)
				}
				over.TsigProvider = c
				m := new(dns.Msg).SetUpdate(zoneName)
				rr, err := dns.NewRR(fmt.Sprintf("bodgit-%s.example.test. 300 A 192.0.2.%d", network, i))
				if err != nil {
					t.Fatal(err)
				}
				m.RemoveRRset([]dns.RR{rr})
				m.Insert([]dns.RR{rr})
				m.SetTsig(key, tsig.GSS, 300, time.Now().Unix())
				reply, _, err := over.Exchange(m, server)
				if err != nil || reply.Rcode != dns.RcodeSuccess || reply.IsTsig() == nil {
					t.Fatalf("over %s: %v\n%v", network, err, reply)
				}
				is(t, rr.Header().Name, fmt.Sprintf("192.0.2.%d", i))
				if err := c.DeleteContext(key); err != nil {
					t.Error(err)
				}
			}
		}
		met(t)
	})

	t.Run("dnspython", func(t *testing.T) {
		cache, err := shared.realm.CCache("bob")
		if err != nil {
			t.Fatal(err)
		}
		env, err := shared.realm.Env(cache)
		if err != nil {
			t.Fatal(err)
		}
		tested.Path(t, tested.Client{Name: "dnspython", Package: "python3-dnspython"},
			"through an address in front of three servers, several updates in a context, with detection of sequence")
		const name = "dnspython.example.test."
		args := []string{"testdata/updates.py", f.Address.Addr().String(), fmt.Sprint(f.Address.Port()), "ns1.example.test", zoneName, name}
		for i := range 7 {
			args = append(args, fmt.Sprintf("192.0.2.%d", i))
		}
		python := exec.CommandContext(t.Context(), "/usr/bin/python3", args...)
		python.Env = env
		out, err := python.CombinedOutput()
		if err != nil || string(out) != strings.Repeat("NOERROR\n", 7) {
			t.Fatalf("%v: %s", err, out)
		}
		is(t, name, "192.0.2.6")
		met(t)
	})

	t.Run("own client", func(t *testing.T) {
		var done sync.WaitGroup
		for i := range 20 {
			done.Go(func() {
				c, err := client.Dial(t.Context(), client.Config{Server: f.Address.String(), Network: []string{"udp", "tcp"}[i%2],
					Credentials: shared.credentials["carol@"+realmName], ServicePrincipal: service})
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				key, err := c.Negotiate(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for j := range 4 {
					m := new(dns.Msg).SetUpdate(zoneName)
					rr, err := dns.NewRR(fmt.Sprintf("own%d.example.test. 300 A 192.0.2.%d", i, j))
					if err != nil {
						t.Error(err)
						return
					}
					m.Insert([]dns.RR{rr})
					if _, err := key.Update(t.Context(), m); err != nil {
						t.Errorf("client %d, update %d: %v", i, j, err)
					}
				}
				if err := key.Delete(t.Context()); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
			})
		}
		done.Wait()
		met(t)
	})
}

// exchangeAt sends octets to a server and returns what it answers.
func (d *deployment) exchangeAt(server int, wire []byte) ([]byte, error) {
	conn, err := net.Dial("tcp", d.address(server).String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	c := &dns.Conn{Conn: conn}
	if err := c.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return nil, err
	}
	if _, err := c.Write(wire); err != nil {
		return nil, err
	}
	reply := make([]byte, dns.MaxMsgSize)
	n, err := c.Read(reply)
	return reply[:n], err
}

// negotiate makes a context at a server.
func (d *deployment) negotiate(server int, principal string) *client.Context {
	d.t.Helper()
	key, err := d.newSender().key(server, principal+"@"+realmName)
	if err != nil {
		d.t.Fatal(err)
	}
	return key
}

// at sends an update in a context to a server. The error is a TSIGError if it refuses the key or the message.
func (d *deployment) at(server int, key *client.Context, record string) (wire []byte, err error) {
	d.t.Helper()
	m := new(dns.Msg).SetUpdate(zoneName)
	rr, err := dns.NewRR(record)
	if err != nil {
		d.t.Fatal(err)
	}
	m.Insert([]dns.RR{rr})
	wire, transaction, err := key.Sign(m)
	if err != nil {
		d.t.Fatal(err)
	}
	octets, err := d.exchangeAt(server, wire)
	if err != nil {
		return nil, err
	}
	reply, err := transaction.Verify(octets)
	if err == nil && reply.Rcode != dns.RcodeSuccess {
		err = fmt.Errorf("update: %s", dns.RcodeToString[reply.Rcode])
	}
	return wire, err
}

func isTSIG(err error, code int) bool {
	var refused *client.TSIGError
	return errors.As(err, &refused) && int(refused.Code) == code
}

// again sends a message again to a server, and wants it refused as one that came before.
func (d *deployment) again(server int, wire []byte) {
	d.t.Helper()
	octets, err := d.exchangeAt(server, wire)
	reply := new(dns.Msg)
	if err == nil {
		err = reply.Unpack(octets)
	}
	if sig := reply.IsTsig(); err != nil || reply.Rcode != dns.RcodeNotAuth || sig == nil || sig.Error != dns.RcodeBadSig || sig.MACSize != 0 {
		d.t.Errorf("again at server %d: %v\n%v", server, err, reply)
	}
}

// TestMessagesAgain: an update that a server has done is done by no other one, also after a restart, and one that changed
// nothing is no exception. That holds for contexts and for static keys.
func TestMessagesAgain(t *testing.T) {
	const secret = "c2VjcmV0IG9mIHRoZSB0ZXN0IGtleSwgMzIgb2N0ZXRz"
	d := deploy(t, config{
		inside: []string{"grant static.key. zonesub ANY", "grant " + realmName + " owner ."},
		beside: []string{"tsig {\n        secret static.key. " + secret + "\n    }"},
	})
	key := d.negotiate(0, "alice")
	changes, err := d.at(1, key, "again.example.test. 300 A 192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	nothing, err := d.at(2, key, "again.example.test. 300 A 192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg).SetUpdate(zoneName)
	rr, err := dns.NewRR("static.example.test. 300 A 192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	m.Insert([]dns.RR{rr})
	m.SetTsig("static.key.", dns.HmacSHA256, 300, time.Now().Unix())
	static, _, err := dns.TsigGenerate(m, secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	octets, err := d.exchangeAt(0, static)
	reply := new(dns.Msg)
	if err == nil {
		err = reply.Unpack(octets)
	}
	if err != nil || reply.Rcode != dns.RcodeSuccess {
		t.Fatalf("%v\n%v", err, reply)
	}
	everywhere := func() {
		t.Helper()
		for server := range size {
			for _, wire := range [][]byte{changes, nothing, static} {
				d.again(server, wire)
			}
		}
	}
	everywhere()
	for server := range size {
		if err := d.servers[server].Restart(d.ctx, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	everywhere()
	if _, err := d.at(0, key, "more.example.test. 300 A 192.0.2.1"); err != nil {
		t.Errorf("after the restarts: %v", err)
	}
	// With another name the server makes another connection to etcd.
	if err := d.servers[0].Reload(d.ctx, strings.Replace(d.corefile(0), "etcd_server ns0", "etcd_server renamed", 1)); err != nil {
		t.Fatal(err)
	}
	everywhere()
	later := d.negotiate(0, "alice")
	for server := range size {
		for _, key := range []*client.Context{key, later} {
			if _, err := d.at(server, key, fmt.Sprintf("more%d.example.test. 300 A 192.0.2.1", server)); err != nil {
				t.Errorf("at server %d after the reload: %v", server, err)
			}
		}
	}
}

// TestContextsEnd: a context that was deleted at one server is no key at the others, and a name that is taken anywhere is
// taken.
func TestContextsEnd(t *testing.T) {
	d := deploy(t, config{})
	for deleter := range size {
		key := d.negotiate(0, "alice")
		if _, err := d.at((deleter+1)%size, key, fmt.Sprintf("d%d.example.test. 300 A 192.0.2.1", deleter)); err != nil {
			t.Fatal(err)
		}
		c, err := client.Dial(t.Context(), client.Config{Server: d.address((deleter + 2) % size).String(), Network: "tcp", KeyName: key.KeyName(),
			Credentials: shared.credentials["bob@"+realmName], ServicePrincipal: service})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Negotiate(t.Context()); err == nil {
			t.Error("a name that is taken elsewhere makes a context")
		}
		c.Close()
		wire, _, err := key.Sign(deletion(key.KeyName()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.exchangeAt(deleter, wire); err != nil {
			t.Fatal(err)
		}
		for server := range size {
			d.until("the end", func() error {
				if _, err := d.at(server, key, "gone.example.test. 300 A 192.0.2.1"); !isTSIG(err, dns.RcodeBadKey) {
					return fmt.Errorf("server %d: %v", server, err)
				}
				return nil
			})
		}
	}
}

// deletion is a TKEY query of mode 5 (RFC 2930 section 4.2).
func deletion(name string) *dns.Msg {
	m := new(dns.Msg)
	m.Id = dns.Id()
	m.Question = []dns.Question{{Name: name, Qtype: dns.TypeTKEY, Qclass: dns.ClassANY}}
	m.Extra = []dns.RR{&dns.TKEY{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTKEY, Class: dns.ClassANY}, Algorithm: "gss-tsig.", Mode: 5}}
	return m
}

// TestContextsWithoutEtcd: at a server that is cut off, contexts that it knows and new ones are good; the new ones are good
// there alone.
func TestContextsWithoutEtcd(t *testing.T) {
	d := deploy(t, config{})
	known := d.negotiate(0, "alice")
	soa := func(server int, key *client.Context) error {
		wire, transaction, err := key.Sign(new(dns.Msg).SetQuestion(zoneName, dns.TypeSOA))
		if err != nil {
			return err
		}
		octets, err := d.exchangeAt(server, wire)
		if err != nil {
			return err
		}
		_, err = transaction.Verify(octets)
		return err
	}
	if err := soa(1, known); err != nil {
		t.Fatal(err)
	}
	d.cut(1, link.Both)
	alone := d.negotiate(1, "bob")
	for _, key := range []*client.Context{known, alone} {
		if err := soa(1, key); err != nil {
			t.Error(err)
		}
	}
	if err := soa(0, alone); !isTSIG(err, dns.RcodeBadKey) {
		t.Errorf("elsewhere: %v", err)
	}
	d.cut(1, 0)
	d.until("contexts are shared again", func() error {
		return soa(0, d.negotiate(1, "carol"))
	})
}

// TestContextsCommand: the administrator sees, at any server, the contexts of all, and drops them for all.
func TestContextsCommand(t *testing.T) {
	d := deploy(t, config{inside: []string{"control control.sock"}})
	kept, dropped := d.negotiate(0, "alice"), d.negotiate(2, "bob")
	if _, err := d.at(1, kept, "kept.example.test. 300 A 192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	d.until("both contexts are listed", func() error {
		_, out := d.command(1, "", "contexts", "-control", "control.sock")
		for _, words := range []string{"SERVER", "alice@" + realmName, "ns0", "bob@" + realmName, "ns2", "127.0.0.1:"} {
			if !strings.Contains(out, words) {
				return fmt.Errorf("no %q in\n%s", words, out)
			}
		}
		return nil
	})
	d.must(1, "", []string{"dropped 1:", "bob@" + realmName}, "contexts", "-control", "control.sock", "-drop", "bob@"+realmName)
	for server := range size {
		d.until("the end", func() error {
			if _, err := d.at(server, dropped, "dropped.example.test. 300 A 192.0.2.1"); !isTSIG(err, dns.RcodeBadKey) {
				return fmt.Errorf("server %d: %v", server, err)
			}
			return nil
		})
		if _, err := d.at(server, kept, "kept.example.test. 300 A 192.0.2.1"); err != nil {
			t.Errorf("server %d: %v", server, err)
		}
	}
}

// TestTransferInAContext: a transfer of several messages in a context of another server is right. The context is good at the
// server that answered it then, and BADKEY at others.
func TestTransferInAContext(t *testing.T) {
	const hosts = 3000
	var seed strings.Builder
	for i := range hosts {
		fmt.Fprintf(&seed, "h%d A 10.0.%d.%d\n", i, i>>8, i&255)
	}
	d := deploy(t, config{seed: seed.String(), inside: []string{"transfers alice@" + realmName}})
	key := d.negotiate(0, "alice")
	wire, transaction, err := key.Sign(new(dns.Msg).SetAxfr(zoneName))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", d.address(1).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream := &dns.Conn{Conn: conn}
	if err := stream.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Write(wire); err != nil {
		t.Fatal(err)
	}
	messages, records := 0, 0
	for octets := make([]byte, dns.MaxMsgSize); records < hosts+4; messages++ { // two SOA, NS and A more
		n, err := stream.Read(octets)
		if err != nil {
			t.Fatalf("after %d messages with %d records: %v", messages, records, err)
		}
		m, err := transaction.Verify(octets[:n])
		if err != nil {
			t.Fatalf("message %d: %v", messages, err)
		}
		records += len(m.Answer)
	}
	if messages < 2 {
		t.Errorf("%d messages", messages)
	}
	for server := range size {
		d.until("what the server knows by then", func() error {
			_, err := d.at(server, key, "after.example.test. 300 A 192.0.2.1")
			if server != 1 && isTSIG(err, dns.RcodeBadKey) {
				return nil
			} else if server != 1 || err != nil {
				return fmt.Errorf("server %d: %v", server, err)
			}
			return nil
		})
	}
}

// TestRotationOfTheKey: the service's key is replaced at one server after the other. A context is good at each that has the key
// of its ticket, and at the others as soon as they get it, without a restart.
func TestRotationOfTheKey(t *testing.T) {
	const rotated = "DNS/rotated.example.test"
	if err := shared.realm.AddPrincipal(rotated); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	before, err := shared.realm.Keytab(filepath.Join(dir, "before"), rotated)
	if err != nil {
		t.Fatal(err)
	}
	own, err := shared.realm.Keytab(filepath.Join(dir, "alice"), "alice")
	if err != nil {
		t.Fatal(err)
	}
	krb5Conf, err := shared.realm.Config()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := os.ReadFile(before)
	if err != nil {
		t.Fatal(err)
	}
	c := config{}
	for i := range size {
		c.keytabs = append(c.keytabs, filepath.Join(dir, fmt.Sprint("server", i)))
		if err := os.WriteFile(c.keytabs[i], keys, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := deploy(t, c)
	negotiate := func(server int) (*client.Context, error) {
		// With a ticket of its own.
		credentials, err := client.FromKeytab(krb5Conf, own, "alice")
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.Dial(t.Context(), client.Config{Server: d.address(server).String(), Network: "tcp", Credentials: credentials, ServicePrincipal: rotated})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c.Negotiate(t.Context())
	}
	good := func(server int, key *client.Context) {
		t.Helper()
		if _, err := d.at(server, key, "alices.example.test. 300 A 192.0.2.1"); err != nil {
			t.Errorf("server %d: %v", server, err)
		}
	}
	old, err := negotiate(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.realm.ChangeKeysInto(c.keytabs[1], rotated); err != nil {
		t.Fatal(err)
	}
	latest, err := negotiate(1)
	if err != nil {
		t.Fatal(err)
	}
	for server := range size {
		good(server, old)
		if server == 1 {
			good(server, latest)
			continue
		}
		if _, err := d.at(server, latest, "alices.example.test. 300 A 192.0.2.1"); !isTSIG(err, dns.RcodeBadKey) {
			t.Errorf("server %d, without the key: %v", server, err)
		}
		d.until("a line about the key", func() error {
			if said := d.servers[server].Log().String(); !strings.Contains(said, rotated+"@"+realmName+", key version") {
				return fmt.Errorf("server %d does not say which one it lacks", server)
			}
			return nil
		})
	}
	if keys, err = os.ReadFile(c.keytabs[1]); err != nil {
		t.Fatal(err)
	}
	for _, server := range []int{2, 0} {
		if err := os.WriteFile(c.keytabs[server], keys, 0o600); err != nil {
			t.Fatal(err)
		}
		d.until("the key", func() error {
			_, err := d.at(server, latest, "alices.example.test. 300 A 192.0.2.1")
			return err
		})
		good(server, old)
	}
}
