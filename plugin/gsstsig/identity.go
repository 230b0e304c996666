package gsstsig

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/coredns/coredns/plugin/metrics"
	"github.com/coredns/coredns/plugin/pkg/parse"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/miekg/dns"

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
	account, hasPAC := transaction.Account()
	id.Account, id.SID, id.HasPAC = account.Name, account.SID, hasPAC
	return id
}

// identity is the function identity with what is known of the signer's realm.
func (h *Handler) identity(transaction *gsstsig.Transaction, remote net.Addr) policy.Identity {
	id := identity(transaction, remote)
	if id.Kind == policy.Kerberos {
		id.RealmNamesAccounts = h.accounts.observe(id.Realm, id.Account)
	}
	return id
}

// maxAccountRealms bounds accountRealms. Realms are those that a Corefile permits, so it is not reached.
const maxAccountRealms = 1024

// accountRealms is the set of realms whose machines came with tickets that name their accounts, since the start of the
// process. That is so in Active Directory. MIT Kerberos and FreeIPA name none for machines, though FreeIPA does for users.
type accountRealms struct {
	mu     sync.RWMutex
	realms map[string]struct{}
}

// observe adds the realm of a ticket that names the account of a machine, and reports whether the realm is in the set.
func (a *accountRealms) observe(realm, account string) bool {
	a.mu.RLock()
	_, known := a.realms[realm]
	a.mu.RUnlock()
	if known || !strings.HasSuffix(account, "$") {
		return known
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.realms) < maxAccountRealms {
		a.realms[realm] = struct{}{}
	}
	return true
}

// accepts reports whether a transaction may be used in this block: a context if the block would have accepted its client too,
// since of several blocks on one address that have the same keytab one negotiates all contexts; a static key in all blocks of
// the address, as in the tsig plugin.
func (h *Handler) accepts(transaction *gsstsig.Transaction) bool {
	return transaction.Identity().Static || h.server.WouldAccept(transaction)
}

// sender is where a request comes from.
type sender struct {
	address   netip.AddrPort
	transport string // udp, tcp, tls, https, quic and so on; control
}

// byControl is the administrator.
var byControl = sender{transport: "control"}

// senderOf returns the sender of a request that CoreDNS passes to the plugin.
func senderOf(ctx context.Context, w dns.ResponseWriter) sender {
	return senderAt(metrics.WithServer(ctx), w.RemoteAddr())
}

// senderAt returns the sender of a request to a server's address, as CoreDNS writes it: tls://127.0.0.1:853.
func senderAt(server string, remote net.Addr) sender {
	scheme, _ := parse.Transport(server)
	if scheme == transport.DNS {
		scheme = remote.Network()
	}
	return sender{address: source(remote), transport: scheme}
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
