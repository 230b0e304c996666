// Package gssclient drives a DNS client that is written in C on MIT's GSSAPI library (c/gssclient.c): an initiator and
// a verifier that share no code with the server under test.
//
// The C program knows TKEY and TSIG and no more: it signs the messages that it is given, verifies the signature of
// each reply, of the TKEY reply too, by gss_verify_mic, and can be told to misbehave (a wrong MAC, a clock that is off,
// a message sent twice). What is in the messages is up to the Go side.
package gssclient

import _ "embed"

//go:embed c/gssclient.c
var source []byte
