package gsstsig

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/krb5test"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/storetest"
)

// TestReadySaysWhyNot: a server whose keytab has lost its key is not ready, and the log says so once, with the reason.
func TestReadySaysWhyNot(t *testing.T) {
	keytab := krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test").Keytab()
	good, err := os.ReadFile(keytab)
	if err != nil {
		t.Fatal(err)
	}
	bad, err := os.ReadFile(krb5test.New(t, "EXAMPLE.TEST", "host/ns1.example.test").Keytab())
	if err != nil {
		t.Fatal(err)
	}
	s, err := service.Open(&corefile.Block{Keytabs: []string{keytab}})
	if err != nil {
		t.Fatal(err)
	}
	h := &Handler{service: s}
	notReady := []string{"ERROR", "not ready: keytab " + keytab, "no longer has a key of DNS/ns1.example.test", "Fix: "}
	again := len(logged.lines("ready again"))
	for i, step := range []struct {
		keytab           []byte
		ready            bool
		notReady, againN int
	}{{good, true, 0, 0}, {bad, false, 1, 0}, {bad, false, 1, 0}, {good, true, 1, 1}, {good, true, 1, 1}, {bad, false, 2, 1}} {
		if err := os.WriteFile(keytab, step.keytab, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Keytabs.Reload(); err != nil {
			t.Fatal(err)
		}
		if ready := h.Ready(); ready != step.ready {
			t.Errorf("step %d: ready %t", i, ready)
		}
		if n := len(logged.lines(notReady...)); n != step.notReady {
			t.Errorf("step %d: %d lines say why not, want %d", i, n, step.notReady)
		}
		if n := len(logged.lines("ready again")) - again; n != step.againN {
			t.Errorf("step %d: %d lines say that it is ready again, want %d", i, n, step.againN)
		}
	}
}

// TestReadyTellsTheDisk: a server that cannot commit is not ready, and is again when it can, without any update.
func TestReadyTellsTheDisk(t *testing.T) {
	s, err := service.Open(&corefile.Block{Keytabs: []string{krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test").Keytab()}})
	if err != nil {
		t.Fatal(err)
	}
	faulty := &storetest.Faulty{Store: store.NewMemory(store.MemoryOptions{})}
	now := time.Now()
	z, err := zone.Open(zone.Config{Origin: "full.test.", Store: faulty, Now: func() time.Time { return now }, Seed: func() ([]store.Record, error) {
		return zone.ParseSeed(strings.NewReader("@ 300 SOA ns1.example.test. hostmaster 1 2 3 4 5\n@ 300 NS ns1.example.test.\n"), zone.SeedConfig{Origin: "full.test.", File: "db"})
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	h := &Handler{service: s, names: []string{"full.test."}, zones: map[string]*servedZone{"full.test.": newServedZone(z, inMemory)}, damaged: make(map[string]diagnose.Finding)}
	want(t, "at first", h.Ready(), true)
	faulty.Fail(syscall.ENOSPC)
	m, err := message(t, "full.test.", "+a.full.test. 300 A 192.0.2.1").Pack()
	if err != nil {
		t.Fatal(err)
	}
	want(t, "an update", z.Apply(t.Context(), &zone.Update{Message: m}).Rcode, dns.RcodeServerFailure)
	words := []string{"ERROR", "not ready: zone full.test.: its updates are answered SERVFAIL: no space left on device. Fix: free space on the disk"}
	for range 2 {
		want(t, "with a full disk", h.Ready(), false)
		now = now.Add(time.Second)
	}
	want(t, "lines", len(logged.lines(words...)), 1)
	faulty.Fail(nil)
	want(t, "with space again", h.Ready(), true)

	h.names = append(h.names, "damaged.test.")
	h.setDamaged("damaged.test.", errors.New("broken"))
	want(t, "with a damaged zone", h.Ready(), false)
	want(t, "lines", len(logged.lines("ERROR", "not ready: zone damaged.test.: broken; ")), 1)
}

// TestFindingsAreLogged: at the level of their severity, in one line.
func TestFindingsAreLogged(t *testing.T) {
	logFindings([]diagnose.Finding{
		{Severity: diagnose.OK, Subject: "levels", Problem: "one"},
		{Severity: diagnose.Warning, Subject: "levels", Problem: "two", Fix: "three"},
		{Severity: diagnose.Error, Subject: "levels", Problem: "four", ClientError: "five", Fix: "six"},
	})
	const want = " [INFO] plugin/gsstsig: levels: one\n [WARNING] plugin/gsstsig: levels: two. Fix: three\n" +
		" [ERROR] plugin/gsstsig: levels: four. Clients show: five. Fix: six\n"
	var got string
	for _, line := range logged.lines("plugin/gsstsig: levels: ") {
		got += line[strings.Index(line, " ["):] // without the time
	}
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// TestRulesAreLogged: a start logs that grant and deny lines replace the default rule.
func TestRulesAreLogged(t *testing.T) {
	logs := func() int { return len(logged.lines("INFO", `replace the default rule, "grant EXAMPLE.TEST owner ."`)) }
	before := logs()
	start(t, smallCorefile).stop()
	want(t, "without rules", logs()-before, 0)
	start(t, strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\ngrant EXAMPLE.TEST ms-self . A", 1))
	want(t, "with a rule", logs()-before, 1)
}

// TestIneffectiveRulesAreLogged: a start warns of rules that never decide, with the HMAC keys of the whole Corefile in mind.
func TestIneffectiveRulesAreLogged(t *testing.T) {
	warnings := func() int { return len(logged.lines("WARNING", " never decides: ")) }
	rules := strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\ngrant bob zonesub A\ngrant EXAMPLE.TEST ms-self . A", 1)
	before := warnings()
	start(t, rules).stop()
	want(t, "without a key", warnings()-before, 1)
	before = warnings()
	start(t, rules+"\nother.test:0 {\ntsig {\nsecret bob. NoTCJU+DMqFWywaPyxSijrDEA/eC3nK0xi3AMEZuPVk=\n}\nwhoami\n}\n")
	want(t, "with a key", warnings()-before, 0)
}
