// Package krb5 is Kerberos 5 as a GSS-API mechanism, as far as GSS-TSIG needs
// it: both ends of the handshake and the message integrity codes (MICs) that
// the handshake's key makes afterwards.
//
// # The exchange
//
// A client that wants to talk to the service DNS/ns1.example.test gets a
// ticket for it from its KDC. The ticket is encrypted in the service's
// long-term key, which the server holds in a keytab; inside are the client's
// name and realm and a session key that the client knows too (RFC 4120,
// section 5.3). The client sends the ticket with an authenticator, the
// current time encrypted in the session key, which proves that the sender knows
// that key (RFC 4120, section 5.5.1). Both together are the AP-REQ. In GSS-API the
// AP-REQ travels in the framing of RFC 2743, section 3.1, and the
// authenticator's checksum field carries the GSS flags instead of a checksum
// (RFC 4121, section 4.1.1).
//
// [Acceptor] checks all that and answers, when the client asked for mutual
// authentication, with an AP-REP (RFC 4120, section 5.5.2): the client's time
// in the session key proves that the server could read the ticket. It also
// brings a fresh subkey and the server's first sequence number.
//
// From then on either side makes MICs (RFC 4121, section 4.2.6.1): an HMAC
// over the message and a 16-octet header with a direction, a sequence number
// and a flag that says whether the acceptor's subkey is the key. The key is the
// acceptor's subkey if there is one, else the initiator's subkey, else the
// ticket's session key (RFC 4121, section 2). GSS-TSIG puts these MICs into
// TSIG records.
//
// # What is trusted when
//
// Until the ticket is decrypted, nothing is trusted. The client's
// identity is that of the ticket, which the KDC wrote; the name that the
// authenticator repeats is only compared with it. A replay cache remembers
// each authenticator for as long as its time permits it to be accepted, and
// each context remembers the sequence numbers of the MICs it has verified.
//
// Tickets of Active Directory carry the client's groups in a PAC (package
// pac). It is verified with the service's key before anything in it counts; a
// ticket with an invalid PAC is refused, a ticket without one is that of a client
// without groups.
//
// Addresses in tickets are not looked at, as in other GSS acceptors: tickets
// rarely have any, and clients sit behind address translation.
//
// A ticket of a client from another realm lists the realms between (RFC 4120,
// section 2.7). The KDC of each could have invented the client; [TransitPolicy]
// says which are trusted.
//
// # Keys that change
//
// A ticket names the version of the key that it is encrypted in, and lives for
// hours. [Keytabs] follows its files, tries the version named before the
// others, and keeps keys that were removed from a file until the tickets have
// expired.
//
// # RC4
//
// Old domains have services whose only keys are of type RC4 (RFC 4757). They
// are accepted if AllowRC4 is set. The MICs of the context need not be RC4 then:
// a client that supports AES says so in its authenticator (RFC 4537), and gets a
// subkey of that type. Only without that are the MICs those of RFC 1964.
//
// # What is used of gokrb5
//
// Messages are decoded by bounded readers in this package. Of
// gokrb5 the AES-CTS cipher and the n-fold function are used, and its ticket
// and key types in [InitiatorConfig], so that tickets obtained by its client
// can be used. Its own AP-REQ verification, replay cache, keytab reader and
// PAC decoder are not: they take the client's realm from the client, let some
// replays through, panic on short input, and print key bytes in errors.
package krb5
