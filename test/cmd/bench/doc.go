// Command bench compares this project's CoreDNS with BIND, and in queries with CoreDNS's own file plugin and Knot, on the machine
// that it runs on. It is the second half of "make bench" and needs what test/install.sh installs.
//
//	bench -binary coredns -dir DIR            the whole comparison, about ten minutes
//	bench -binary coredns -dir DIR -quick     shorter rounds and fewer, about two minutes
//
// It starts a Kerberos realm and the servers, and measures in rounds. In each round every server has its turn, so that
// what else happens on the machine meets all of them, and the figures are medians over the rounds; a ratio is the median
// of the rounds' ratios. The same generator loads every server: goroutines of this process for handshakes and signed
// updates, each doing one thing at a time and verifying the MAC of every reply, and dnsperf for queries. It shares the
// machine with the servers, so the CPU time that an operation cost each side is told beside the rates.
//
// One subject of the queries is this server with the Corefile of the package, coredns-build/Corefile: with metrics, on every
// address and beside a block for all other names.
//
// The part cluster measures three servers with a zone on three members of etcd. Its clients are as many as those that put
// values into the same etcd, in the same rounds, without a server between.
//
// The result goes to standard output: two tables in Markdown, and what the machine is. What happens meanwhile goes to
// standard error.
//
// BIND runs with its defaults, apart from what the comparison is about. Both servers keep their data below -dir, which has
// to be on a disk: on a RAM disk a sync costs nothing, and a durable update is what is measured.
package main
