// Command hostile lets a flood of broken messages loose on the server, beside clients that do nothing wrong, and tells
// what it did to them.
//
//	hostile -duration 10m
//
// It starts a realm and the server, records what clients of every framing say to it in handshakes and updates, and makes
// thousands of messages out of that: every field of the DNS messages, of the TKEY and TSIG records and of the tokens in
// them truncated, enlarged, duplicated, exchanged with its neighbour, set to zeros and ones, with the lengths around it as
// they were and put right; and octets out of nowhere. Processes of their own send these as fast as they can, by UDP and
// TCP, from the address of the good clients and from others.
//
// What the flood costs the good clients is measured against their rate beside the same processes with another target, a
// socket that nobody reads: on a machine that attacker, server and clients share, the processor time that the attacker
// takes is not the server's fault. For the same reason the server goes before the others where that may be arranged.
//
// The test in this package, with the build tag e2e, sends every message once or twice and looks for correctness alone.
package main
