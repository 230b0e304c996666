// Package listener serves the addresses of the server blocks that use gsstsig, those of plain DNS and of DNS over TLS, in the
// place of CoreDNS's own servers.
//
// # Why
//
// A TSIG record (RFC 8945) signs the exact octets of a message. CoreDNS's server does not hand those octets on: it
// parses a request, throws the octets away, and looks the plugins up by the name in the question, which for a TKEY
// query (RFC 2930) is the name of a key and belongs to no zone. It also reads at most 512 octets from UDP, where a
// signed update easily has more. So this package serves the addresses of gsstsig blocks, keeps the octets of a request, and
// calls CoreDNS for the rest.
//
// # The way of a request
//
//	endpoint     the UDP and the TCP socket of an address; they outlive a reload. TLS begins here (tls.go)
//	  └─ server  what a reload replaces: keys, timeouts, plugins
//	       ├─ shortcut  answers plain UDP queries from their octets, where no plugin has to see them
//	       ├─ classify  looks at the octets, and drops or limits what unauthenticated clients send too much of
//	       ├─ accept    verifies the TSIG over the octets received (RFC 8945 section 5.2), unpacks, checks the form
//	       ├─ workTime  has a signer wait that has had more than its share of the time while others are active
//	       ├─ turns     has sources take turns where large answers by TCP are found and packed
//	       ├─ TKEY      gsstsig.Server.Negotiate answers (RFC 3645 section 4)
//	       └─ the rest  (*dnsserver.Server).ServeDNS: CoreDNS's routing and plugins, with the verified Transaction in the
//	                    context (TransactionFrom)
//	            ├─ siteHandler      does what depends on the block that CoreDNS has chosen: refuses what did not verify,
//	            │                   or tells the plugins what the signature is worth there
//	            └─ responseWriter   signs whatever answers a signed request, last (RFC 8945 section 5.3)
//
// Octets, Transaction and reply stay together in one value all the way; nothing downstream needs to look a key up
// again, and no plugin can answer a signed request unsigned.
//
// # Living inside caddy
//
// CoreDNS gives plugins no way to replace a server, but all that is needed is public:
//
//   - Register, called by the setup function of a directive, notes the block. When the last directive was set up, every
//     key of these transports on an address of a noted block is marked so that CoreDNS makes no server for it (sites.go). Blocks
//     that share an address move together, whether they use gsstsig or not, because an address has one server.
//   - The first start function of the instance makes the servers, so that the start functions of other plugins find
//     their handlers. The last one opens the sockets, so that little can fail after that.
//   - caddy then starts, awaits and stops the servers as it does its own.
//
// Sockets outlive a configuration (sockets.go). A reload claims the sockets of the configuration that it replaces and
// takes them over, at the moment that caddy starts its servers, by swapping one pointer: no packet is lost and TCP
// connections stay up. A reload that fails abandons the claim. Other instances in the process keep to their own sockets,
// whatever their addresses.
//
// # Blocks that do not use gsstsig
//
// A block that shares an address with one that uses gsstsig behaves as in CoreDNS: it answers the question of a message
// whose TSIG record does not verify (TsigStatus says so), whose header counts records that are not there, or that has two
// OPT records, all of which the blocks that use gsstsig refuse as their RFCs demand. It gets the TKEY queries for its names
// that are none of GSS-TSIG, and sends UDP replies of the size that the client takes. There is one exception: an UPDATE of
// another class than IN is NOTAUTH everywhere, of class 0 or ANY FORMERR, as with BIND.
//
// What it gets of an UPDATE is what CoreDNS's server would have unpacked, and a message that this cannot unpack is FORMERR. A
// block that uses gsstsig gets a message with such records, too (unpackUpdate), and the octets beside it (UpdateFrom), which
// alone decide what is stored.
//
// A reload that adds gsstsig to an address, or takes the last of it away, changes from CoreDNS's own server to this one
// or back. No UDP socket is handed over then, so that datagrams of that moment may be lost.
//
// DNS over HTTPS, QUIC and gRPC stay CoreDNS's own. There is no GSS-TSIG on them.
package listener
