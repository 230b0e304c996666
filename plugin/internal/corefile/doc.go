// Package corefile reads gsstsig blocks: for the plugin from CoreDNS's controller, and for commands from a Corefile that
// CoreDNS does not start.
package corefile
