package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/miekg/dns"
)

// TestMachines: each machine has names, addresses and a source of its own, in the zones that are served.
func TestMachines(t *testing.T) {
	seen := make(map[string]machine)
	for _, m := range []machine{0, 1, 255, 256, 65535, 65536, 99_999, 1<<22 - 1} {
		own := []string{m.name(), m.v4().String(), m.v6().String(), m.source().String()}
		for _, ptr := range m.pointers() {
			own = append(own, ptr.Hdr.Name)
		}
		for _, text := range own {
			if other, used := seen[text]; used {
				t.Errorf("machines %d and %d both have %s", other, m, text)
			}
			seen[text] = m
		}
		if !m.source().IsLoopback() {
			t.Errorf("machine %d comes from %v", m, m.source())
		}
		updates := m.updates()
		if len(updates) != len(steps)-1 {
			t.Fatalf("%d updates", len(updates))
		}
		for i, zone := range []string{morningZone, morningPTR, morningPTRv6} {
			if u := updates[i]; u.Question[0].Name != zone {
				t.Errorf("update %d is of %s, not of %s", i, u.Question[0].Name, zone)
			}
			for _, rr := range updates[i].Ns {
				if !dns.IsSubDomain(zone, rr.Header().Name) {
					t.Errorf("%s is not in %s", rr.Header().Name, zone)
				}
			}
		}
	}
}

// TestTickets: the ticket of a machine names it, and is made with the service's key.
func TestTickets(t *testing.T) {
	keys := keytab.New()
	if err := keys.AddEntry(service, realmName, "password", time.Now(), 4, 18); err != nil {
		t.Fatal(err)
	}
	content, err := keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keytab")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := newMachines(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := all.ticket(7)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ticket.Client.String(), "host/pc0000007.morning.test@EXAMPLE.TEST"; got != want {
		t.Errorf("client %s, want %s", got, want)
	}
	if err := ticket.Ticket.DecryptEncPart(all.keys, &ticket.Ticket.SName); err != nil {
		t.Errorf("decrypting: %v", err)
	}
	if got := ticket.Ticket.DecryptedEncPart.CName.PrincipalNameString(); got != "host/pc0000007.morning.test" {
		t.Errorf("the ticket is of %s", got)
	}
}

// TestComeReportsFailures: a machine that is not served is counted, and does not stop the others.
func TestComeReportsFailures(t *testing.T) {
	all := &machines{target: func() string { return "nowhere" }, keys: keytab.New(), enctype: 18, version: 1, most: 3}
	all.come(t.Context(), 0, 10, 0)
	if len(all.failed) != 10 {
		t.Errorf("%d failures", len(all.failed))
	}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	all.come(ended, 0, 10, time.Hour) // returns at once
}

// TestRepeat: what gets no answer is sent again, three times in all, and nothing else is.
func TestRepeat(t *testing.T) {
	for _, test := range []struct {
		name     string
		errs     []error
		attempts int
		ok       bool
	}{
		{"an answer", []error{nil}, 1, true},
		{"the second is answered", []error{os.ErrDeadlineExceeded, nil}, 2, true},
		{"no answer", []error{os.ErrDeadlineExceeded, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded}, 3, false},
		{"a refusal", []error{errors.New("REFUSED")}, 1, false},
	} {
		all, attempts := new(machines), 0
		err := all.repeat(func() error { attempts++; return test.errs[attempts-1] })
		if attempts != test.attempts || (err == nil) != test.ok || int(all.repeated.Load()) != attempts-1 {
			t.Errorf("%s: %d attempts, %d repeated, %v", test.name, attempts, all.repeated.Load(), err)
		}
	}
}

func TestWaits(t *testing.T) {
	all := new(machines)
	for i := range all.took {
		for d := range 100 {
			all.took[i] = append(all.took[i], time.Duration(100-d)*time.Millisecond)
		}
	}
	text, longest := all.waits()
	if longest != 100*time.Millisecond || !strings.Contains(text, "median     51ms   99 % within    100ms") {
		t.Errorf("longest %v\n%s", longest, text)
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("a quantile of nothing")
	}
}
