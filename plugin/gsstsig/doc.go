// Package gsstsig is a CoreDNS plugin: the primary name server of zones that clients update by GSS-TSIG (RFC 2136, RFC 3645).
//
// The package listener owns the sockets of every server block that shares an address with a gsstsig block. It answers TKEY
// queries, which negotiate a security context between the client and the block's keytab. Any other message passes through
// the plugins of its server block to [Handler.ServeDNS]. An UPDATE takes three separate steps:
//
//   - authenticate: the listener and the protocol package gsstsig have verified the message's TSIG record over its exact
//     octets; the result is in the request's context (identity);
//   - authorize: the package policy decides, on the state of the zone that the update applies to, whether this identity may
//     make all of its changes;
//   - change: the package zone applies the update as a whole or not at all.
//
// The package corefile reads the block of the Corefile, and the package service opens its keytabs. What outlives a reload of
// the Corefile, contexts and zones, is in one struct, process.
package gsstsig
