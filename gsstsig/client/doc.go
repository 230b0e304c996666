// Package client is the client's side of GSS-TSIG (RFC 3645): it makes a
// security context with a DNS server by TKEY and signs messages with it. It is
// there for tests, for load and for tools; servers do not need it.
//
// # How a client speaks
//
// [Credentials] get a ticket for the server's service principal, such as
// DNS/ns1.example.test, from the KDC, once for all contexts.
//
// [Client.Negotiate] puts the first GSS token into a TKEY query of mode 3
// under a key name of its choice, reads the server's token out of the TKEY
// record that comes back, and goes on until both sides are content (RFC 3645
// section 3.1). The tokens are Kerberos (package krb5), bare or within SPNEGO
// (package spnego). The TKEY query is not signed, but the last reply is, with
// the key just made (section 4.1.3): that signature is verified, because it is
// all that keeps an attacker on the path from changing the reply.
//
// A [Context] is the key. It signs a request with a TSIG record whose MAC is a
// GSS MIC over the request, and verifies each reply, whose MAC covers the
// request's MAC too, so that a reply fits one request only (RFC 8945 section
// 4.3). Replies that report an error are verified like all others; only BADKEY
// and BADSIG are unsigned by their nature, since there is no key to sign them
// with. A long reply to a transfer is a chain of messages, each of which is
// signed over the MAC before it, or is covered by the next that is signed
// (section 5.3.1).
//
// With Config.TLS all of that goes by DNS over TLS (RFC 7858). The context is
// not bound to TLS: TSIG proves who the server is with and without it.
//
// # Sending twice
//
// Nothing is ever retransmitted: a server that has seen a MAC refuses it when
// it comes again, and whether an update may be sent twice is for the caller to
// say. The one exception is a reply that UDP cuts short (TC): the request is
// signed again and sent by TCP.
package client
