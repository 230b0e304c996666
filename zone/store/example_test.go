package store_test

import (
	"context"
	"fmt"
	"log"
	"slices"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A zone fills an empty store once, then commits changes. Names and rdata are in wire form.
func Example() {
	const origin = "\x07example\x04test\x00"
	soa := func(serial byte) store.Record {
		data := append(make([]byte, 5), serial) // the root twice, and the serial
		return store.Record{Name: origin, Type: 6, Class: 1, TTL: 3600, Data: append(data, make([]byte, 16)...)}
	}
	ctx := context.Background()
	s := store.NewMemory(store.MemoryOptions{})
	defer s.Close()
	if err := s.Init(ctx, store.Contents{Serial: 1, Records: slices.Values([]store.Record{soa(1)})}); err != nil {
		log.Fatal(err)
	}
	host := store.Record{Name: "\x04host" + origin, Type: 1, Class: 1, TTL: 300, Data: []byte{192, 0, 2, 1}}
	change := store.Change{From: 1, To: 2, Removed: []store.Record{soa(1)}, Added: []store.Record{soa(2), host}}
	if err := s.Commit(ctx, []store.Change{change}); err != nil {
		log.Fatal(err)
	}
	for c, err := range s.Changes(ctx, 1, 2) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("serial %d to %d: %d removed, %d added\n", c.From, c.To, len(c.Removed), len(c.Added))
	}
	// Output:
	// serial 1 to 2: 1 removed, 2 added
}
