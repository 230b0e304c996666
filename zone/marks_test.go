package zone

import (
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

func markOf(context byte, number uint64) store.Mark {
	return store.Mark{Context: [16]byte{context}, Number: number}
}

// TestMarksAreKept: a mark is kept for its time, by a clock that nobody sets, and tells contexts and numbers apart.
func TestMarksAreKept(t *testing.T) {
	var now time.Duration
	table := newMarkTable(func() time.Duration { return now })
	if table.has(markOf(1, 1)) {
		t.Error("an empty table has a mark")
	}
	table.add([]store.Mark{markOf(1, 1), markOf(2, 1<<63)})
	for _, m := range []store.Mark{markOf(1, 2), markOf(2, 1), markOf(1, 1<<63), {}} {
		if table.has(m) {
			t.Errorf("has %v", m)
		}
	}
	for range 3 {
		for _, m := range []store.Mark{markOf(1, 1), markOf(2, 1<<63)} {
			if !table.has(m) {
				t.Errorf("after %s: lost %v", now, m)
			}
		}
		now += markTime/2 - time.Second
		table.add([]store.Mark{markOf(3, uint64(now))})
	}
	// In the end they go.
	for range 3 {
		now += markTime
		table.add([]store.Mark{markOf(3, uint64(now))})
	}
	if table.has(markOf(1, 1)) || len(table.older)+len(table.newer) != 2 {
		t.Errorf("marks are kept for ever: %d", len(table.older)+len(table.newer))
	}
}

// TestMarksAreBounded: however many marks come, the table keeps the latest ones and not many more.
func TestMarksAreBounded(t *testing.T) {
	table := newMarkTable(func() time.Duration { return 0 })
	table.max = 100
	for i := range uint64(1000) {
		table.add([]store.Mark{markOf(1, i)})
		if !table.has(markOf(1, i)) || i >= 99 && !table.has(markOf(1, i-99)) {
			t.Fatalf("mark %d or one of the hundred before is not kept", i)
		}
		if kept := len(table.older) + len(table.newer); kept > 200 {
			t.Fatalf("%d marks are kept", kept)
		}
	}
}
