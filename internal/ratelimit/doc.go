// Package ratelimit limits rates by source address, so that the cost of one source
// is bounded while others are served.
//
// One source is one IPv4 address, or one IPv6 network of 64 bits: a host with
// one address of such a network can use them all (RFC 4291 section 2.5.4).
//
// Accounts keep a bucket of tokens for each of a bounded number of sources.
// The memory is the same whatever comes, and nothing takes longer under a flood
// than without one. The source address of a UDP message can be forged (RFC 2827).
// Accounts that such an address is charged to must therefore be separate from
// those of addresses that TCP has proven, and must not limit a client that comes
// by TCP.
package ratelimit
