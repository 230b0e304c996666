package gsstsig

import (
	"os"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/krb5test"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
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
