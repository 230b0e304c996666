package client

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

func TestExchangeVerifies(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.1 keep the MAC")
	s, c := newScriptedServer(t)
	s.script(func(r *signedRequest) [][]byte {
		reply := r.reply()
		reply.Rcode = dns.RcodeRefused
		return [][]byte{r.sign(t, reply)}
	})
	for _, network := range []string{"udp", "tcp"} {
		c.config.Network = network
		m := question()
		reply, err := negotiate(t, c).Exchange(t.Context(), m)
		if err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		if reply.Rcode != dns.RcodeRefused || len(reply.Answer) != 1 || reply.IsTsig() == nil {
			t.Errorf("%s: reply is not the server's:\n%v", network, reply)
		}
		if m.IsTsig() != nil {
			t.Errorf("%s: the request was changed", network)
		}
	}
}

// Each misbehaviour is one that a client must not fall for. The errors are
// told apart so that tests of servers can say what they saw.
func TestExchangeRefuses(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.4 discard", "5.4 NOTAUTH")
	standard.Requires(t, "RFC 3645", "5.2 before acting")
	otherTime := func(offset time.Duration) dns.TSIG {
		return dns.TSIG{TimeSigned: uint64(time.Now().Add(offset).Unix())}
	}
	var earlier []byte // a reply to the request before
	tests := []struct {
		name   string
		answer func(t *testing.T, r *signedRequest) []byte
		want   error
	}{
		{"unsigned", func(t *testing.T, r *signedRequest) []byte { return pack(t, r.reply()) }, ErrUnsigned},
		{"unsigned NOTAUTH", func(t *testing.T, r *signedRequest) []byte {
			reply := r.reply()
			reply.Rcode = dns.RcodeNotAuth
			return pack(t, reply)
		}, ErrUnsigned},
		{"no MAC", func(t *testing.T, r *signedRequest) []byte {
			return appendUnsigned(pack(t, r.reply()), r, 0)
		}, ErrUnsigned},
		{"no MAC and BADTIME", func(t *testing.T, r *signedRequest) []byte {
			reply := r.reply()
			reply.Rcode = dns.RcodeNotAuth
			return appendUnsigned(pack(t, reply), r, dns.RcodeBadTime)
		}, ErrUnsigned},
		{"no MAC and BADKEY, but NOERROR", func(t *testing.T, r *signedRequest) []byte {
			return appendUnsigned(pack(t, r.reply()), r, dns.RcodeBadKey)
		}, ErrUnsigned},
		{"one bit of the MAC", func(t *testing.T, r *signedRequest) []byte {
			wire := r.sign(t, r.reply())
			wire[len(wire)-7] ^= 1
			return wire
		}, ErrSignature},
		{"one bit of the answer", func(t *testing.T, r *signedRequest) []byte {
			wire := r.sign(t, r.reply())
			wire[bytes.Index(wire, []byte("well"))] ^= 1
			return wire
		}, ErrSignature},
		{"the RCODE", func(t *testing.T, r *signedRequest) []byte {
			wire := r.sign(t, r.reply())
			wire[3] |= dns.RcodeRefused
			return wire
		}, ErrSignature},
		{"the client's own MAC", func(t *testing.T, r *signedRequest) []byte {
			wire := r.sign(t, r.reply())
			mac, _ := hex.DecodeString(r.mac)
			copy(wire[len(wire)-6-len(mac):], mac)
			return wire
		}, ErrSignature},
		{"without the request's MAC", func(t *testing.T, r *signedRequest) []byte {
			wire, _ := r.signWith(t, r.reply(), dns.TSIG{}, "", false, micProvider{key: r.key})
			return wire
		}, ErrSignature},
		{"timers only", func(t *testing.T, r *signedRequest) []byte {
			wire, _ := r.signWith(t, r.reply(), dns.TSIG{}, r.mac, true, micProvider{key: r.key})
			return wire
		}, ErrSignature},
		{"a reply from before under the new ID", func(t *testing.T, r *signedRequest) []byte {
			wire := bytes.Clone(earlier)
			binary.BigEndian.PutUint16(wire, r.Id)
			binary.BigEndian.PutUint16(wire[len(wire)-6:], r.Id)
			return wire
		}, ErrSignature},
		{"a reply from before", func(*testing.T, *signedRequest) []byte { return earlier }, ErrMalformed},
		{"another key's name", func(t *testing.T, r *signedRequest) []byte {
			wire, _ := r.signWith(t, r.reply(), dns.TSIG{Hdr: dns.RR_Header{Name: "other.example."}}, r.mac, false, micProvider{key: r.key})
			return wire
		}, ErrOtherKey},
		{"the other algorithm", func(t *testing.T, r *signedRequest) []byte {
			wire, _ := r.signWith(t, r.reply(), dns.TSIG{Algorithm: AlgorithmMicrosoft}, r.mac, false, micProvider{key: r.key})
			return wire
		}, ErrOtherKey},
		{"signed an hour ago", func(t *testing.T, r *signedRequest) []byte {
			wire, _ := r.signWith(t, r.reply(), otherTime(-time.Hour), r.mac, false, micProvider{key: r.key})
			return wire
		}, ErrTime},
		{"signed an hour from now", func(t *testing.T, r *signedRequest) []byte {
			wire, _ := r.signWith(t, r.reply(), otherTime(time.Hour), r.mac, false, micProvider{key: r.key})
			return wire
		}, ErrTime},
		{"BADTIME without the time", func(t *testing.T, r *signedRequest) []byte {
			reply := r.reply()
			reply.Rcode = dns.RcodeNotAuth
			wire, _ := r.signWith(t, reply, dns.TSIG{Error: dns.RcodeBadTime}, r.mac, false, micProvider{key: r.key})
			return wire
		}, ErrMalformed},
		{"cut short", func(t *testing.T, r *signedRequest) []byte {
			wire := r.sign(t, r.reply())
			return wire[:len(wire)-20]
		}, ErrMalformed},
		{"a header's length", func(t *testing.T, r *signedRequest) []byte { return r.sign(t, r.reply())[:11] }, ErrMalformed},
		{"an octet too many", func(t *testing.T, r *signedRequest) []byte { return append(r.sign(t, r.reply()), 0) }, ErrMalformed},
		{"records behind the TSIG record", func(t *testing.T, r *signedRequest) []byte {
			wire := r.sign(t, r.reply())
			binary.BigEndian.PutUint16(wire[10:], 2)
			return append(wire, 0, 0, byte(dns.TypeA), 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 1)
		}, ErrMalformed},
		{"a request", func(t *testing.T, r *signedRequest) []byte {
			reply := r.reply()
			reply.Response = false
			return r.sign(t, reply)
		}, ErrMalformed},
		{"another ID", func(t *testing.T, r *signedRequest) []byte {
			reply := r.reply()
			reply.Id++
			return r.sign(t, reply)
		}, ErrMalformed},
	}
	s, c := newScriptedServer(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			key := negotiate(t, c)
			s.script(func(r *signedRequest) [][]byte {
				earlier = r.sign(t, r.reply())
				return [][]byte{earlier}
			})
			if _, err := key.Exchange(t.Context(), question()); err != nil {
				t.Fatalf("the reply before: %v", err)
			}
			s.script(func(r *signedRequest) [][]byte { return [][]byte{test.answer(t, r)} })
			reply, err := key.Exchange(t.Context(), question())
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if reply != nil {
				t.Error("a reply was returned with the error")
			}
		})
	}
}

