package ratelimit

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"
)

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func of(address string) Key { return Of(netip.MustParseAddr(address)) }

func TestSources(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"0.0.0.0", "::", false},
		{"0.0.0.1", "::1", false},
	} {
		if same := of(test.a) == of(test.b); same != test.same {
			t.Errorf("%s and %s: %t", test.a, test.b, same)
		}
	}
	k := of("192.0.2.1")
	if k.With([]byte("a")) == k || k.With([]byte("a")) == k.With([]byte("b")) || k.With([]byte("a")) != of("192.0.2.1").With([]byte("a")) ||
		of("192.0.2.2").With([]byte("a")) == k.With([]byte("a")) {
		t.Error("With does not tell apart what is different, or the same")
	}
	if (Of(netip.Addr{}) != Key{}) || of("0.0.0.0") == (Key{}) || of("::") == (Key{}) {
		t.Error("the zero key is for invalid addresses")
	}
}

func TestTokens(t *testing.T) {
	c := &clock{time.Now()}
	a := New(Config{PerSecond: 0.5, Burst: 3, Now: c.now})
	one, two := of("192.0.2.1"), of("192.0.2.2")
	take := func(k Key, want bool) {
		t.Helper()
		if a.Empty(k) == want {
			t.Errorf("Empty: %t", want)
		}
		if a.Take(k) != want {
			t.Errorf("Take: %t", !want)
		}
	}
	for range 3 {
		take(one, true)
	}
	take(one, false)
	take(two, true) // another source's bucket is untouched
	c.at = c.at.Add(time.Second)
	take(one, false) // half a token
	c.at = c.at.Add(time.Second)
	take(one, true)
	take(one, false)
	a.Return(one)
	take(one, true)
	c.at = c.at.Add(-time.Hour)
	take(one, false)
	c.at = c.at.Add(2 * time.Hour)
	for range 3 {
		take(one, true)
	}
	take(one, false) // no more than the burst, however long it took
	for range 9 {
		a.Return(two)
	}
	for range 3 {
		take(two, true)
	}
	take(two, false)
}

// What was done for a source at a time is paid for, and not only what it had tokens for.
func TestDebts(t *testing.T) {
	c := &clock{time.Now()}
	a := New(Config{PerSecond: 2, Burst: 3, Now: c.now})
	k := of("192.0.2.1")
	for range 3 + 20 {
		a.Charge(k)
	}
	for _, test := range []struct {
		after time.Duration
		empty bool
	}{{0, true}, {10 * time.Second, true}, {time.Second / 2, false}} {
		c.at = c.at.Add(test.after)
		if a.Empty(k) != test.empty {
			t.Errorf("after %v more: empty is %t", test.after, !test.empty)
		}
	}
	if !a.Take(k) || a.Take(k) {
		t.Error("not the one token that has come")
	}
	a.Charge(k)
	a.Return(k)
	a.Return(k)
	if !a.Take(k) || a.Take(k) {
		t.Error("what is returned does not pay the debt first")
	}
	c.at = c.at.Add(time.Hour)
	for range 3 {
		if !a.Take(k) {
			t.Error("no full bucket after an hour")
		}
	}
	if a.Take(k) {
		t.Error("more than the burst")
	}
}

// The table stays as large as it is, and the source that has been charged most
// is remembered longest.
func TestForgetting(t *testing.T) {
	c := &clock{time.Now()}
	a := New(Config{PerSecond: 1, Burst: 4, Sources: ways, Now: c.now})
	if len(a.sets) != 1 {
		t.Fatalf("%d sets", len(a.sets))
	}
	bad := of("192.0.2.1")
	for range 4 {
		a.Take(bad)
	}
	var address [4]byte
	for i := range uint32(10000) {
		binary.BigEndian.PutUint32(address[:], 10<<24|i)
		if !a.Take(Of(netip.AddrFrom4(address))) {
			t.Fatalf("source %d has no tokens", i)
		}
	}
	if !a.Empty(bad) {
		t.Error("other sources have cleared the account")
	}
}

func TestConcurrently(t *testing.T) {
	c := &clock{time.Now()} // stands still
	a := New(Config{PerSecond: 1, Burst: 1000, Now: c.now})
	var taken [8]int
	var group sync.WaitGroup
	for g := range taken {
		group.Go(func() {
			for range 500 {
				if a.Take(of("192.0.2.1")) {
					taken[g]++
				}
				a.Empty(of("192.0.2.1"))
			}
		})
	}
	group.Wait()
	sum := 0
	for _, n := range taken {
		sum += n
	}
	if sum != 1000 {
		t.Errorf("%d tokens of 1000", sum)
	}
}

func BenchmarkTake(b *testing.B) {
	a := New(Config{PerSecond: 100, Burst: 200})
	var address [4]byte
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint32(address[:], uint32(i))
		a.Take(Of(netip.AddrFrom4(address)))
	}
}
