// Package spnego frames the tokens of a GSS-API mechanism as the Simple and
// Protected Negotiation of RFC 4178 does, on both sides.
//
// # The protocol
//
// The initiator opens with a NegTokenInit (section 4.2.1): the mechanisms it
// speaks, most wanted first, and usually, to save a round, the first token of
// the first one, the optimistic mechToken. It comes in the frame of RFC 2743
// section 3.1 under SPNEGO's own object identifier, which is how [IsToken] tells
// it from a bare Kerberos token. Every later token, in both directions, is a
// NegTokenResp (section 4.2.2) without that frame.
//
// The acceptor takes the first mechanism of the list that it knows. When that
// is the first of all, the optimistic token is for it and one round is enough.
// Otherwise the optimistic token was meant for another mechanism and is thrown
// away: the acceptor names its choice, asks for MICs and waits.
//
// MICs protect the list, which is not encrypted. An attacker who removed the
// strong mechanisms from it could make two peers use a weak one. So, unless
// both sides had the same first choice anyway, each side sends a MIC over the
// exact octets of the list, made with the context that came out of the
// negotiation, and neither is done before it has seen the other's (section 5).
// Such a MIC takes a sequence number of that context.
//
// # Which mechanisms
//
// Kerberos 5, under its own identifier and under the one that Microsoft's
// first implementation wrote by mistake and clients have listed first ever
// since. An acceptor that is offered the latter takes it and names it in its
// answer, since that is what such clients compare with.
//
// The package knows nothing about Kerberos itself: a [Mechanism] or an
// [InitiatorMechanism] makes and checks the tokens.
package spnego
