// Package admin has the administrator's commands, which the coredns binary runs as "coredns gsstsig COMMAND". They read the
// Corefile of the server with its keytabs and databases, and change none of these. The exception is load, which fills an
// empty database. Another build of CoreDNS with the plugin gsstsig gets the commands by [Run].
package admin
