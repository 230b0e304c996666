package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// Names of the two algorithms that mean GSS-TSIG (RFC 3645 section 2; the
// second is that of Windows before the RFC).
const (
	AlgorithmGSSTSIG   = "gss-tsig."
	AlgorithmMicrosoft = "gss.microsoft.com."
)

const (
	defaultTimeout  = 5 * time.Second
	defaultLifetime = time.Hour
	defaultFudge    = 300
	// defaultMaxUDP is what passes without fragments nearly everywhere.
	defaultMaxUDP = 1232
)

// Config says with whom to speak, and how. Server, Credentials and
// ServicePrincipal are required; the zero value of everything else asks for
// what nsupdate does, except that it uses UDP where it can.
type Config struct {
	// Server is the DNS server's host:port.
	Server string
	// Network is "udp" (also when empty) or "tcp". With "udp", a request
	// longer than MaxUDP is sent by TCP, and one whose reply is truncated is
	// sent again by TCP.
	Network string
	// TLS makes everything go by DNS over TLS (RFC 7858), whatever Network says.
	// The zero value of its fields ServerName and NextProtos stands for the
	// host of Server and for the protocol "dot", which transfers need (RFC 9103
	// section 7.1). Nil is plain DNS.
	TLS *tls.Config
	// MaxUDP is the longest request in octets to send by UDP. Zero is 1232.
	MaxUDP int
	// Source is the address that requests come from, of a host that has
	// several. The zero value leaves it to the system.
	Source netip.Addr

	// Credentials get the tickets. They may be shared by many clients.
	Credentials *Credentials
	// ServicePrincipal is the server's Kerberos name, e.g.
	// "DNS/ns1.example.test" or with "@REALM".
	ServicePrincipal string

	// Algorithm is AlgorithmGSSTSIG (also when empty) or AlgorithmMicrosoft;
	// tests may give others.
	Algorithm string
	// Framing says how Kerberos' tokens are wrapped.
	Framing Framing
	// KeyName is the key name to propose: empty is a new random one for every
	// negotiation, "." leaves the choice to the server.
	KeyName string
	// Lifetime is how long the key is asked to last; zero is one hour. The
	// server decides.
	Lifetime time.Duration

	// Timeout is for each exchange of messages, and between the messages of a
	// transfer; zero is 5 s. A context's deadline holds too.
	Timeout time.Duration
	// Fudge is the clock difference in seconds that the client's signatures
	// allow; zero is 300.
	Fudge uint16
	// Now is the clock for signatures and authenticators; nil is time.Now.
	Now func() time.Time

	// Quirks are the peculiarities of other clients, for tests of servers.
	Quirks Quirks
}

// Quirks make a client speak as some others do, or leave out what a server
// should not need. They are for tests of servers. The zero value has none.
type Quirks struct {
	// MechListMIC sends a mechListMIC in SPNEGO although none is demanded.
	MechListMIC bool
	// OneWay leaves out mutual authentication: the server sends no AP-REP,
	// hence no subkey of its own. The TSIG record of the last TKEY reply still
	// proves that the server could read the ticket.
	OneWay bool
	// NoSubkey leaves the client's subkey out of the authenticator.
	NoSubkey bool
	// TKEYInAnswer puts the TKEY record of the query into the answer section
	// instead of the additional one, as "nsupdate -o" and old Windows do.
	TKEYInAnswer bool
	// Class is the class of the TKEY question; zero is ANY. Samba asks IN.
	Class uint16
	// RecordClass is the class of the query's TKEY record; zero is ANY.
	RecordClass uint16
}

// Framing is how the mechanism's tokens are wrapped.
type Framing int

const (
	// SPNEGO offers Kerberos alone, with its first token in the offer.
	SPNEGO Framing = iota
	// RawKerberos sends Kerberos' tokens as they are.
	RawKerberos
	// SPNEGOMicrosoftFirst offers Kerberos under Microsoft's identifier, then
	// under its own.
	SPNEGOMicrosoftFirst
	// SPNEGONoToken offers Kerberos without a token, which takes a round more.
	SPNEGONoToken
	// SPNEGOOtherFirst offers NTLM first and a token of it that the server
	// must throw away.
	SPNEGOOtherFirst
	// SPNEGOWindows offers what a Windows client lists, with Kerberos' token
	// under Microsoft's identifier: that, Kerberos' own, NEGOEX and NTLM.
	SPNEGOWindows
)

// A Client makes contexts with one server. It is safe for concurrent use; it
// keeps UDP sockets between exchanges, which Close gives back.
type Client struct {
	config    Config
	transport transport
	host      string // of the service principal, for key names
}

