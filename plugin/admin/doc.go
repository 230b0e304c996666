// Package admin holds what the coredns binary does besides serving: "coredns gsstsig COMMAND". The commands read the
// Corefile that the server is started with, and its keytabs and databases, and change none of them, but for load, which
// fills an empty database.
package admin
