// Package service opens a gsstsig block with the keys of its keytabs: all that follows from the configuration
// before a zone or a socket is opened. The plugin starts from it, and the commands examine it.
package service
