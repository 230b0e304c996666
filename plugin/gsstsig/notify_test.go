package gsstsig

import (
	"errors"
	"testing"
)

// TestNotifierCoalesces: what changes while a NOTIFY is under way is one more NOTIFY, however often it changes.
func TestNotifierCoalesces(t *testing.T) {
	sent := make(chan string)
	n := &notifier{send: func(origin string) error {
		sent <- origin
		return errors.New("nobody there")
	}}
	n.changed("example.test.")
	want(t, "the first", <-sent, "example.test.")
	for range 1000 {
		n.changed("example.test.")
	}
	want(t, "the second", <-sent, "example.test.")
	n.changed("example.org.")
	want(t, "another zone", <-sent, "example.org.")
}
