package main

// known are the tests that may pass on CoreDNS's listener and not on this one. Each needs a reason.
var known = []exception{}

// exception is a test that is known to fail on this project's listener.
type exception struct {
	test   string // with its subtest, as go test prints it
	reason string
}
