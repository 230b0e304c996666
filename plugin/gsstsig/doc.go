// Package gsstsig is the CoreDNS side of secure dynamic updates: it reads the Corefile, serves the block's zones and
// takes their UPDATE messages.
//
// A request comes in at package listener, which owns the sockets of every server block that shares an address with a
// gsstsig block. TKEY queries end there: they set up a security context between the client and this block's keytab.
// Any other message passes through the block's plugins and arrives at [Handler.ServeDNS]. An UPDATE then takes three
// steps that never mix:
//
//   - authenticate: listener and the protocol package gsstsig have verified the message's TSIG record over its exact
//     octets; what they found travels in the request's context (identity.go);
//   - authorize: package policy decides, on the state of the zone that the update would apply to, whether this
//     identity may do all of it (update.go);
//   - change: package zone applies it whole or not at all (update.go).
//
// Package corefile reads the block. The files here: setup.go puts it together, state.go keeps what outlives a reload, startup.go
// holds the words said to the administrator at start-up, lookup.go answers queries, transfer.go feeds the transfer
// plugin, audit.go writes the log and metrics.go counts.
package gsstsig
