// Package policytest holds the rules' behaviour as data: tables of rules, senders, updates and
// verdicts, to be run against package policy and, with the same rules, against BIND.
//
// A table is lines of text. "zone NAME" says which of Seeds the lines below it are about, at first
// example.test. Lines that start with grant or deny are rules; the first one after a case begins a
// new policy. Every other line is a case:
//
//	VERDICT WHO [udp|tcp ADDRESS] : CHANGE [; CHANGE]...
//
// VERDICT is allow or refuse. Where BIND says otherwise, it is followed by the reason in brackets:
// allow[BIND ...]. WHO is a principal, the name of an HMAC key with a final dot, or anonymous.
// CHANGE is one of
//
//	add NAME TYPE RDATA
//	delete NAME [TYPE [RDATA]]
//
// with names relative to the zone unless they end in a dot; @ is the zone itself. Every case starts
// from the zone's seed. # begins a comment.
package policytest
