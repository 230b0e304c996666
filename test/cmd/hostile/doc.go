// Command hostile floods the server with malformed messages while correct clients work, and reports what the flood costs
// them.
//
//	hostile -duration 10m
//
// It starts a realm and the server, records what clients of every framing say to it in handshakes and updates, and makes
// thousands of messages out of that: every field of the DNS messages, of the TKEY and TSIG records and of the tokens in
// them truncated, enlarged, duplicated, exchanged with its neighbour, set to zeros and ones, with the lengths around it as
// they were and put right; and random octets. Separate processes send these as fast as they can, by UDP and
// TCP, from the address of the good clients and from others.
//
// What the flood costs the good clients is measured against their rate beside the same processes with another target, a
// socket that is never read: on a machine that attacker, server and clients share, the processor time that the attacker
// takes is not the server's fault. For the same reason the server goes before the others where that may be arranged.
//
// Then TLS handshakes are begun that nobody finishes, good ones and broken ones, from one address and from a thousand. What that
// costs is measured in the same way. A quarter of the good clients use DNS over TLS.
//
// Then a client with a good ticket abuses it: by updates of long names, of deep ones, of many names that it adds and
// deletes, by updates that change nothing, by answers that it does not read and by UDP without waiting for answers, as fast
// as they go, from a process of its own. What that costs the good clients is measured against their rate beside as many
// octets of ordinary updates of the same client, by turns, and where ordinary updates do not get to as many, beside as few
// octets of the abuse too.
//
// The tests in this package, with the build tag e2e, send every message once or twice and look for correctness alone: what
// the good clients do succeeds, what others own stays theirs, and memory and log are bounded.
package main
