package krb5

import (
	"bytes"
	"errors"
	"testing"
	"testing/iotest"
)

// TestRandomSource makes the same AP-REP twice from the same octets, and none
// where they fail to come.
func TestRandomSource(t *testing.T) {
	octets := make([]byte, 32+4+16) // subkey, sequence number, confounder
	for i := range octets {
		octets[i] = byte(i)
	}
	request := requestSpec{sequence: 77}
	request.session = testKey(18, "session")
	token := request.token()
	answer := func(change func(*AcceptorConfig)) ([]byte, error) {
		return newTestAcceptor(t, change).NewContext().Accept(token)
	}
	first := must(answer(func(c *AcceptorConfig) { c.Random = bytes.NewReader(octets) }))
	if again := must(answer(func(c *AcceptorConfig) { c.Random = bytes.NewReader(octets) })); !bytes.Equal(first, again) {
		t.Error("the same randomness makes another AP-REP")
	}
	if other := must(answer(func(*AcceptorConfig) {})); bytes.Equal(first, other) {
		t.Error("the randomness of the machine makes the same AP-REP")
	}
	broken := errors.New("broken")
	for n := range len(octets) {
		short := bytes.NewReader(octets[:n])
		if reply, err := answer(func(c *AcceptorConfig) { c.Random = short }); err == nil || reply != nil {
			t.Fatalf("with %d octets: %d octets, %v", n, len(reply), err)
		}
	}
	if _, err := answer(func(c *AcceptorConfig) { c.Random = iotest.ErrReader(broken) }); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}
