package gsstsig

import (
	"errors"
	"testing"
)

// TestNotifierCoalesces: any number of changes during a NOTIFY cause one more NOTIFY.
func TestNotifierCoalesces(t *testing.T) {
	sent := make(chan string)
	n := &notifier{send: func(origin string) error {
		sent <- origin
		return errors.New("no answer")
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
