package dnswire

import (
	"bytes"
	"testing"
)

// addRdata adds what testdata/bind.txt and the tables of text have of every
// type.
func addRdata(f *testing.F) {
	for _, v := range verdicts(f) {
		f.Add(v.rrtype, v.octets)
	}
	for _, c := range textCases {
		rrtype, _ := ParseType(c.rrtype)
		tokens, _ := splitTokens([]byte(c.text))
		if rdata, err := ParseText(rrtype, tokens, testOrigin); err == nil {
			f.Add(rrtype, rdata)
		}
	}
}

func FuzzValidate(f *testing.F) {
	addRdata(f)
	f.Fuzz(func(t *testing.T, rrtype uint16, rdata []byte) {
		err := Validate(rrtype, rdata)
		if Compare(rrtype, rdata, rdata) != 0 {
			t.Error("is not itself")
		}
		canonical := AppendCanonical(nil, rrtype, rdata)
		if Compare(rrtype, rdata, canonical) != 0 && err == nil {
			t.Errorf("is not its canonical form %x", canonical)
		}
		for name := range Names(rrtype, rdata) {
			if NameLen(rdata[name.Start:]) != name.End-name.Start {
				t.Errorf("no name at %d to %d", name.Start, name.End)
			}
		}
		expanded, expandErr := ExpandRdata(nil, rdata, 0, len(rdata), rrtype)
		if expandErr == nil && Validate(rrtype, expanded) != nil {
			t.Errorf("expands to %x, which is not valid", expanded)
		}
		if err != nil {
			return
		}
		if expandErr != nil || !bytes.Equal(expanded, rdata) {
			t.Errorf("expands to %x, %v", expanded, expandErr)
		}
		checkText(t, rrtype, rdata)
	})
}

func FuzzParseText(f *testing.F) {
	for _, c := range textCases {
		rrtype, _ := ParseType(c.rrtype)
		f.Add(rrtype, c.text)
	}
	f.Fuzz(func(t *testing.T, rrtype uint16, line string) {
		tokens, ok := splitTokens([]byte(line))
		if !ok {
			// Whatever the tokens are, reading them must end well.
			tokens = []Token{{Text: line}, {Text: line, Quoted: true}}
		}
		rdata, err := ParseText(rrtype, tokens, testOrigin)
		if err != nil {
			return
		}
		if err := Validate(rrtype, rdata); err != nil {
			t.Fatalf("reads as %x: %v", rdata, err)
		}
		checkText(t, rrtype, rdata)
	})
}

func FuzzUnpackName(f *testing.F) {
	f.Add(packedName, packedNameAt)
	f.Add([]byte("\xc0\x00"), 0)
	f.Fuzz(func(t *testing.T, msg []byte, off int) {
		name, next, err := UnpackName(nil, msg, off)
		skipped, skipErr := SkipName(msg, off)
		if err != nil {
			return
		}
		if NameLen(name) != len(name) || next <= off || next > len(msg) {
			t.Errorf("name %x, next %d", name, next)
		}
		if skipErr != nil || skipped != next {
			t.Errorf("next %d, skipped to %d, %v", next, skipped, skipErr)
		}
		again, err := ParseName(NameText(name), nil)
		if err != nil || !bytes.Equal(again, name) {
			t.Errorf("%x: text %s reads as %x, %v", name, NameText(name), again, err)
		}
		if CompareNames(name, name) != 0 || !EqualNames(name, AppendLower(nil, name)) {
			t.Error("is not itself")
		}
	})
}

func FuzzMessage(f *testing.F) {
	f.Add(testMessage(f))
	f.Fuzz(func(t *testing.T, msg []byte) {
		w, err := NewWalker(msg)
		if err != nil {
			return
		}
		end, n := headerLen, 0
		for r := (Record{}); w.Next(&r); n++ {
			if r.Start != end || r.RdataStart < r.Start || r.RdataEnd < r.RdataStart || r.End != r.RdataEnd || r.End > len(msg) {
				t.Fatalf("record %+v after %d", r, end)
			}
			end = r.End
			if owner, err := w.AppendOwner(nil, &r); err == nil && NameLen(owner) != len(owner) {
				t.Errorf("owner %x", owner)
			}
			if rdata, err := w.AppendRdata(nil, &r); err == nil && Validate(r.Type, rdata) != nil {
				t.Errorf("rdata %x of type %d is not valid", rdata, r.Type)
			}
		}
		counts := w.Header().Counts
		whole := n == int(counts[0])+int(counts[1])+int(counts[2])+int(counts[3]) && end == len(msg)
		if whole != (w.Err() == nil) {
			t.Errorf("%d records to %d of %d: %v", n, end, len(msg), w.Err())
		}
	})
}
