// Package corefile reads gsstsig blocks: for the plugin, from the controller that CoreDNS hands to its setup function,
// and for the commands of the binary, from a Corefile without starting what it describes.
package corefile