// Dial checks the configuration, looks up the server's address and gets the
// first ticket, so that what is missing is told before anything is sent to the
// DNS server.
func Dial(ctx context.Context, config Config) (*Client, error) {
	if config.Credentials == nil {
		return nil, fmt.Errorf("client: no credentials")
	}
	service, err := krb5.ParsePrincipal(config.ServicePrincipal)
	if err != nil {
		return nil, fmt.Errorf("client: service principal %q: %w", config.ServicePrincipal, err)
	}
	switch config.Network {
	case "":
		config.Network = "udp"
	case "udp", "tcp":
	default:
		return nil, fmt.Errorf("client: network %q is neither udp nor tcp", config.Network)
	}
	if config.Framing < SPNEGO || config.Framing > SPNEGOWindows {
		return nil, fmt.Errorf("client: unknown framing %d", config.Framing)
	}
	if config.Algorithm == "" {
		config.Algorithm = AlgorithmGSSTSIG
	}
	if config.Algorithm, err = spelled(config.Algorithm); err != nil {
		return nil, fmt.Errorf("client: algorithm: %w", err)
	}
	if config.KeyName != "" {
		if config.KeyName, err = spelled(config.KeyName); err != nil {
			return nil, fmt.Errorf("client: key name: %w", err)
		}
	}
	if config.Quirks.Class == 0 {
		config.Quirks.Class = dns.ClassANY
	}
	if config.Quirks.RecordClass == 0 {
		config.Quirks.RecordClass = dns.ClassANY
	}
	if config.MaxUDP == 0 {
		config.MaxUDP = defaultMaxUDP
	}
	if config.Lifetime == 0 {
		config.Lifetime = defaultLifetime
	}
	if config.Timeout == 0 {
		config.Timeout = defaultTimeout
	}
	if config.Fudge == 0 {
		config.Fudge = defaultFudge
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	address, err := resolve(ctx, config.Server)
	if err != nil {
		return nil, fmt.Errorf("client: server %q: %w", config.Server, err)
	}
	if config.TLS != nil {
		config.Network = "tcp"
		config.TLS = overTLS(config.TLS, config.Server)
	}
	c := &Client{config: config, host: keyNameSuffix(service)}
	c.transport.address, c.transport.source, c.transport.timeout, c.transport.tls = address, config.Source, config.Timeout, config.TLS
	if _, err := config.Credentials.Ticket(ctx, config.ServicePrincipal); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return c, nil
}

// spelled writes a name the way it will be read from replies, so that both can
// be compared: an escape may stand for a plain character.
func spelled(name string) (string, error) {
	var wire [256]byte
	if _, err := dns.PackDomainName(dns.Fqdn(name), wire[:], 0, nil, false); err != nil {
		return "", fmt.Errorf("%q is not a domain name", name)
	}
	name, _, err := dns.UnpackDomainName(wire[:], 0)
	return name, err
}

// resolve looks a host up once: a key lives on one server, so all messages must
// go to the same address.
func resolve(ctx context.Context, server string) (string, error) {
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		return "", err
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(addresses[0], port), nil
}

// overTLS completes a configuration for a server's host:port, which resolve has
// understood.
func overTLS(config *tls.Config, server string) *tls.Config {
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(server)
	}
	if config.NextProtos == nil {
		config.NextProtos = []string{"dot"}
	}
	return config
}

// keyNameSuffix makes the end of random key names, sig-HOST as nsupdate has it.
func keyNameSuffix(service krb5.Principal) string {
	suffix := "sig-" + strings.TrimSuffix(service.Components[len(service.Components)-1], ".") + "."
	if _, ok := dns.IsDomainName(suffix); !ok || len(suffix) > 200 {
		return "sig."
	}
	return suffix
}

// Close gives the idle sockets back. Exchanges under way end undisturbed; new
// ones by UDP fail with ErrClosed.
func (c *Client) Close() { c.transport.close() }

// Exchange sends an unsigned message and returns the reply, which is not
// authenticated. It is for what a client asks before it has a key.
func (c *Client) Exchange(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	wire, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("client: packing the request: %w", err)
	}
	var reply *dns.Msg
	take := func(received []byte) (over bool, err error) {
		r := new(dns.Msg)
		if err := r.Unpack(received); err != nil {
			return false, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if r.Id != m.Id || !r.Response {
			return false, fmt.Errorf("%w: not a reply to this request", ErrMalformed)
		}
		reply = r
		return true, nil
	}
	if !c.byTCP(wire) {
		if err := c.transport.udp(ctx, wire, take); err != nil {
			return nil, err
		}
		if !reply.Truncated {
			return reply, nil
		}
	}
	if err := c.transport.tcp(ctx, wire, take); err != nil {
		return nil, err
	}
	return reply, nil
}

func (c *Client) byTCP(wire []byte) bool {
	return c.config.Network == "tcp" || len(wire) > c.config.MaxUDP
}
