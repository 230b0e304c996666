package listener

import (
	"net"
	"net/netip"
	"slices"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
)

// Block is a server block of the Corefile that takes GSS-TSIG.
type Block struct {
	// Server negotiates and verifies the block's contexts. Several blocks may share an address: a TKEY query goes to the
	// server that it is for (see gsstsig.Authenticator.Negotiate).
	Server *gsstsig.Server

	// Observer is told what never reaches a plugin. It may be nil. Of the blocks on one address, the first observer that
	// is not nil is told.
	Observer Observer

	// Limits bound what unauthenticated clients cost. The widest limits of all blocks of a Corefile hold.
	Limits Limits

	// Plugin is the name of the directive that registers, which is that of its handler.
	Plugin string

	// Answerer returns a function that answers plain queries for a zone of the block as its handler would, or nil if there
	// is none. It is called once for each zone. The function is used if no plugin in front of the handler has to see
	// queries. If Answerer is nil, no zone has this shortcut.
	Answerer func(zone string) AnswerFunc

	// Started is called once, when all servers of the Corefile are about to serve: nothing can make the start fail any more.
	// It may be nil.
	Started func()

	// Replaced is called when a reload has put another Corefile in the place of the block's. It may be nil.
	Replaced func() error

	// Stopped is called when the program ends cleanly, once no message is being worked on any more, nor will be. It may
	// be nil.
	Stopped func() error
}

// Observer counts what the listener keeps from the plugins. Its methods are called by many goroutines at once, on the
// way of a request: they must be quick.
type Observer interface {
	// VerificationFailed is called for a message whose TSIG record did not verify.
	VerificationFailed(client netip.AddrPort, failure *gsstsig.VerifyError)

	// Dropped is called for a message or connection that is not worked on. Under a flood that is most of them.
	Dropped(reason Reason)

	// TLSFailed is called for a TLS handshake that has failed. The client is invalid if it is not known.
	TLSFailed(client netip.AddrPort, err error)

	// NotAuthoritative is called for an UPDATE of a zone that no server block of the address has, before it is answered
	// NOTAUTH. The server is the address as CoreDNS writes it, such as tls://127.0.0.1:853. The transaction is nil if the
	// update was not signed.
	NotAuthoritative(server string, client net.Addr, transaction *gsstsig.Transaction, update *dns.Msg)
}

// noObserver is used if no block has an observer.
type noObserver struct{}

func (noObserver) VerificationFailed(netip.AddrPort, *gsstsig.VerifyError)           {}
func (noObserver) Dropped(Reason)                                                    {}
func (noObserver) TLSFailed(netip.AddrPort, error)                                   {}
func (noObserver) NotAuthoritative(string, net.Addr, *gsstsig.Transaction, *dns.Msg) {}

// Register makes this package serve the plain DNS addresses of the server block that c sets up. It is called by the
// setup function of a directive, once for a server block, after dnsserver.Config.AddPlugin.
//
// A controller whose instance is not being started, such as one made by caddy.NewTestController, is left alone. It is an
// error to register a server block twice.
func Register(c *caddy.Controller, b Block) error {
	return theProcess.register(c, b)
}

func (p *process) register(c *caddy.Controller, b Block) error {
	in := p.instanceOf(c)
	if in == nil {
		return nil
	}
	p.watchLastDirective()
	return in.add(c, b)
}

// Zones returns the zones of all server blocks of the Corefile that c is part of, as CoreDNS writes them, whatever addresses
// and plugins they have. They are known when start functions run. There are none if the instance is not being started.
func Zones(c *caddy.Controller) []string {
	in := theProcess.instanceOf(c)
	if in == nil {
		return nil
	}
	zones := make([]string, len(in.sites))
	for i, s := range in.sites {
		zones[i] = s.config.Zone
	}
	return zones
}

// Keys returns the names of the HMAC keys of all server blocks of the Corefile that c is part of. They are known when start
// functions run. It is nil if the instance is not being started.
func Keys(c *caddy.Controller) []string {
	in := theProcess.instanceOf(c)
	if in == nil {
		return nil
	}
	keys := []string{}
	for _, s := range in.sites {
		for name := range s.first.TsigSecret {
			keys = append(keys, name)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Screened reports whether plugins of c's server block must see each query before the plugin of that directive answers it: they
// may refuse, change or log it. It is known when start functions run.
func Screened(c *caddy.Controller, directive string) bool {
	return screened(dnsserver.GetConfig(c), directive)
}
