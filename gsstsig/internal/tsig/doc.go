// Package tsig has the octets of TSIG (RFC 8945) that servers and clients
// share: it finds and reads the TSIG record of a message, builds what a MAC
// covers, and adds the record to a message. It makes and checks no MACs, knows
// no keys and trusts nothing that it reads.
//
// A signed message ends with its TSIG record: the name of the key, the
// algorithm, the time, and a MAC over the message as it was before the record
// was added. The MAC of an answer covers the MAC of the request too, and in an
// answer of several messages each MAC covers the one before (section 5.3).
// [ServerTransaction] and [ClientTransaction] keep what the next message of an
// answer depends on. They are distinct types, so that a signer is never used
// to check its own messages.
package tsig
