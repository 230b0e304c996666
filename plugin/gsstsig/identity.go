package gsstsig

import (
	"net"
	"net/netip"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// identity says in the policy's terms who sent a request. It rests on nothing but the transaction that the listener
// verified over the message's own octets; a nil transaction is an unsigned request.
func identity(transaction *gsstsig.Transaction, remote net.Addr) policy.Identity {
	id := policy.Identity{Kind: policy.Anonymous, Client: source(remote).Addr()}
	_, id.TCP = remote.(*net.TCPAddr)
	if transaction == nil {
		return id
	}
	who := transaction.Identity()
	if who.Static {
		id.Kind = policy.Static
		id.Name = who.KeyName
		return id
	}
	id.Kind = policy.Kerberos
	id.Name = who.Principal.String()
	id.Components = who.Principal.Components
	id.Realm = who.Principal.Realm
	id.Groups = transaction.Groups()
	return id
}

// ours tells whether a transaction may be used in this block: a context if the block would have made it too, since blocks
// on one address mostly have the same keytab and one of them makes all contexts; a static key in all blocks of the address,
// as in the tsig plugin.
func (h *Handler) ours(transaction *gsstsig.Transaction) bool {
	return transaction.Identity().Static || h.server.WouldAccept(transaction)
}

// source is the address of a request's sender, as given by the listener or by a proxy in front of it.
func source(remote net.Addr) netip.AddrPort {
	var a netip.AddrPort
	switch remote := remote.(type) {
	case *net.UDPAddr:
		a = remote.AddrPort()
	case *net.TCPAddr:
		a = remote.AddrPort()
	default:
		a, _ = netip.ParseAddrPort(remote.String()) // a proxied address; the zero value matches no rule
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
