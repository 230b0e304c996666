package msdtyp

import (
	"encoding/hex"
	"errors"
	"testing"
)

func octets(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSID(t *testing.T) {
	for text, want := range map[string]string{
		"010100000000000512000000":                                 "S-1-5-18",
		"01020000000000052000000020020000":                         "S-1-5-32-544",
		"010500000000000515000000a3c50cd8d430e6c53caccd014e040000": "S-1-5-21-3624715683-3320197332-30256188-1102",
		"0101ffffffffffff01000000":                                 "S-1-0xffffffffffff-1",
	} {
		if got, err := SID(octets(t, text)); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "01", "0101000000000005120000", "01010000000000051200000000", "020100000000000512000000", "0100000000000005",
		"01100000000000050000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"} {
		if got, err := SID(octets(t, text)); !errors.Is(err, ErrSID) || got != "" {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

func TestOwner(t *testing.T) {
	const system = "010100000000000512000000"
	for name, test := range map[string]struct {
		text string
		want string
		err  error
	}{
		"owner behind the head": {"0100008014000000000000000000000000000000" + system, system, nil},
		"owner further behind":  {"0100048018000000000000000000000000000000deadbeef" + system + "ffff", system, nil},
		"no owner":              {"0100008000000000000000000000000000000000", "", nil},
		"not self-relative":     {"0100000014000000000000000000000000000000" + system, "", ErrDescriptor},
		"another revision":      {"0200008014000000000000000000000000000000" + system, "", ErrDescriptor},
		"owner outside":         {"0100008021000000000000000000000000000000" + system, "", ErrDescriptor},
		"owner far outside":     {"01000080ffffffff000000000000000000000000" + system, "", ErrDescriptor},
		"owner in the head":     {"0100008004000000000000000000000000000000" + system, "", ErrDescriptor},
		"owner cut off":         {"0100008014000000000000000000000000000000" + system[:20], "", ErrSID},
		"head cut off":          {"01000080140000000000000000000000000000", "", ErrDescriptor},
		"nothing":               {"", "", ErrDescriptor},
	} {
		if got, err := Owner(octets(t, test.text)); hex.EncodeToString(got) != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
}

func FuzzOwner(f *testing.F) {
	f.Fuzz(func(t *testing.T, descriptor []byte) {
		sid, err := Owner(descriptor)
		if err == nil && sid != nil {
			if _, err := SID(sid); err != nil {
				t.Errorf("%x: owner %x: %v", descriptor, sid, err)
			}
		}
		if text, err := SID(descriptor); (err == nil) == (text == "") {
			t.Errorf("%x: %q, %v", descriptor, text, err)
		}
	})
}
