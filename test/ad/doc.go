// Package ad holds the end-to-end tests in an Active Directory domain: Samba's domain controller without a DNS server of
// its own, this project's CoreDNS as the domain's only one, and the programs that register machines there (samba_dnsupdate,
// net ads, adcli, SSSD, nsupdate, dnspython) as they come from Debian.
//
// Every machine of the domain is a node of its own (package node): the controller dc1, the name server ns1, and the
// members. A test that restarts something or changes ns1's Corefile puts it back.
//
// The tests have the build tag e2e and need root. They end with a table of what was tried, see package tested.
package ad
