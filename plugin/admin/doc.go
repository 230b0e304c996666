// Package admin has the administrator's commands, which the coredns binary runs as "coredns gsstsig COMMAND". Some read the
// Corefile of the server with its keytabs and databases, and change none of these but for load, which fills an empty database.
// Others read and change a running server by its control socket, or the databases of one that is stopped. Another build of
// CoreDNS with the plugin gsstsig gets the commands by [Run].
package admin
