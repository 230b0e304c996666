//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/named"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	"github.com/gsstsig/coredns-gsstsig/zone/policy/policytest"
)

// senders are those that the tables of rules name, each with what it signs with.
type senders struct {
	keytab      string                         // with a key of the service in each realm
	krb5Config  string                         // of the first realm
	credentials map[string]*client.Credentials // by principal
	keys        map[string]string              // shared keys without final dot: name to secret
}

// newSenders starts a realm for each that the tables name, and makes their principals.
func newSenders(t *testing.T, policies []policytest.Policy) *senders {
	t.Helper()
	principals := make(map[string]map[string]bool) // by realm, without it
	s := &senders{keytab: filepath.Join(t.TempDir(), "dns.keytab"), credentials: make(map[string]*client.Credentials), keys: make(map[string]string)}
	for _, p := range policies {
		for _, c := range p.Cases {
			switch at := strings.LastIndexByte(c.Who, '@'); {
			case at >= 0:
				if principals[c.Who[at+1:]] == nil {
					principals[c.Who[at+1:]] = make(map[string]bool)
				}
				principals[c.Who[at+1:]][c.Who[:at]] = true
			case c.Who != "anonymous":
				s.keys[strings.ToLower(strings.TrimSuffix(c.Who, "."))] = peerSecret
			}
		}
	}
	var mu sync.Mutex // guards s, and that one realm at a time writes the keytab
	var wait sync.WaitGroup
	for name, local := range principals {
		wait.Go(func() {
			r, err := realm.Start(shared.ctx, realm.Config{Name: name})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(r.Stop)
			for _, principal := range append(slices.Sorted(maps.Keys(local)), service) {
				if err := r.AddPrincipal(principal); err != nil {
					t.Errorf("%s in %s: %v", principal, name, err)
					return
				}
			}
			keytab, err := r.Keytab("clients.keytab", slices.Sorted(maps.Keys(local))...)
			if err != nil {
				t.Error(err)
				return
			}
			config, err := r.Config()
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if _, err := r.Keytab(s.keytab, service); err != nil {
				t.Error(err)
			}
			if name == realmName {
				s.krb5Config = config
			}
			for principal := range local {
				if s.credentials[principal+"@"+name], err = client.FromKeytab(config, keytab, principal+"@"+name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return s
}

// policyServer is a server that has one policy on one port.
type policyServer struct {
	senders  *senders
	port     uint16
	contexts map[string]*client.Context // by principal
}

// allows sends a case's update with a prerequisite that nothing meets. Rules come before prerequisites, so that NXDOMAIN
// is the answer to who may change the zone, and the zone stays as it is.
func (j *policyServer) allows(ctx context.Context, origin string, c policytest.Case) (bool, error) {
	m := new(dns.Msg).SetUpdate(origin)
	m.NameUsed([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: "never.there." + origin}}})
	m.Ns = c.Update
	address := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), j.port)
	if c.Client.Is6() {
		address = netip.AddrPortFrom(netip.IPv6Loopback(), j.port)
	}
	var wire []byte
	var verify func(reply []byte) error
	var err error
	switch {
	case strings.Contains(c.Who, "@"):
		key, err := j.context(ctx, c.Who)
		if err != nil {
			return false, err
		}
		var transaction *client.Transaction
		if wire, transaction, err = key.Sign(m); err != nil {
			return false, err
		}
		verify = func(reply []byte) error { _, err := transaction.Verify(reply); return err }
	case c.Who != "anonymous":
		var mac string
		m.SetTsig(c.Who, dns.HmacSHA256, 300, time.Now().Unix())
		if wire, mac, err = dns.TsigGenerate(m, peerSecret, "", false); err != nil {
			return false, err
		}
		verify = func(reply []byte) error { return dns.TsigVerify(reply, peerSecret, mac, false) }
	default:
		if wire, err = m.Pack(); err != nil {
			return false, err
		}
		verify = func([]byte) error { return nil }
	}
	received, err := exchangeFrom(ctx, c.Client, address, c.TCP, wire)
	if err != nil {
		return false, err
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(received); err != nil {
		return false, err
	}
	if err := verify(received); err != nil {
		return false, fmt.Errorf("%s: %w", dns.RcodeToString[reply.Rcode], err)
	}
	switch reply.Rcode {
	case dns.RcodeNameError:
		return true, nil
	case dns.RcodeRefused:
		return false, nil
	}
	return false, fmt.Errorf("answered %s", dns.RcodeToString[reply.Rcode])
}

// context is the one that a principal has with the server.
func (j *policyServer) context(ctx context.Context, principal string) (*client.Context, error) {
	if key := j.contexts[principal]; key != nil {
		return key, nil
	}
	_, name, _ := strings.Cut(principal, "@")
	c, err := client.Dial(ctx, client.Config{
		Server: fmt.Sprintf("127.0.0.1:%d", j.port), Credentials: j.senders.credentials[principal], ServicePrincipal: service + "@" + name,
	})
	if err != nil {
		return nil, err
	}
	key, err := c.Negotiate(ctx)
	if err == nil {
		j.contexts[principal] = key
	}
	return key, err
}

// exchangeFrom sends a packed message from the given address of this machine.
func exchangeFrom(ctx context.Context, from netip.Addr, to netip.AddrPort, tcp bool, wire []byte) ([]byte, error) {
	dialer := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: 10 * time.Second}
	network := "udp"
	if tcp {
		network, dialer.LocalAddr = "tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	raw, err := dialer.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, err
	}
	conn := &dns.Conn{Conn: raw, UDPSize: dns.MaxMsgSize}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	return conn.ReadMsgHeader(nil)
}

// TestPolicyAsBIND puts the tables of rules to BIND and to the server, by the wire. What is listed in the tables with a
// reason, BIND decides the other way.
func TestPolicyAsBIND(t *testing.T) {
	t.Parallel()
	policies, err := policytest.Tables()
	if err != nil {
		t.Fatal(err)
	}
	s := newSenders(t, policies)

	// One server has a block for each policy, on a port of its own.
	var corefile, secrets strings.Builder
	for name, secret := range s.keys {
		fmt.Fprintf(&secrets, "        secret %s. %s\n", name, secret)
	}
	files := make(map[string]string)
	var ports []string
	for i, p := range policies {
		file := "db." + p.Origin
		files[file] = policytest.Seeds[p.Origin]
		ports = append(ports, fmt.Sprintf("POLICY_%d", i))
		fmt.Fprintf(&corefile, "%s:{$%s} {\n    bind 127.0.0.1 ::1\n    gsstsig {\n        keytab %s\n        file %s %s\n        %s\n    }\n    tsig {\n%s    }\n    errors\n}\n",
			p.Origin, ports[i], s.keytab, file, p.Origin, strings.Join(p.Rules, "\n        "), secrets.String())
	}
	ours := startCoreDNS(t, server.Config{Corefile: corefile.String() + ". {\n    bind 127.0.0.1\n    whoami\n}\n", Files: files, Ports: ports})

	ctx := testContext(t)
	const atOnce = 3
	slots := make(chan struct{}, atOnce)
	var mu sync.Mutex
	cases, reasons := 0, make(map[string]int)
	var wait sync.WaitGroup
	for i, p := range policies {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			bind, err := named.Start(ctx, named.Config{
				Keytab: s.keytab, Krb5Config: s.krb5Config, Keys: s.keys, IPv6: true, Memory: true, Options: "empty-zones-enable no;",
				Zones: []named.Zone{{
					Name: p.Origin, Text: policytest.Seeds[p.Origin], Policy: strings.Join(p.Rules, "; ") + ";",
					Statement: "check-names ignore; check-integrity no;",
				}},
			})
			if err != nil {
				t.Errorf("%s:%d: %v", p.File, p.Line, err)
				return
			}
			defer bind.Stop()
			us := &policyServer{senders: s, port: ours.Port(ports[i]).Port(), contexts: make(map[string]*client.Context)}
			peer := &policyServer{senders: s, port: bind.Address.Port(), contexts: make(map[string]*client.Context)}
			for _, c := range p.Cases {
				allowed, err := us.allows(ctx, p.Origin, c)
				if err != nil || allowed != c.Allow {
					t.Errorf("%s:%d: %s: allowed %v: %v", c.File, c.Line, c.Text, allowed, err)
				}
				reason := c.BIND
				allowed, err = peer.allows(ctx, p.Origin, c)
				if err != nil && c.Update[0].Header().Rrtype == dns.TypeNSEC3 {
					reason = "answers SERVFAIL, not signed, to an NSEC3 record without types"
				} else if err != nil || allowed != (c.Allow != (c.BIND != "")) {
					t.Errorf("%s:%d: %s: BIND allows %v: %v", c.File, c.Line, c.Text, allowed, err)
				}
				mu.Lock()
				cases++
				if reason != "" {
					reasons[reason]++
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if cases < 300 {
		t.Errorf("%d cases", cases)
	}
	t.Logf("%d policies, %d cases", len(policies), cases)
	for reason, count := range reasons {
		t.Logf("%d cases: BIND %s", count, strings.TrimPrefix(reason, "BIND "))
	}
}
