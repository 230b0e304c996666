// Package server builds this project's CoreDNS and runs it with a given Corefile, on a free port of 127.0.0.1 and out of
// a temporary directory.
//
// A Corefile names no port: CoreDNS is started with -dns.port. What else a Corefile needs a port for (health, ready,
// prometheus) it writes as {$NAME}, with the name listed in [Config].Ports.
package server