// appendUnsigned adds a TSIG record with an error and no MAC.
func appendUnsigned(wire []byte, r *signedRequest, tsigError uint16) []byte {
	tsig := &dns.TSIG{
		Hdr:       dns.RR_Header{Name: r.name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: AlgorithmGSSTSIG, TimeSigned: uint64(time.Now().Unix()), Fudge: 300, OrigId: r.Id, Error: tsigError,
	}
	buffer := make([]byte, len(wire)+1024)
	n, err := dns.PackRR(tsig, buffer, copy(buffer, wire), nil, false)
	if err != nil {
		panic(err)
	}
	binary.BigEndian.PutUint16(buffer[10:], binary.BigEndian.Uint16(buffer[10:])+1)
	return buffer[:n]
}

func TestRefusedSignature(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.4 NOTAUTH", "5.4.1 errors")
	serverTime := time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC)
	s, c := newScriptedServer(t)
	tests := []struct {
		code     uint16
		verified bool
		answer   func(r *signedRequest, reply *dns.Msg) []byte
	}{
		{dns.RcodeBadKey, false, func(r *signedRequest, reply *dns.Msg) []byte {
			return appendUnsigned(pack(t, reply), r, dns.RcodeBadKey)
		}},
		{dns.RcodeBadSig, false, func(r *signedRequest, reply *dns.Msg) []byte {
			return appendUnsigned(pack(t, reply), r, dns.RcodeBadSig)
		}},
		{dns.RcodeBadTime, true, func(r *signedRequest, reply *dns.Msg) []byte {
			other := binary.BigEndian.AppendUint64(nil, uint64(serverTime.Unix()))[2:]
			wire, _ := r.signWith(t, reply, dns.TSIG{Error: dns.RcodeBadTime, OtherData: hex.EncodeToString(other)}, r.mac, false, micProvider{key: r.key})
			return wire
		}},
		{dns.RcodeBadTrunc, true, func(r *signedRequest, reply *dns.Msg) []byte {
			wire, _ := r.signWith(t, reply, dns.TSIG{Error: dns.RcodeBadTrunc}, r.mac, false, micProvider{key: r.key})
			return wire
		}},
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, test := range tests {
			t.Run(network+" "+codeName(test.code), func(t *testing.T) {
				s.script(func(r *signedRequest) [][]byte {
					reply := new(dns.Msg).SetRcode(r.Msg, dns.RcodeNotAuth)
					return [][]byte{test.answer(r, reply)}
				})
				c.config.Network = network
				_, err := negotiate(t, c).Exchange(t.Context(), question())
				var refused *TSIGError
				if !errors.As(err, &refused) {
					t.Fatalf("got %v, want a TSIGError", err)
				}
				if refused.Code != test.code || refused.Verified != test.verified || refused.Reply == nil {
					t.Errorf("got %+v", refused)
				}
				if want := test.code == dns.RcodeBadTime; want != refused.ServerTime.Equal(serverTime) {
					t.Errorf("server's time %v", refused.ServerTime)
				}
			})
		}
	}
}

