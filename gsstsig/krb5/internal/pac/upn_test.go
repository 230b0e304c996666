package pac_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/internal/pac"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/internal/pac/pactest"
)

func TestAccount(t *testing.T) {
	extended := func(account, sid string) *pactest.UPN {
		return &pactest.UPN{Name: "host/client1.corp.test@CORP.TEST", Domain: "CORP.TEST", Account: account, SID: sid}
	}
	logon := func(name string, rid uint32) *pactest.Logon {
		return &pactest.Logon{Domain: domain, User: rid, Primary: 513, Name: name}
	}
	for _, c := range []struct {
		name         string
		logon        *pactest.Logon
		upn          *pactest.UPN
		account, sid string
		malformed    bool
	}{
		{name: "both", logon: logon("alice", 1103), upn: extended("alice", domain+"-1103"), account: "alice", sid: domain + "-1103"},
		{name: "extended form alone", upn: extended("alice", domain+"-1103"), account: "alice", sid: domain + "-1103"},
		{name: "basic form", logon: logon("alice", 1103), upn: extended("", ""), account: "alice", sid: domain + "-1103"},
		{name: "basic form alone", upn: extended("", "")},
		{name: "logon information alone", logon: logon("CLIENT1$", 1104), account: "CLIENT1$", sid: domain + "-1104"},
		{name: "none"},
		{name: "case", logon: logon("Alice", 1103), upn: extended("alice", domain+"-1103"), account: "alice", sid: domain + "-1103"},
		{name: "the administrator", logon: logon("Administrator", 500), account: "Administrator", sid: domain + "-500"},
		// FreeIPA: every host is the group of domain controllers.
		{name: "host of FreeIPA", logon: logon("ipa.corp.test", 516)},
		{name: "host of FreeIPA, extended", logon: logon("ipa.corp.test", 515), upn: extended("ipa.corp.test", domain+"-515")},
		{name: "name of the logon information missing", logon: logon("", 1103), upn: extended("alice", domain+"-1103"), account: "alice", sid: domain + "-1103"},
		{name: "no domain", logon: &pactest.Logon{User: 1103, Name: "alice"}},
		{name: "two names", logon: logon("client1$", 1103), upn: extended("alice", domain+"-1103"), malformed: true},
		{name: "two SIDs", logon: logon("alice", 1104), upn: extended("alice", domain+"-1103"), malformed: true},
		{name: "no name", upn: extended("", domain+"-1103"), malformed: true},
		{name: "long name", upn: extended(strings.Repeat("x", 1025), domain+"-1103"), malformed: true},
		{name: "long name in the logon information", logon: logon(strings.Repeat("x", 1025), 1103), malformed: true},
		{name: "longest name", upn: extended(strings.Repeat("x", 1024), domain+"-1103"), account: strings.Repeat("x", 1024), sid: domain + "-1103"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := spec(c.logon)
			s.UPN = c.upn
			p, err := pac.Open(s.Encode(), verify)
			if c.malformed {
				if !errors.Is(err, pac.ErrMalformed) {
					t.Errorf("%+v, %v", p, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Account != c.account || p.SID != c.sid || p.Logon != (c.logon != nil) {
				t.Errorf("account %q, SID %q, logon information %v", p.Account, p.SID, p.Logon)
			}
		})
	}
}

// Every octet of lengths, offsets and the SID is bounded by those that are there.
func TestDamagedUPN(t *testing.T) {
	good := (&pactest.UPN{Name: "a@CORP.TEST", Domain: "CORP.TEST", Account: "alice", SID: domain + "-1103"}).Encode()
	open := func(b []byte) (*pac.PAC, error) {
		return pac.Open(spec(nil, pactest.Buffer{Type: 12, Data: b}).Encode(), verify)
	}
	for n := range good {
		if p, err := open(good[:n]); !errors.Is(err, pac.ErrMalformed) {
			t.Fatalf("cut off after %d of %d octets: %+v, %v", n, len(good), p, err)
		}
	}
	for i := range good {
		for _, v := range []byte{0, 1, 0x7F, 0xFF} {
			b := append([]byte(nil), good...)
			b[i] = v
			if _, err := open(b); err != nil && !errors.Is(err, pac.ErrMalformed) {
				t.Fatalf("octet %d is %d: %v", i, v, err)
			}
		}
	}
	for name, change := range map[string]func(b []byte){
		"UPN beyond the end":       func(b []byte) { b[3] = 1 },
		"domain beyond the end":    func(b []byte) { b[5] = 1 },
		"account beyond the end":   func(b []byte) { b[13] = 1 },
		"odd length of account":    func(b []byte) { b[12]-- },
		"SID beyond the end":       func(b []byte) { b[19] = 1 },
		"SID longer than its room": func(b []byte) { b[16] -= 4 },
		"SID shorter than that":    func(b []byte) { b[16] += 4 },
	} {
		b := append(append([]byte(nil), good...), 0, 0, 0, 0)
		change(b)
		if p, err := open(b); !errors.Is(err, pac.ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}
