package admin

import (
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// FuzzTimeIn reads replies, which are not authenticated.
func FuzzTimeIn(f *testing.F) {
	refusal := messages.NewKRBError(types.NewPrincipalName(2, "krbtgt/EXAMPLE.TEST"), "EXAMPLE.TEST", 6, "CLIENT_NOT_FOUND")
	refusal.STime, refusal.Susec = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 7
	wire, err := refusal.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	if at, err := timeIn(wire); err != nil || !at.Equal(time.Date(2026, 1, 1, 0, 0, 0, 7000, time.UTC)) {
		f.Fatal(at, err)
	}
	f.Add(wire)
	f.Add([]byte{})
	f.Add([]byte{0x7e, 0x84})
	f.Fuzz(func(t *testing.T, reply []byte) {
		if at, err := timeIn(reply); err != nil && !at.IsZero() {
			t.Errorf("%v, %v", at, err)
		}
	})
}
