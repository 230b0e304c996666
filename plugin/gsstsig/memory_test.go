package gsstsig

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMemoryIsReturned loads a zone of many records: what that took, beside the zone, is given back to the system. A small
// zone is not worth it.
func TestMemoryIsReturned(t *testing.T) {
	for _, tc := range []struct {
		records int
		want    bool
	}{{manyRecords - 3, false}, {manyRecords, true}} {
		t.Run(fmt.Sprint(tc.records), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "db")
			var b strings.Builder
			b.WriteString("$ORIGIN example.test.\n$TTL 300\n@ SOA ns1 hostmaster 1 900 600 86400 60\n@ NS ns1\n")
			for i := range tc.records - 2 {
				fmt.Fprintf(&b, "host%d A 192.0.2.1\n", i)
			}
			if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			before := collections()
			start(t, "example.test:{PORT} {\n\tbind 127.0.0.1\n\tgsstsig {\n\t\tkeytab {KEYTAB}\n\t\tfile "+file+"\n\t}\n}\n")
			if !tc.want {
				if now := collections(); now != before {
					t.Errorf("%d collections", now-before)
				}
				return
			}
			for deadline := time.Now().Add(10 * time.Second); collections() == before; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("nothing has been given back")
				}
			}
		})
	}
}

// TestIdleMemoryIsReturned holds much memory that is not used any more: it is given back once nothing takes memory.
func TestIdleMemoryIsReturned(t *testing.T) {
	ticks := make(chan time.Time)
	done := make(chan struct{})
	go func() { returnIdleMemory(ticks); close(done) }()
	tick := func() { ticks <- time.Now(); ticks <- time.Now() } // the second is taken when the first has been worked off
	take := func() {
		blocks := make([][]byte, 4*muchMemory>>20)
		for i := range blocks {
			blocks[i] = make([]byte, 1<<20)
		}
		ticks <- time.Now() // it sees what was taken
		runtime.KeepAlive(blocks)
	}
	before := collections()
	take()
	for deadline := time.Now().Add(10 * time.Second); collections() == before; tick() {
		m := readMemory()
		if !m.returnable(m) {
			take() // the runtime has given it back by itself, as it does in time
		} else if time.Now().After(deadline) {
			t.Fatalf("nothing has been given back: %+v", m)
		}
	}
	close(ticks)
	<-done
	if m := readMemory(); m.returnable(m) {
		t.Errorf("more could be given back: %+v", m)
	}
}

func TestReturnable(t *testing.T) {
	const megabyte = 1 << 20
	for _, tc := range []struct {
		what  string
		taken uint64 // since the earlier reading
		m     memoryReading
		want  bool
	}{
		{"a small process", 0, memoryReading{inUse: 20 * megabyte, held: 83 * megabyte}, false},
		{"a small process that was large", 0, memoryReading{inUse: 20 * megabyte, held: 84 * megabyte}, true},
		{"a large process", 0, memoryReading{inUse: 400 * megabyte, held: 499 * megabyte}, false},
		{"a large process after much work", 0, memoryReading{inUse: 400 * megabyte, held: 500 * megabyte}, true},
		{"the same with a little work", 12 * megabyte, memoryReading{inUse: 400 * megabyte, held: 800 * megabyte}, true},
		{"the same at work", 13 * megabyte, memoryReading{inUse: 400 * megabyte, held: 800 * megabyte}, false},
		{"no collection yet", 1, memoryReading{held: 100 * megabyte}, false},
	} {
		earlier := memoryReading{taken: 1000 * megabyte}
		tc.m.taken = earlier.taken + tc.taken
		if got := tc.m.returnable(earlier); got != tc.want {
			t.Errorf("%s: %v", tc.what, got)
		}
	}
}

// collections returns how often the program has asked for the memory that it does not need any more to be found.
func collections() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumForcedGC
}
