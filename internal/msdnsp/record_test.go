package msdnsp

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

func octets(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// value is one with that type and data, TTL 900 and hours 3700000 since 1601.
func value(rrtype uint16, data string) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(len(data)))
	b = binary.LittleEndian.AppendUint16(b, rrtype)
	return slices.Concat(b, []byte("\x05\xf0\x00\x00\x07\x00\x00\x00\x00\x00\x03\x84\x00\x00\x00\x00\x20\x75\x38\x00"), []byte(data))
}

// TestParseRecord reads what Samba's own code packs (samba.dcerpc.dnsp), and types that it does not pack.
func TestParseRecord(t *testing.T) {
	for name, test := range map[string]struct {
		value []byte
		want  string
	}{
		"A":       {octets(t, "0400010005f0000007000000000003840000000020753800c0000207"), "A 192.0.2.7"},
		"AAAA":    {octets(t, "10001c0005f00000070000000000038400000000207538"+"0020010db8000000000000000000000007"), "AAAA 2001:db8::7"},
		"NS":      {octets(t, "1100020005f00000070000000000038400000000207538000f03036e733104636f7270047465737400"), "NS ns1.corp.test."},
		"CNAME":   {octets(t, "1100050005f00000070000000000038400000000207538000f03036e733104636f7270047465737400"), "CNAME ns1.corp.test."},
		"PTR":     {octets(t, "12000c0005f0000007000000000003840000000020753800100304486f737404636f7270047465737400"), "PTR Host.corp.test."},
		"SOA":     {octets(t, "3d00060005f00000070000000000038400000000207538000000000500000384000002580001518000000e100f030364633104636f727004746573740016030a686f73746d617374657204636f7270047465737400"), "SOA dc1.corp.test. hostmaster.corp.test. 5 900 600 86400 3600"},
		"MX":      {octets(t, "14000f0005f0000007000000000003840000000020753800000a1003046d61696c04636f7270047465737400"), "MX 10 mail.corp.test."},
		"SRV":     {octets(t, "1700210005f00000070000000000038400000000207538000001006401850f030364633104636f7270047465737400"), "SRV 1 100 389 dc1.corp.test."},
		"TXT":     {octets(t, "0900100005f0000007000000000003840000000020753800076f6e652074776f00"), `TXT "one two" ""`},
		"HINFO":   {octets(t, "06000d0005f000000700000000000384000000002075380001780379207a"), `HINFO "x" "y z"`},
		"root":    {octets(t, "0400020005f000000700000000000384000000002075380002010000"), "NS ."},
		"root, 2": {octets(t, "0300020005f0000007000000000003840000000020753800010000"), "NS ."},
		"root, 3": {value(dnswire.TypeNS, "\x00\x00"), "NS ."},
		"DNAME":   {value(dnswire.TypeDNAME, "\x03\x01\x01a\x00"), "DNAME a."},
		"RP":      {value(dnswire.TypeRP, "\x03\x01\x01a\x00\x03\x01\x01b\x00"), "RP a. b."},
		"NAPTR":   {value(dnswire.TypeNAPTR, "\x00\x0a\x00\x14\x01S\x03SIP\x00\x03\x01\x01a\x00"), `NAPTR 10 20 "S" "SIP" "" a.`},
		"TLSA":    {value(dnswire.TypeTLSA, "\x03\x01\x01\xab"), "TLSA 3 1 1 ab"},
		"DS":      {value(dnswire.TypeDS, "\x00\x01\x0d\x02"+string(make([]byte, 32))), "DS 1 13 2 " + hex.EncodeToString(make([]byte, 32))},
		"unknown": {value(65280, "abc"), `TYPE65280 \# 3 616263`},
	} {
		r, err := ParseRecord(test.value)
		if got := dnswire.TypeText(r.Type) + " " + dnswire.TextOrGeneric(r.Type, r.Data); err != nil || got != test.want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		if r.TTL != 900 || r.Hours != 3700000-3234576 || !r.Deleted.IsZero() {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestParseRecordTimes(t *testing.T) {
	for hours, want := range map[uint32]uint32{0: 0, 1: 1, 3234576: 1, 3234577: 1, 3234578: 2, 1<<32 - 1: 1<<32 - 1 - 3234576} {
		v := value(dnswire.TypeA, "\xc0\x00\x02\x01")
		binary.LittleEndian.PutUint32(v[20:], hours)
		if r, err := ParseRecord(v); err != nil || r.Hours != want {
			t.Errorf("%d hours: %d, %v; want %d", hours, r.Hours, err, want)
		}
	}
	// 2024-01-18 is what Samba's value stands for.
	tombstone := octets(t, "0800000005f000000700000000000384000000002075380000c083ed8a49da01")
	if r, err := ParseRecord(tombstone); err != nil || r.Type != 0 || r.Data != nil || !r.Deleted.Equal(time.Date(2024, 1, 17, 21, 20, 0, 0, time.UTC)) {
		t.Errorf("tombstone: %+v, %v", r, err)
	}
	for _, data := range []string{"", "\x01", "\x00\x00\x00\x00\x00\x00\x00\x00", "\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if r, err := ParseRecord(value(0, data)); err != nil || !r.Deleted.IsZero() {
			t.Errorf("tombstone %q: %+v, %v", data, r, err)
		}
	}
}

func TestParseRecordRefuses(t *testing.T) {
	a := value(dnswire.TypeA, "\xc0\x00\x02\x01")
	change := func(at int, to byte) []byte {
		v := slices.Clone(a)
		v[at] = to
		return v
	}
	for name, test := range map[string]struct {
		value []byte
		err   error
	}{
		"nothing":                    {nil, ErrRecord},
		"cut in the head":            {a[:23], ErrRecord},
		"cut in the data":            {a[:27], ErrRecord},
		"more than the data":         {append(slices.Clone(a), 0), ErrRecord},
		"another version":            {change(4, 4), ErrRecord},
		"a length that is too great": {change(1, 1), ErrRecord},
		"an address of three octets": {value(dnswire.TypeA, "\xc0\x00\x02"), ErrRecord},
		"no name":                    {value(dnswire.TypeNS, ""), ErrRecord},
		"half a count":               {value(dnswire.TypeNS, "\x03"), ErrRecord},
		"a name cut off":             {value(dnswire.TypeNS, "\x04\x01\x01a\x00"), ErrRecord},
		"a name without end":         {value(dnswire.TypeNS, "\x02\x01\x01a"), ErrRecord},
		"a name and more":            {value(dnswire.TypeNS, "\x03\x01\x01a\x00\x00"), ErrRecord},
		"more in the name":           {value(dnswire.TypeNS, "\x04\x01\x01a\x00\x00"), ErrRecord},
		"a pointer":                  {value(dnswire.TypeNS, "\x02\x01\xc0\x0c"), ErrRecord},
		"an SOA without names":       {value(dnswire.TypeSOA, string(make([]byte, 20))), ErrRecord},
		"half an SOA":                {value(dnswire.TypeSOA, string(make([]byte, 19))), ErrRecord},
		"a text cut off":             {value(dnswire.TypeTXT, "\x05abc"), ErrRecord},
		"no text":                    {value(dnswire.TypeTXT, ""), ErrRecord},
		"a preference cut off":       {value(dnswire.TypeMX, "\x00"), ErrRecord},
		"NAPTR without a string":     {value(dnswire.TypeNAPTR, "\x00\x0a\x00\x14"), ErrRecord},
		"NAPTR with half a string":   {value(dnswire.TypeNAPTR, "\x00\x0a\x00\x14\x05ab"), ErrRecord},
		"WINS":                       {value(0xff01, "\x00"), ErrWINS},
		"WINS-R":                     {value(0xff02, "\x00"), ErrWINS},
	} {
		if r, err := ParseRecord(test.value); !errors.Is(err, test.err) || r.Data != nil {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestSettings(t *testing.T) {
	var s Settings
	if s.Updates != UpdatesNotSet {
		t.Errorf("%+v", s)
	}
	for text, mode := range map[string]UpdateMode{"00": UpdatesNone, "01": UpdatesUnsecure, "02": UpdatesSecure} {
		var s Settings
		if err := s.Add(octets(t, "0100000001000000000000000100000002000000"+text+"00")); err != nil || s.Updates != mode {
			t.Errorf("mode %s: %+v, %v", text, s, err)
		}
	}
	for _, text := range []string{
		"0400000001000000000000000100000040000000" + "01000000" + "00", // aging is on
		"0400000001000000000000000100000010000000" + "a8000000" + "00", // no refresh for 168 hours
		"0400000001000000000000000100000020000000" + "49000000" + "00", // refresh for 73 hours
		"0100000001000000000000000100000002000000" + "02" + "00",       // secure updates
		"0400000001000000000000000100000008000000" + "ffffffff" + "00", // not of interest
		"0000000001000000000000000100000020000000" + "00",              // the default: as before
	} {
		if err := s.Add(octets(t, text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if s != (Settings{Updates: UpdatesSecure, Aging: true, NoRefresh: 168 * time.Hour, Refresh: 73 * time.Hour}) {
		t.Errorf("%+v", s)
	}
	for name, text := range map[string]string{
		"nothing":         "",
		"head cut off":    "00000000010000000000000001000000200000",
		"data cut off":    "04000000010000000000000001000000400000000100",
		"a great length":  "ffffffff01000000000000000100000040000000" + "0100000000",
		"another version": "0400000001000000000000000200000040000000" + "0100000000",
		"another mode":    "0100000001000000000000000100000002000000" + "0300",
	} {
		if err := s.Add(octets(t, text)); !errors.Is(err, ErrProperty) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The product of the last two and an hour has more than 63 bits: one is negative, one is small.
	for _, hours := range []uint32{878401, 1<<32 - 1, 3_000_000, 5_124_096} {
		value := binary.LittleEndian.AppendUint32(octets(t, "0400000001000000000000000100000010000000"), hours)
		if err := s.Add(value); err != nil || s.NoRefresh != maxHours*time.Hour {
			t.Errorf("%d hours: %v, %v", hours, s.NoRefresh, err)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := ParseRecord(value)
		switch {
		case err != nil && r.Data != nil:
			t.Errorf("%v, and %x", err, r.Data)
		case err == nil && r.Type != 0 && dnswire.Validate(r.Type, r.Data) != nil:
			t.Errorf("rdata %x of type %d is not valid", r.Data, r.Type)
		}
		var s Settings
		if s.Add(value) == nil && (s.Updates > UpdatesSecure || s.NoRefresh < 0 || s.Refresh < 0) {
			t.Errorf("%+v", s)
		}
	})
}
