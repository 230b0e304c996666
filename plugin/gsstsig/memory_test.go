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

// collections returns how often the program has asked for the memory that it does not need any more to be found.
func collections() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumForcedGC
}
