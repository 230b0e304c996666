// Package gsstsig authenticates DNS messages on a server: it negotiates keys
// by TKEY with GSS-API (RFC 2930, RFC 3645), keeps them, verifies requests
// that are signed with them and signs the answers (TSIG, RFC 8945). It knows
// DNS messages and nothing of zones or of the server program around it.
//
// # The story
//
// A client asks for TYPE TKEY at a name that it invents, the key name, and
// encloses a TKEY record of mode 3 with a GSS-API token: Kerberos' AP-REQ,
// bare or inside SPNEGO. Server.Negotiate gives the token to gsstsig/krb5,
// through gsstsig/spnego when it is framed so, and answers with the acceptor's
// token. When one round was not enough, the unfinished context waits in the
// Table, for a minute at most. When it was, the Table files the context under
// the key name, and the answer is signed with it already, so that the client
// knows that the server holds the same key (RFC 3645 section 4.1.3). A token
// that is refused is answered BADKEY, with Kerberos' own error beside it.
//
// From then on messages carry a TSIG record whose MAC is a GSS-API per-message
// token. Verifier.Verify finds the context by the key name, checks the MAC
// over the octets that were received, then the time, and returns a
// Transaction: who signed, and all that is needed to sign the answer. A key
// belongs to no connection and no address. Static HMAC keys are verified in
// the same place and yield the same Transaction.
//
// A TKEY of mode 5, signed, deletes a context. Otherwise it lives until its
// time is up or until busier ones need its room.
//
// # Where things are
//
// tkey.go handles TKEY queries, table.go keeps contexts, verify.go and
// transaction.go are the two halves of TSIG, with message.go for the walk over
// an untrusted message, keys.go for the MACs, and digest.go for what they
// cover. client_transaction.go offers the same octets to package client.
//
// # What is trusted
//
// Nothing that comes from the network. Names, counts, lengths and tokens are
// checked before use; each table is bounded; no size is allocated because a
// message says so. Errors and Events name principals, key names and reasons,
// never keys or tokens.
package gsstsig
