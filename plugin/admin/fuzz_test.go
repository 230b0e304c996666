package admin

import (
	"bytes"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire/dnswiretest"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
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

// FuzzLoad reads any dump or master file. What it takes comes back the same from its own dump.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(master))
	f.Add([]byte(";gsstsig: zone example.test. serial 41\n" + master + ";gsstsig: owner a\\.b.example.test. \"a\\010\\\"b@E\" deleted 2026-01-02T03:04:05Z\n"))
	f.Add([]byte(master + ";gsstsig: refreshed 2026-01-02T03:00:00Z\nn A 192.0.2.7\nn A 192.0.2.8\n;gsstsig: refreshed 2026-01-02T04:00:00+01:00\n@ TXT x\n"))
	f.Add([]byte(master + "n NULL \\# 3 0a3b22\nMy\\032Printer TXT ( \"a\n\" )\nm TYPE3 \\# 1 00\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if bytes.Contains(bytes.ToUpper(content), []byte("$GENERATE")) {
			return // one line can stand for a million records
		}
		records, owners, err := readMaster(bytes.NewReader(content), origin, "dump", func(diagnose.Finding) {})
		if err != nil {
			return
		}
		want := openMemory(t, records, owners)
		sameZone(t, "the dump", reload(t, dumped(t, want)), want)
	})
}

// FuzzDump dumps a zone with any record and any owner. They come back the same, and nothing else comes.
func FuzzDump(f *testing.F) {
	for i, r := range dnswiretest.Generate(1, 1) {
		f.Add(hostileLabels[i%len(hostileLabels)], r.Type, r.Octets, "host/a\n"+hostileLabels[i%len(hostileLabels)], uint32(i)<<16)
	}
	f.Fuzz(func(t *testing.T, label string, rrtype uint16, rdata []byte, principal string, hours uint32) {
		if label == "" || len(label) > dnswire.MaxLabel || rrtype == dnswire.TypeSOA || dnswire.IsMeta(rrtype) ||
			dnswire.Validate(rrtype, rdata) != nil || principal == "" || len(principal) > 1000 || hours > maxHours {
			return
		}
		records := append(apexRecords(t), store.Record{Name: below(label), Type: rrtype, Class: 1, TTL: 5, Hours: hours, Data: rdata})
		owners := []store.Owner{{Name: string(dnswire.AppendLower(nil, []byte(below(label)))), Principal: principal}}
		want := openMemory(t, records, owners)
		sameZone(t, "the dump", reload(t, dumped(t, want)), want)
	})
}
