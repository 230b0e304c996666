// Package adzone reads a zone that Active Directory keeps for its DNS servers (an AD-integrated zone) by LDAP, for the command
// load: records with the times of their last refresh, owners of names, and the zone's settings.
//
// # The connection
//
// The domain controller is asked by plain LDAP. Both sides authenticate by Kerberos, and every message after that carries a
// signature of the Kerberos context (SASL GSSAPI with integrity, RFC 4752). A controller that demands signing, as Samba's and
// Windows's do by default, takes that; TLS and channel bindings are not needed for it. What comes before the handshake is done
// is bounded and not trusted.
//
// # What is read
//
// A zone is an object dnsZone below CN=MicrosoftDNS of one of the directory's partitions; a name is an object dnsNode below it,
// whose values of dnsRecord are the records (package msdnsp). The owner in the security descriptor of a node is the account that
// created it: a machine, if it registered itself. A node whose records were deleted stays for some days as a tombstone, and
// keeps its owner.
package adzone
