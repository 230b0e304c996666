// Package mit holds the end-to-end tests in a realm of MIT Kerberos whose machines are called host/NAME@REALM, as those of
// FreeIPA are: a KDC with its kadmind, and for SSSD's provider for FreeIPA a directory with as much in it as that asks for
// before it registers a machine (OpenLDAP's slapd; Debian 12 has no FreeIPA server).
//
// Every machine of the realm is a node of its own (package node): kdc1 with KDC and directory, the name server ns1, and
// the clients. They are set up as docs/mit.md and docs/freeipa.md say, by the very commands that stand there.
//
// The tests have the build tag e2e and need root. They end with a table of what was tried, see package tested.
package mit
