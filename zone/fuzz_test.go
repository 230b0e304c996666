package zone

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// FuzzApply sends any message to a small zone. Whatever it is, the zone stays one, and a message
// that is not answered NOERROR changes nothing.
func FuzzApply(f *testing.F) {
	for _, sc := range updateScenarios {
		wire, err := message(f, sc.script).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		z := openText(t, updateZone, nil)
		before := z.Snapshot()
		r := z.Apply(context.Background(), &Update{Message: wire})
		after := z.Snapshot()
		verify(t, after)
		if r.Rcode != dns.RcodeSuccess && after != before {
			t.Fatalf("%s changed the zone", dns.RcodeToString[r.Rcode])
		}
		if r.Changed != (r.Before != r.After) || r.After != after.Serial() {
			t.Fatalf("%+v, serial %d", r, after.Serial())
		}
		// What the zone holds it can also say.
		response := new(dns.Msg)
		response.Answer = slices.Collect(after.Records())
		if _, err := response.Pack(); err != nil {
			t.Fatalf("cannot be packed: %v", err)
		}
		// What it holds comes back from its structs as the same octets.
		records := slices.Collect(after.WireRecords())
		for i, rr := range response.Answer {
			if r, err := RecordOf(rr); err != nil || !equalRecords(r, records[i]) {
				t.Fatalf("%v: %+v, want %+v, %v", rr, r, records[i], err)
			}
		}
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		for _, rr := range m.Ns {
			if rr == nil {
				continue
			}
			a := after.Lookup(rr.Header().Name, rr.Header().Rrtype)
			response.Answer, response.Ns, response.Extra = a.Answer, a.Authority, a.Additional
			if _, err := response.Pack(); err != nil {
				t.Fatalf("answer cannot be packed: %v", err)
			}
		}
	})
}

// FuzzParseSeed reads any master file. What it takes is a zone, and comes back the same.
func FuzzParseSeed(f *testing.F) {
	f.Add([]byte(testApex))
	f.Add([]byte(updateZone))
	f.Add([]byte(lookupZone))
	f.Add([]byte(testApex + "$INCLUDE a\nx TXT a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// One line of it can stand for 65,536 records.
		if bytes.Contains(bytes.ToUpper(data), []byte("$GENERATE")) {
			return
		}
		rrs, err := ParseSeed(bytes.NewReader(data), SeedConfig{
			Origin: "example.test.", File: "db", Signed: len(data)%2 == 0, Warn: func(SeedWarning) {},
			Open:     func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data[:len(data)/2])), nil },
			Annotate: func([]string) error { return nil },
		})
		if err != nil {
			var seed *SeedError
			if !errors.As(err, &seed) || seed.Reason == "" {
				t.Fatalf("error without file: %v", err)
			}
			return
		}
		z, err := Open(Config{Origin: "example.test.", Store: memory(), Seed: func() ([]store.Record, error) { return rrs, nil }})
		if err != nil {
			t.Fatalf("seed does not open: %v", err)
		}
		defer z.Close()
		s := z.Snapshot()
		verify(t, s)
		if s.Len() != len(rrs) {
			t.Fatalf("%d records of %d", s.Len(), len(rrs))
		}
		for _, r := range rrs {
			s.Lookup(textOf(r.Name), r.Type)
		}
	})
}
