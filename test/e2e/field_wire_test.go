//go:build e2e

package e2e

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/pires/go-proxyproto"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// sendWire sends octets from an address and returns the octets of the reply. UDP and TCP alike.
func sendWire(t *testing.T, from netip.Addr, to netip.AddrPort, network string, wire []byte) []byte {
	t.Helper()
	dialer := net.Dialer{Timeout: 10 * time.Second}
	if network == "udp" {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	} else {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	conn, err := dialer.DialContext(testContext(t), network, to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := &dns.Conn{Conn: conn, UDPSize: dns.MaxMsgSize}
	if _, err := c.Write(wire); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, dns.MaxMsgSize)
	n, err := c.Read(reply)
	if err != nil {
		t.Fatal(err)
	}
	return reply[:n]
}

var loopbackAddress = netip.MustParseAddr("127.0.0.1")

// TestTSIGOutOfPlace sends messages with a right signature and something that must not be there: a second one, or a record
// behind it (RFC 8945 5.1). None of them is acted on, and none harms the key.
func TestTSIGOutOfPlace(t *testing.T) {
	t.Parallel()
	address := startSecure(t)
	c := dialClient(t, client.Config{Server: address.String(), Credentials: keytabCredentials(t, host1)})
	key, err := c.Negotiate(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	// What is behind the last record counted is not part of the message, as for BIND: it is an unsigned one.
	const uncounted = "not in the counts"
	// One that an UPDATE may have there, if it stood in front.
	behind := packed(t, rr(t, "behind.example.test. 300 A 192.0.2.1"))
	for _, test := range []struct {
		name   string
		change func(wire []byte, tsig []byte) []byte
	}{
		{"two TSIG records", func(wire, tsig []byte) []byte { return counted(append(wire, tsig...), 10, 1) }},
		{"three TSIG records", func(wire, tsig []byte) []byte { return counted(slices.Concat(wire, tsig, tsig), 10, 2) }},
		{"a record behind", func(wire, tsig []byte) []byte { return counted(append(wire, behind...), 10, 1) }},
		{"an OPT record behind", func(wire, tsig []byte) []byte {
			return counted(append(wire, 0, 0, byte(dns.TypeOPT), 4, 0, 0, 0, 0, 0, 0, 0), 10, 1)
		}},
		{"TSIG in the update section", func(wire, tsig []byte) []byte { return counted(counted(wire, 10, -1), 8, 1) }},
		{uncounted, func(wire, tsig []byte) []byte { return counted(wire, 10, -1) }},
		{"of class IN", func(wire, tsig []byte) []byte {
			at := len(wire) - len(tsig) + nameLength(tsig)
			binary.BigEndian.PutUint16(wire[at+2:], dns.ClassINET)
			return wire
		}},
		{"with a TTL", func(wire, tsig []byte) []byte {
			wire[len(wire)-len(tsig)+nameLength(tsig)+7] = 1
			return wire
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, network := range []string{"udp", "tcp"} {
				m := add(t, forwardZone, "place.example.test. 300 A 192.0.2.1")
				plain, err := m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				wire, _, err := key.Sign(m)
				if err != nil {
					t.Fatal(err)
				}
				wire = test.change(wire, slices.Clone(wire[len(plain):]))
				reply := new(dns.Msg)
				if err := reply.Unpack(sendWire(t, loopbackAddress, address, network, wire)); err != nil {
					t.Fatal(err)
				}
				rcode := dns.RcodeFormatError
				if test.name == uncounted {
					rcode = dns.RcodeRefused
				}
				if reply.Rcode != rcode || reply.IsTsig() != nil || reply.Id != m.Id {
					t.Errorf("over %s: %s", network, reply)
				}
			}
			if _, err := key.Update(testContext(t), addition("example.test.")); err != nil {
				t.Errorf("the key is unusable after that: %v", err)
			}
		})
	}
	expect(t, address, "place.example.test", dns.TypeA)
	expect(t, address, "behind.example.test", dns.TypeA)
}

// counted changes one of the counts in a header.
func counted(wire []byte, at, by int) []byte {
	binary.BigEndian.PutUint16(wire[at:], uint16(int(binary.BigEndian.Uint16(wire[at:]))+by))
	return wire
}

func packed(t *testing.T, record dns.RR) []byte {
	t.Helper()
	b := make([]byte, dns.MaxMsgSize)
	n, err := dns.PackRR(record, b, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// nameLength is that of the owner's name in front of a record, which is not compressed.
func nameLength(record []byte) int {
	n := 0
	for record[n] != 0 {
		n += 1 + int(record[n])
	}
	return n + 1
}

// TestViewsOfOneZone has a zone inside and another of the same name outside, told apart by where a message comes from.
// A context belongs to the one whose key its ticket is for, wherever it was made from, and signs for the other nothing.
func TestViewsOfOneZone(t *testing.T) {
	t.Parallel()
	inside, outside := netip.MustParseAddr("127.0.0.2"), loopbackAddress
	services := map[netip.Addr]string{inside: "DNS/in.views.test", outside: "DNS/out.views.test"}
	view := func(lines, service, seed string) string {
		if err := shared.realm.AddPrincipal(service); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("views.test {\n    bind 127.0.0.1\n    %s\n    gsstsig {\n        keytab %s\n        file %s views.test\n    }\n    errors\n}\n",
			lines, keytabOf(t, shared.realm, service), seed)
	}
	s := startCoreDNS(t, server.Config{
		Corefile: view("view inside {\n        expr client_ip() == '127.0.0.2'\n    }", services[inside], "db.in") + view("", services[outside], "db.out"),
		Files:    map[string]string{"db.in": seed("in.views.test"), "db.out": seed("out.views.test")},
		Probe:    "views.test",
	})
	ctx := testContext(t)
	credentials := keytabCredentials(t, host1)
	for keyOf, service := range services {
		c := dialClient(t, client.Config{Server: s.Address.String(), Credentials: credentials, ServicePrincipal: service})
		key, err := c.Negotiate(ctx) // from outside, both
		if err != nil {
			t.Fatalf("%s: %v", service, err)
		}
		for _, from := range []netip.Addr{inside, outside} {
			for _, network := range []string{"udp", "tcp"} {
				m := add(t, "views.test", fmt.Sprintf("%s.views.test. 300 A 192.0.2.1", network))
				wire, transaction, err := key.Sign(m)
				if err != nil {
					t.Fatal(err)
				}
				reply, err := transaction.Verify(sendWire(t, from, s.Address, network, wire))
				if err != nil {
					t.Fatalf("key of %s, from %v over %s: %v", service, from, network, err)
				}
				want := dns.RcodeRefused
				if from == keyOf {
					want = dns.RcodeSuccess
				}
				if reply.Rcode != want {
					t.Errorf("key of %s, from %v over %s: %s, want %s", service, from, network, dns.RcodeToString[reply.Rcode], dns.RcodeToString[want])
				}
			}
		}
	}
}

// TestManySockets has several sockets on one address: which of them gets a message is up to the kernel, and what one has
// negotiated all know.
func TestManySockets(t *testing.T) {
	t.Parallel()
	s := startCoreDNS(t, server.Config{
		Corefile: strings.Replace(secureBlock(), "    log\n", "    multisocket 4\n    log\n", 1), Probe: forwardZone,
	})
	clients := []*gssclient.Client{
		negotiated(t, logIn(t, host1), gssclient.Config{Server: s.Address}, "udp"),
		negotiated(t, logIn(t, host1), gssclient.Config{Server: s.Address, Mechanism: gssclient.SPNEGOOther}, "tcp"), // two rounds
	}
	for n := range 40 {
		c, network := clients[n%2], []string{"udp", "tcp"}[n/2%2]
		update(t, c, network, forwardZone, fmt.Sprintf("socket%d.example.test. 300 A 192.0.2.1", n))
		reply, err := c.Replay([]string{"tcp", "udp"}[n/2%2])
		if err != nil {
			t.Fatal(err)
		}
		if reply.Message.Rcode != dns.RcodeNotAuth || reply.TSIGError != dns.RcodeBadSig {
			t.Errorf("replay %d at another socket: %s, TSIG error %d", n, dns.RcodeToString[reply.Message.Rcode], reply.TSIGError)
		}
	}
}

// TestBehindProxy has a load balancer in front, which speaks the PROXY protocol: the log names the client, and signatures
// hold.
func TestBehindProxy(t *testing.T) {
	t.Parallel()
	s := startCoreDNS(t, server.Config{
		Corefile: strings.Replace(secureBlock(), "    log\n", "    proxyproto {\n        allow 127.0.0.1/32\n    }\n    log\n", 1), Probe: forwardZone,
	})
	balancer := startProxy(t, s.Address)
	for _, network := range []string{"udp", "tcp"} {
		c := negotiated(t, logIn(t, host1), gssclient.Config{Server: balancer}, network)
		update(t, c, network, forwardZone, network+"proxied.example.test. 300 A 192.0.2.1")
		awaitLine(t, s.Log(), 0, "update ", "client=192.0.2.7:1234", "transport="+network, network+"proxied.example.test. A", "rcode=NOERROR")
	}
	outcome := nsupdate(testContext(t), t, balancer, "-g", logIn(t, host2).env, "update add udpproxied.example.test 300 A 192.0.2.2")
	if outcome.Rcode != "REFUSED" || !outcome.Signed {
		t.Errorf("rcode %q, signed %v:\n%s", outcome.Rcode, outcome.Signed, outcome.Output)
	}
}

// startProxy starts a load balancer on a port of its own that says of everybody to be 192.0.2.7.
func startProxy(t *testing.T, to netip.AddrPort) netip.AddrPort {
	t.Helper()
	header := func(protocol proxyproto.AddressFamilyAndProtocol, source, destination net.Addr) []byte {
		h := proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: protocol, SourceAddr: source, DestinationAddr: destination}
		b, err := h.Format()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	source, port := net.IPv4(192, 0, 2, 7), 1234
	overTCP := header(proxyproto.TCPv4, &net.TCPAddr{IP: source, Port: port}, net.TCPAddrFromAddrPort(to))
	overUDP := header(proxyproto.UDPv4, &net.UDPAddr{IP: source, Port: port}, net.UDPAddrFromAddrPort(to))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	address := listener.Addr().(*net.TCPAddr).AddrPort()
	packets, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { packets.Close() })
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", to.String())
				if err != nil {
					return
				}
				defer out.Close()
				if _, err := out.Write(overTCP); err != nil {
					return
				}
				go func() {
					// The end of a connection is all that there is to an error.
					_, _ = io.Copy(in, out)
					in.Close()
				}()
				_, _ = io.Copy(out, in)
			}()
		}
	}()
	go func() {
		buffer := make([]byte, dns.MaxMsgSize)
		for {
			n, from, err := packets.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			message := slices.Concat(overUDP, buffer[:n])
			go func() {
				out, err := net.Dial("udp", to.String())
				if err != nil {
					return
				}
				defer out.Close()
				reply := make([]byte, dns.MaxMsgSize)
				if err := out.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
					return
				}
				if _, err := out.Write(message); err != nil {
					return
				}
				if n, err := out.Read(reply); err == nil {
					// What is lost is asked again.
					_, _ = packets.WriteToUDPAddrPort(reply[:n], from)
				}
			}()
		}
	}()
	return address
}

// TestKeytabForEverybody is a warning at the start, with the fix.
func TestKeytabForEverybody(t *testing.T) {
	t.Parallel()
	for mode, says := range map[os.FileMode]string{0o644: "can be read by everyone", 0o666: "can be changed by everyone", 0o640: ""} {
		keytab := keytabOf(t, shared.realm, service)
		if err := os.Chmod(keytab, mode); err != nil {
			t.Fatal(err)
		}
		s := startCoreDNS(t, server.Config{Corefile: block(forwardZone, keytab), Probe: forwardZone})
		log := s.Log().String()
		if warned := strings.Contains(log, "[WARNING] plugin/gsstsig: keytab "+keytab); warned != (says != "") || !strings.Contains(log, says) ||
			warned && !strings.Contains(log, "chmod 600 "+keytab) {
			t.Errorf("mode %04o:\n%s", mode, log)
		}
	}
}
