package krb5

import (
	"math/rand/v2"
	"testing"
)

func TestWindow(t *testing.T) {
	w := window{first: 1<<32 - 3}
	for _, c := range []struct {
		n    uint64 // from first
		want bool
	}{
		{0, true}, {0, false}, {2, true}, {1, true}, {1, false}, {2, false},
		{windowSize + 2, true}, // 2 is the oldest in the window now, 3 the oldest unseen
		{2, false}, {3, true}, {3, false},
		{windowSize + 4, true}, {4, false}, {5, true}, {3, false},
		{10 * windowSize, true}, {9*windowSize + 1, true}, {9 * windowSize, false}, {9*windowSize + 1, false},
		{windowSize, false},
		{1 << 62, true}, {1 << 62, false}, {1<<62 - 1, true},
		{1 << 63, false},
		{^uint64(0), false}, // before the first
	} {
		if got := w.add(w.first + c.n); got != c.want {
			t.Fatalf("%d: %v, want %v", c.n, got, c.want)
		}
	}
}

// The window agrees with a set of all numbers ever seen.
func TestWindowAgainstASet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	w := window{first: 42}
	seen := make(map[uint64]bool)
	var highest uint64
	for range 200_000 {
		n := highest + uint64(r.IntN(40))
		if back := uint64(r.IntN(windowSize + 200)); r.IntN(3) > 0 && back <= n {
			n -= back
		}
		if r.IntN(5000) == 0 {
			n += uint64(r.IntN(3 * windowSize))
		}
		want := !seen[n] && (n >= highest || highest-n < windowSize)
		if got := w.add(42 + n); got != want {
			t.Fatalf("%d with highest %d: %v, want %v", n, highest, got, want)
		}
		seen[n] = seen[n] || want
		highest = max(highest, n)
	}
}
