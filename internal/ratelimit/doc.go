// Package ratelimit keeps accounts by where messages come from, so that what one
// stranger may cost is bounded while others are served.
//
// One source is one IPv4 address, or one IPv6 network of 64 bits: whoever has
// one address of such a network has them all (RFC 4291 section 2.5.4).
//
// Accounts keep a bucket of tokens for each of a bounded number of sources.
// The memory is the same whatever comes, and nothing takes longer under a flood
// than without one. Addresses of UDP messages are whatever their sender writes
// (RFC 2827), so that accounts that an unproven address is charged to must be
// apart from those of addresses that were proven by TCP, and must not close the
// door to a client that comes with proof.
package ratelimit
