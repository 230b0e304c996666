// Package gsstsig authenticates DNS messages on a server by TSIG (RFC 8945),
// with keys that clients negotiate by TKEY and GSS-API (RFC 2930, RFC 3645) or
// with static HMAC keys. It knows DNS messages and nothing of zones or of the
// server program around it.
//
// # The protocol
//
// A client sends a query of type TKEY for a name that it invents, the key name.
// The query has a TKEY record of mode 3 with a GSS-API token: the AP-REQ of
// Kerberos, bare or inside SPNEGO. [Authenticator.Negotiate] chooses the
// [Server] that has the key of the token's service, which gives the token to
// package krb5, through package spnego where it is framed so, and answers with
// the acceptor's token. If a token is refused, the answer has the TKEY error
// BADKEY, with Kerberos' own error beside it.
//
// If one round is not enough, the unfinished negotiation waits in the [Table],
// for a minute at most. Once it is complete, the Table holds the context under
// the key name. The answer that completes it is signed with it, so that the
// client knows that the server has the same key (RFC 3645 section 4.1.3).
//
// From then on the client's messages have a TSIG record whose MAC is a GSS-API
// per-message token. [Authenticator.Authenticate] finds the context by the key
// name, checks the MAC over the octets received, then the time, and returns a
// [Transaction]: who signed, and what it takes to sign the answer. A key
// belongs to no connection and no address.
//
// A TKEY query of mode 5, signed by the context's owner, deletes a context.
// Otherwise it ends with its lifetime, or when the table is full and others
// were used later.
//
// # Several servers
//
// [Table.Share] has servers give each other their contexts, in a table of sealed
// records ([SharedContexts]). A context is then a key at all of them, as soon as the
// client has the answer that completes it. Each server refuses what it has accepted
// before; whether another one has is told by the [Mark] of the message, which they
// have to keep in common with what they do. Answers are numbered so that no two
// servers use one number. Unfinished negotiations, and contexts of RC4, are of one
// server.
//
// # What is trusted
//
// Nothing from the network. Names, counts, lengths and tokens are checked
// before use; each table is bounded, and its bound shared between principals or
// source addresses; no message determines how much is allocated beyond its own
// size. Errors and Events name principals, key names and reasons, never keys or
// tokens.
package gsstsig
