package dnswire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
)

// unhex returns octets written in hexadecimal, with spaces.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	octets, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSuffix(text, "-"), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// updateHeader is an UPDATE's header and the name of its zone, example.test, at
// offset 12.
const updateHeader = "0001 2800 0001 0001 0000 0000 076578616d706c650474657374 00"

// A verdict is what BIND said to rdata.
type verdict struct {
	line     string
	rrtype   uint16
	octets   []byte
	accepted bool
}

// verdicts reads testdata/bind.txt.
func verdicts(t testing.TB) (list []verdict) {
	t.Helper()
	text, err := os.ReadFile("testdata/bind.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if words[0] == "#" {
			continue
		}
		rrtype, ok := ParseType(words[1])
		if !ok {
			t.Fatalf("no type %s", words[1])
		}
		list = append(list, verdict{strings.TrimSpace(line), rrtype, unhex(t, words[2]), words[0] == "accept"})
	}
	return list
}

// TestValidateAsBIND compares with what BIND said to the same rdata.
func TestValidateAsBIND(t *testing.T) {
	tested := make(map[uint16]bool)
	for _, v := range verdicts(t) {
		tested[v.rrtype] = true
		rrtype := v.rrtype
		header := unhex(t, updateHeader)
		msg := append(header, v.octets...)
		rdata, err := ExpandRdata(nil, msg, len(header), len(msg), rrtype)
		if accepted := err == nil; accepted != v.accepted {
			t.Errorf("%s: %v", v.line, err)
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Type != rrtype || e.Reason == "" {
				t.Errorf("%s: error %#v", v.line, err)
			}
			continue
		}
		if err := Validate(rrtype, rdata); err != nil {
			t.Errorf("%s: expanded to %x: %v", v.line, rdata, err)
		}
		checkText(t, rrtype, rdata)
		for n := range rdata {
			if _, err := ExpandRdata(nil, rdata[:n], 0, n, rrtype); (err == nil) != (Validate(rrtype, rdata[:n]) == nil) {
				t.Errorf("%s cut at %d: ExpandRdata %v", v.line, n, err)
			}
		}
	}
	for rrtype, info := range types {
		if info.fields != nil && !IsMeta(rrtype) && !tested[rrtype] {
			t.Errorf("no rdata of type %s", info.name)
		}
	}
}

// checkText checks that the text of valid rdata is safe and means the rdata.
func checkText(t *testing.T, rrtype uint16, rdata []byte) {
	t.Helper()
	text := TextOrGeneric(rrtype, rdata)
	tokens, ok := splitTokens([]byte(text))
	if !ok {
		t.Errorf("%s %x: text %q can not be split", TypeText(rrtype), rdata, text)
		return
	}
	again, err := ParseText(rrtype, tokens, nil)
	if err != nil || !bytes.Equal(again, rdata) {
		t.Errorf("%s %x: text %s reads as %x, %v", TypeText(rrtype), rdata, text, again, err)
	}
	if own, ok := AppendText(nil, rrtype, rdata); ok && string(own) != text {
		t.Errorf("%s %x: text %s does not read back", TypeText(rrtype), rdata, own)
	}
}

// TestMetaTypes has the records that are in messages alone.
func TestMetaTypes(t *testing.T) {
	for _, c := range []struct {
		rrtype uint16
		rdata  string
		valid  bool
	}{
		{TypeOPT, "", true},
		{TypeOPT, "000a 0008 0102030405060708 0003 0000", true},
		{TypeOPT, "000a", false},
		{TypeOPT, "000a 0008 01", false},
		{TypeTSIG, "016100 000000000001 012c 0002 abcd 1234 0000 0000", true},
		{TypeTSIG, "016100 000000000001 012c 0002 abcd 1234 0000 0006 000000000002", true},
		{TypeTSIG, "016100 000000000001 012c 0003 abcd", false},
		{TypeTSIG, "016100 0000000000", false},
		{TypeTKEY, "016100 00000000 00000001 0003 0000 0001 60 0000", true},
		{TypeTKEY, "016100 00000000 00000001 0003 0000 0002 60", false},
		{TypeANY, "", true},
	} {
		rdata := unhex(t, c.rdata)
		if err := Validate(c.rrtype, rdata); (err == nil) != c.valid {
			t.Errorf("%s %s: %v", TypeText(c.rrtype), c.rdata, err)
		}
		if text := TextOrGeneric(c.rrtype, rdata); !strings.HasPrefix(text, `\# `) {
			t.Errorf("%s %s: text %s", TypeText(c.rrtype), c.rdata, text)
		}
	}
}
