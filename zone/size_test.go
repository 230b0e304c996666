package zone

import (
	"errors"
	"testing"
)

// TestSize: a zone tells what it holds, as its limits count it.
func TestSize(t *testing.T) {
	z := openText(t, testApex, func(c *Config) { c.Limits.ZoneRecords = 1234 })
	if l := z.Limits(); l.ZoneRecords != 1234 || l.Tombstones != 1_000_000 {
		t.Errorf("%+v", l)
	}
	before := z.Snapshot().Size()
	if before.Records != z.Snapshot().Len() || before.Octets == 0 || before.Names+before.Owners+before.Tombstones+before.TombstoneOctets != 0 {
		t.Errorf("%+v", before)
	}
	applyAs(t, z, "U a.example.test. 5 IN A 192.0.2.1\nU b.example.test. 5 IN A 192.0.2.2",
		Claim{wire(t, "a.example.test."), "alice"}, Claim{wire(t, "b.example.test."), "alice"})
	applyAs(t, z, "U c.example.test. 5 IN A 192.0.2.1", Claim{wire(t, "c.example.test."), "bob"})
	apply(t, z, "U b.example.test. 0 ANY ANY\nU c.example.test. 0 ANY ANY")
	got := z.Snapshot().Size()
	if got.Records != before.Records+1 || got.Octets <= before.Octets || got.Names != 1 || got.Owners != 2 || got.Tombstones != 2 || got.TombstoneOctets == 0 {
		t.Errorf("%+v", got)
	}
}

// TestCommitted: each write to the store is told, with the number of updates and its error.
func TestCommitted(t *testing.T) {
	var told []Commit
	z, f := faulty(t, func(c *Config) { c.Committed = func(c Commit) { told = append(told, c) } })
	apply(t, z, "U a.example.test. 5 IN A 192.0.2.1")
	apply(t, z, "U a.example.test. 5 IN A 192.0.2.1") // changes nothing
	full := errors.New("no space left on device")
	f.Fail(full)
	apply(t, z, "U b.example.test. 5 IN A 192.0.2.1")
	if len(told) != 2 || told[0].Updates != 1 || told[0].Err != nil || told[0].Duration <= 0 || told[1].Updates != 1 || !errors.Is(told[1].Err, full) {
		t.Errorf("%+v", told)
	}
}
