// Package axfr fetches a zone from a server that runs (AXFR, RFC 5936), for the command load. The octets of the records stay as
// the server sends them.
//
// The server is not trusted to keep to the protocol: what it sends is bounded, and is taken as a whole or not at all. Whether
// the records are a zone is for package zone to say.
package axfr
