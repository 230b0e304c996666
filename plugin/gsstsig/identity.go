package gsstsig

import (
	"net"
	"net/netip"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// identity returns the sender of a request in the policy's terms. It depends only on the transaction that the listener
// verified over the message's octets; a nil transaction is an unsigned request.
func identity(transaction *gsstsig.Transaction, remote net.Addr) policy.Identity {
	id := policy.Identity{Kind: policy.Anonymous, Client: source(remote).Addr()}
	_, id.TCP = remote.(*net.TCPAddr)
	if transaction == nil {
		return id
	}
	signer := transaction.Identity()
	if signer.Static {
		id.Kind = policy.Static
		id.Name = signer.KeyName
		return id
	}
	id.Kind = policy.Kerberos
	id.Name = signer.Principal.String()
	id.Components = signer.Principal.Components
	id.Realm = signer.Principal.Realm
	id.Groups = transaction.Groups()
	return id
}

// accepts reports whether a transaction may be used in this block: a context if the block would have accepted its client too,
// since of several blocks on one address that have the same keytab one negotiates all contexts; a static key in all blocks of
// the address, as in the tsig plugin.
func (h *Handler) accepts(transaction *gsstsig.Transaction) bool {
	return transaction.Identity().Static || h.server.WouldAccept(transaction)
}

// source is the address of a request's sender, from the listener or from a proxy in front of it.
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
