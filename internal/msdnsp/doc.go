// Package msdnsp reads what a DNS server that is integrated in Active Directory keeps in the directory ([MS-DNSP] 2.3): the
// values of dnsRecord at the objects of names (dnsNode), and of dnsProperty at those of zones (dnsZone).
//
// Values come over the network. Everything is bounds-checked, and rdata that is returned is valid.
package msdnsp