// By UDP any host can answer first. What does not verify is passed over.
func TestUDPWaitsForTheTrueReply(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.4 wait on")
	s, c := newScriptedServer(t)
	c.config.Network = "udp"
	s.script(func(r *signedRequest) [][]byte {
		forged := r.sign(t, r.reply())
		forged[len(forged)-7] ^= 1
		return [][]byte{{1, 2, 3}, pack(t, r.reply()), forged, r.sign(t, r.reply())}
	})
	key := negotiate(t, c)
	for range 3 { // the socket is used again: nothing of before may disturb
		if _, err := key.Exchange(t.Context(), question()); err != nil {
			t.Fatal(err)
		}
	}

	c.transport.timeout = 50 * time.Millisecond
	s.script(func(r *signedRequest) [][]byte { return [][]byte{pack(t, r.reply())} })
	_, err := key.Exchange(t.Context(), question())
	var timeout net.Error
	if !errors.Is(err, ErrUnsigned) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("only a forged reply: got %v, want that it is unsigned and the time is up", err)
	}
}

func TestTruncatedReplyGoesByTCP(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.3 then TCP")
	s, c := newScriptedServer(t)
	c.config.Network = "udp"
	var macs []string
	s.script(func(r *signedRequest) [][]byte {
		macs = append(macs, r.mac)
		reply := r.reply()
		if r.udp {
			reply.Answer, reply.Truncated = nil, true
		}
		return [][]byte{r.sign(t, reply)}
	})
	reply, err := negotiate(t, c).Exchange(t.Context(), question())
	if err != nil {
		t.Fatal(err)
	}
	if reply.Truncated || len(reply.Answer) != 1 {
		t.Error("the reply is the truncated one")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(macs) != 2 || macs[0] == macs[1] {
		t.Errorf("sent %d times with MACs %q, want twice, signed again", len(macs), macs)
	}
}

func TestLongRequestGoesByTCP(t *testing.T) {
	s, c := newScriptedServer(t)
	c.config.Network, c.config.MaxUDP = "udp", 100
	s.script(func(r *signedRequest) [][]byte {
		if r.udp {
			t.Error("sent by UDP")
		}
		return [][]byte{r.sign(t, r.reply())}
	})
	if _, err := negotiate(t, c).Exchange(t.Context(), question()); err != nil {
		t.Error(err)
	}
}

func TestConcurrentExchanges(t *testing.T) {
	s, c := newScriptedServer(t)
	c.config.Network = "udp"
	s.script(func(r *signedRequest) [][]byte { return [][]byte{r.sign(t, r.reply())} })
	key := negotiate(t, c)
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			for range 10 {
				if _, err := key.Exchange(t.Context(), question()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
}

func TestClosed(t *testing.T) {
	s, c := newScriptedServer(t)
	s.script(func(r *signedRequest) [][]byte { return [][]byte{r.sign(t, r.reply())} })
	key := negotiate(t, c)
	key.Close()
	key.Close()
	if _, err := key.Exchange(t.Context(), question()); !errors.Is(err, ErrClosed) {
		t.Errorf("closed context: %v", err)
	}
	key = negotiate(t, c)
	c.Close()
	c.config.Network = "udp"
	if _, err := key.Exchange(t.Context(), question()); !errors.Is(err, ErrClosed) {
		t.Errorf("closed client: %v", err)
	}
}

func TestUpdateReportsTheRcode(t *testing.T) {
	s, c := newScriptedServer(t)
	for _, rcode := range []int{dns.RcodeSuccess, dns.RcodeRefused, dns.RcodeYXDomain} {
		s.script(func(r *signedRequest) [][]byte {
			return [][]byte{r.sign(t, new(dns.Msg).SetRcode(r.Msg, rcode))}
		})
		_, err := negotiate(t, c).Update(t.Context(), new(dns.Msg).SetUpdate("example.test."))
		var wrong *RcodeError
		if errors.As(err, &wrong) != (rcode != dns.RcodeSuccess) || wrong != nil && wrong.Rcode != rcode {
			t.Errorf("%s: got %v", dns.RcodeToString[rcode], err)
		}
	}
}

// Several messages and one MAC for all of them, which miekg's signer makes
// with the unsigned ones put where RFC 8945 section 5.3.1 wants them.
type chain struct {
	t     *testing.T
	r     *signedRequest
	prior string
	later bool
	since []byte
	wires [][]byte
}

func (c *chain) message(rrs ...dns.RR) *dns.Msg {
	m := new(dns.Msg).SetReply(c.r.Msg)
	m.Answer = rrs
	return m
}

func (c *chain) signed(rrs ...dns.RR) {
	wire, mac := c.r.signWith(c.t, c.message(rrs...), dns.TSIG{}, c.prior, c.later, micProvider{key: c.r.key, between: c.since})
	c.prior, c.later, c.since = mac, true, nil
	c.wires = append(c.wires, wire)
}

func (c *chain) unsigned(rrs ...dns.RR) {
	wire := pack(c.t, c.message(rrs...))
	c.since = append(c.since, wire...)
	c.wires = append(c.wires, wire)
}

func soa(serial int) dns.RR {
	return record(fmt.Sprintf("example.test. 60 SOA ns1.example.test. admin.example.test. %d 1 2 3 4", serial))
}

func address(n int) dns.RR { return record(fmt.Sprintf("h%d.example.test. 60 A 192.0.2.%d", n, n)) }

func TestTransfer(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.3.1 unsigned between", "5.3.1 chain")
	tests := []struct {
		name    string
		serial  []uint32
		script  func(c *chain)
		records int
		want    error
	}{
		{"one message", nil, func(c *chain) { c.signed(soa(7), address(1), soa(7)) }, 3, nil},
		{"all signed", nil, func(c *chain) {
			c.signed(soa(7))
			c.signed(address(1), address(2))
			c.signed(address(3), soa(7))
		}, 5, nil},
		{"some unsigned between", nil, func(c *chain) {
			c.signed(soa(7))
			c.unsigned(address(1))
			c.unsigned(address(2))
			c.signed(address(3))
			c.unsigned(address(4))
			c.signed(soa(7))
		}, 6, nil},
		{"99 unsigned", nil, func(c *chain) {
			c.signed(soa(7))
			for i := range 99 {
				c.unsigned(address(i))
			}
			c.signed(soa(7))
		}, 101, nil},
		{"100 unsigned", nil, func(c *chain) {
			c.signed(soa(7))
			for i := range 100 {
				c.unsigned(address(i))
			}
			c.signed(soa(7))
		}, 1, ErrUnsigned},
		{"the first unsigned", nil, func(c *chain) {
			c.unsigned(soa(7))
			c.signed(soa(7))
		}, 0, ErrUnsigned},
		{"the last unsigned", nil, func(c *chain) {
			c.signed(soa(7))
			c.unsigned(address(1), soa(7))
		}, 1, ErrUnsigned},
		{"an unsigned one changed", nil, func(c *chain) {
			c.signed(soa(7), address(1))
			c.unsigned(address(2))
			c.signed(soa(7))
			c.wires[1] = bytes.Replace(c.wires[1], []byte("\x02h2"), []byte("\x02h9"), 1)
		}, 2, ErrSignature},
		{"one left out", nil, func(c *chain) {
			c.signed(soa(7), address(1))
			c.signed(address(2))
			c.signed(soa(7))
			c.wires = append(c.wires[:1], c.wires[2])
		}, 2, ErrSignature},
		{"two in the wrong order", nil, func(c *chain) {
			c.signed(soa(7))
			c.signed(address(1))
			c.signed(address(2))
			c.signed(soa(7))
			c.wires[1], c.wires[2] = c.wires[2], c.wires[1]
		}, 1, ErrSignature},
		{"one twice", nil, func(c *chain) {
			c.signed(soa(7))
			c.signed(address(1))
			c.wires = append(c.wires, c.wires[1])
		}, 2, ErrSignature},
		{"all variables in a later one", nil, func(c *chain) {
			c.signed(soa(7))
			c.later = false
			c.signed(soa(7))
		}, 1, ErrSignature},
		{"no SOA record first", nil, func(c *chain) { c.signed(address(1), soa(7)) }, 0, ErrMalformed},
		{"records after the end", nil, func(c *chain) { c.signed(soa(7), soa(7), address(1)) }, 0, ErrMalformed},
		{"differences", []uint32{5}, func(c *chain) {
			c.signed(soa(7), soa(5), address(1), soa(6), address(2))
			c.signed(soa(6), soa(7))
			c.signed(address(3), soa(7))
		}, 9, nil},
		{"all of it instead of differences", []uint32{5}, func(c *chain) {
			c.signed(soa(7), address(1))
			c.signed(soa(7))
		}, 3, nil},
		{"all of it, the SOA record alone first", []uint32{5}, func(c *chain) {
			c.signed(soa(7))
			c.signed(address(1), soa(7))
		}, 3, nil},
		{"nothing newer", []uint32{7}, func(c *chain) { c.signed(soa(7)) }, 1, nil},
		{"older than what the client has", []uint32{7}, func(c *chain) { c.signed(soa(0xfffffff0)) }, 1, nil},
	}
	s, c := newScriptedServer(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s.script(func(r *signedRequest) [][]byte {
				c := &chain{t: t, r: r, prior: r.mac}
				test.script(c)
				return append(c.wires, nil)
			})
			key := negotiate(t, c)
			records, failure := 0, error(nil)
			for rr, err := range key.Transfer(t.Context(), "example.test", test.serial...) {
				if failure != nil {
					t.Error("more after an error")
				}
				if failure = err; err == nil {
					records++
				} else if rr != nil {
					t.Error("a record and an error")
				}
			}
			if records != test.records || !errors.Is(failure, test.want) || test.want == nil && failure != nil {
				t.Errorf("got %d records and %v, want %d and %v", records, failure, test.records, test.want)
			}
		})
	}
}

func TestTransferRefused(t *testing.T) {
	s, c := newScriptedServer(t)
	s.script(func(r *signedRequest) [][]byte {
		return [][]byte{r.sign(t, new(dns.Msg).SetRcode(r.Msg, dns.RcodeRefused))}
	})
	for _, err := range negotiate(t, c).Transfer(t.Context(), "example.test") {
		var refused *RcodeError
		if !errors.As(err, &refused) || refused.Rcode != dns.RcodeRefused {
			t.Errorf("got %v", err)
		}
	}
	// A reader may stop early.
	s.script(func(r *signedRequest) [][]byte {
		c := &chain{t: t, r: r, prior: r.mac}
		c.signed(soa(7), address(1))
		c.signed(soa(7))
		return c.wires
	})
	for _, err := range negotiate(t, c).Transfer(t.Context(), "example.test") {
		if err != nil {
			t.Error(err)
		}
		break
	}
	// A server that goes away in between does not look like the end.
	s.script(func(r *signedRequest) [][]byte {
		c := &chain{t: t, r: r, prior: r.mac}
		c.signed(soa(7), address(1))
		return append(c.wires, nil)
	})
	var last error
	for _, err := range negotiate(t, c).Transfer(t.Context(), "example.test") {
		last = err
	}
	if last == nil {
		t.Error("half a zone was taken for all of it")
	}
}

// TestSource: requests come from the address that was asked for, by both transports.
func TestSource(t *testing.T) {
	kdc := newTestKDC(t)
	source := netip.MustParseAddr("127.0.0.9")
	for _, network := range []string{"udp", "tcp"} {
		var listener net.Listener
		var packets net.PacketConn
		var err error
		var server string
		if network == "udp" {
			packets, err = net.ListenPacket("udp", "127.0.0.1:0")
		} else {
			listener, err = net.Listen("tcp", "127.0.0.1:0")
		}
		if err != nil {
			t.Fatal(err)
		}
		if network == "udp" {
			defer packets.Close()
			server = packets.LocalAddr().String()
		} else {
			defer listener.Close()
			server = listener.Addr().String()
		}
		c, err := Dial(t.Context(), Config{Server: server, Network: network, Source: source, Timeout: 10 * time.Millisecond,
			Credentials: FromTicket(kdc.ticket(t, time.Hour)), ServicePrincipal: testService})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Exchange(t.Context(), new(dns.Msg).SetQuestion("example.test.", dns.TypeSOA)); err == nil {
			t.Fatal("an answer from nobody")
		}
		var from net.Addr
		if network == "udp" {
			_, from, err = packets.ReadFrom(make([]byte, 512))
		} else {
			var conn net.Conn
			if conn, err = listener.Accept(); err == nil {
				from = conn.RemoteAddr()
				conn.Close()
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := netip.MustParseAddrPort(from.String()).Addr(); got != source {
			t.Errorf("%s: from %v", network, got)
		}
		c.Close()
	}
}
