package dnswire

import (
	"bufio"
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

// TestValidateAsBIND compares with what BIND said to the same rdata.
func TestValidateAsBIND(t *testing.T) {
	file, err := os.Open("testdata/bind.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tested := make(map[uint16]bool)
	for lines := bufio.NewScanner(file); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if words[0] == "#" {
			continue
		}
		rrtype, ok := ParseType(words[1])
		if !ok {
			t.Fatalf("no type %s", words[1])
		}
		tested[rrtype] = true
		header := unhex(t, updateHeader)
		msg := append(header, unhex(t, words[2])...)
		rdata, err := ExpandRdata(nil, msg, len(header), len(msg), rrtype)
		if accepted := err == nil; accepted != (words[0] == "accept") {
			t.Errorf("%s: %v", lines.Text(), err)
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Type != rrtype || e.Reason == "" {
				t.Errorf("%s: error %#v", lines.Text(), err)
			}
			continue
		}
		if err := Validate(rrtype, rdata); err != nil {
			t.Errorf("%s: expanded to %x: %v", lines.Text(), rdata, err)
		}
		checkText(t, rrtype, rdata)
		for n := range rdata {
			if _, err := ExpandRdata(nil, rdata[:n], 0, n, rrtype); (err == nil) != (Validate(rrtype, rdata[:n]) == nil) {
				t.Errorf("%s cut at %d: ExpandRdata %v", lines.Text(), n, err)
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
