// Package dnswire reads, checks, compares and prints domain names, messages and
// rdata in the form that they have on the wire (RFC 1035 sections 3 and 4).
//
// The octets are the truth: names and rdata are byte slices in uncompressed
// wire form, and no function rebuilds them from fields. Text is made for
// people, and [AppendTextOrGeneric] reads back what it prints before it trusts
// it. All that is known about a type of record is one entry in one table: its
// mnemonic and its fields in order. Checking, comparison, decompression,
// printing and reading of text follow that entry.
//
// [Validate] accepts what BIND 9.18 accepts when it receives a record, so that
// a zone whose records were validated can be transferred to BIND. Types without
// an entry are opaque (RFC 3597).
//
// Everything here may come from the network. No function panics on any octets,
// all work is linear in their number, and what is built of them is bounded by
// the limits of the protocol. All functions may be called concurrently; none
// keeps its arguments.
package dnswire
