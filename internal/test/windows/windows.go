// Package windows registers a machine's address the way the DNS client of Windows does where a zone takes secure updates
// only, message by message as that is seen on the wire. No Windows is needed, and none of its code is here: the messages
// are this project's own client's (package client), put in Windows' order and form.
//
//  1. An SOA query for the machine's name finds the zone and its primary server, and so the service to get a ticket for.
//  2. The UPDATE goes out unsigned. Only when it is refused does the client negotiate.
//  3. The TKEY query goes by TCP, since it is longer than 512 octets. Its token is SPNEGO that lists Microsoft's name for
//     Kerberos first, then Kerberos' own, NEGOEX and NTLM.
//  4. The UPDATE goes out again, signed.
//
// The UPDATE has one prerequisite, that the name is no alias (CNAME NONE), deletes the name's addresses, A and AAAA, and
// adds the new one with a TTL of 1,200 s.
//
// What comes back is believed when it is signed by the server's side of the context: the last TKEY reply too, and with
// the flag in the MIC that says that the acceptor made it, so that the client's own MIC coming back is no reply.
package windows

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
)

const (
	ttl = 1200 // in seconds, of what Windows registers
	// maxUDP is where Windows changes to TCP: it does not announce EDNS in updates.
	maxUDP = 512
)

// Config says who registers what, and where. All but Timeout is required.
type Config struct {
	Server      string // host:port of the name server that the machine knows
	Credentials *client.Credentials
	Host        string // the machine's name with its domain
	Address     netip.Addr
	Timeout     time.Duration // for each exchange of messages; zero is 5 s
}

// Registration is what an attempt came to.
type Registration struct {
	Zone     string
	Unsigned int      // RCODE of the reply to the unsigned UPDATE
	KeyName  string   // of the context; empty when none was needed
	Reply    *dns.Msg // to the last UPDATE: the signed one, if there was a context
}

// Register registers the address under the machine's name. A refusal of the signed UPDATE is no error but the reply's
// RCODE. Errors are those of package client: of its functions for a reply that does not verify, a *client.TKEYError for a
// refusal of the ticket.
func Register(ctx context.Context, config Config) (*Registration, error) {
	zone, primary, err := find(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("windows: finding the zone of %s: %w", config.Host, err)
	}
	c, err := client.Dial(ctx, client.Config{
		Server:           config.Server,
		MaxUDP:           maxUDP,
		Credentials:      config.Credentials,
		ServicePrincipal: "DNS/" + primary[:len(primary)-1],
		Framing:          client.SPNEGOWindows,
		KeyName:          keyName(),
		Lifetime:         24 * time.Hour,
		Timeout:          config.Timeout,
	})
	if err != nil {
		return nil, fmt.Errorf("windows: %w", err)
	}
	defer c.Close()
	result := &Registration{Zone: zone}
	if result.Reply, err = c.Exchange(ctx, Update(zone, config.Host, config.Address)); err != nil {
		return nil, fmt.Errorf("windows: the unsigned update: %w", err)
	}
	if result.Unsigned = result.Reply.Rcode; result.Unsigned != dns.RcodeRefused {
		return result, nil
	}
	key, err := c.Negotiate(ctx)
	if err != nil {
		return nil, fmt.Errorf("windows: %w", err)
	}
	defer key.Close()
	result.KeyName = key.KeyName()
	if result.Reply, err = key.Exchange(ctx, Update(zone, config.Host, config.Address)); err != nil {
		return nil, fmt.Errorf("windows: the signed update: %w", err)
	}
	return result, nil
}

// find asks for the SOA of the name itself. The reply has that of the zone, in the authority section, since the name is
// not the zone's.
func find(ctx context.Context, config Config) (zone, primary string, err error) {
	query := new(dns.Msg).SetQuestion(dns.Fqdn(config.Host), dns.TypeSOA)
	reply, err := dns.ExchangeContext(ctx, query, config.Server)
	if err != nil {
		return "", "", err
	}
	for _, rr := range append(reply.Answer, reply.Ns...) {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa.Hdr.Name, soa.Ns, nil
		}
	}
	return "", "", fmt.Errorf("%s, and no SOA", dns.RcodeToString[reply.Rcode])
}

// Update makes the UPDATE message that registers an address.
func Update(zone, host string, address netip.Addr) *dns.Msg {
	name := dns.Fqdn(host)
	m := new(dns.Msg).SetUpdate(dns.Fqdn(zone))
	m.Compress = true
	header := func(rrtype uint16) dns.RR_Header { return dns.RR_Header{Name: name, Rrtype: rrtype} }
	m.RRsetNotUsed([]dns.RR{&dns.ANY{Hdr: header(dns.TypeCNAME)}})
	m.RemoveRRset([]dns.RR{&dns.ANY{Hdr: header(dns.TypeA)}, &dns.ANY{Hdr: header(dns.TypeAAAA)}})
	if address.Is4() {
		m.Insert([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Ttl: ttl}, A: net.IP(address.AsSlice())}})
	} else {
		m.Insert([]dns.RR{&dns.AAAA{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeAAAA, Ttl: ttl}, AAAA: net.IP(address.AsSlice())}})
	}
	return m
}

// keyName makes a name like those of Windows, a count and a GUID, such as
// 1260-ms-7.1-d299.0595eadf-9091-11e2-368c-00216a5974e4.
func keyName() string {
	var random [20]byte
	rand.Read(random[:]) // never fails, as its documentation promises
	n := binary.BigEndian.Uint16(random[:])
	return fmt.Sprintf("%d-ms-7.%d-%x.%x-%x-%x-%x-%x.", 1000+n%1000, n%10, random[2:4], random[4:8], random[8:10], random[10:12], random[12:14], random[14:20])
}
