// Package extrablock adds server blocks with gsstsig to a Corefile, so that this project's listener serves every plain DNS
// address of it. Program corednssuite links it into CoreDNS's own tests. It is apart from that program because what CoreDNS's
// module imports must be neither a main package nor internal.
//
// To import it registers the gsstsig plugin and gives it its place in CoreDNS's order of plugins.
package extrablock
