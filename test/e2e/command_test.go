//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// command runs "coredns gsstsig" and returns its output and exit status.
func command(t *testing.T, dir string, args ...string) (string, int) {
	t.Helper()
	return commandWith(t, dir, "", args...)
}

// commandWith is command with that standard input.
func commandWith(t *testing.T, dir, input string, args ...string) (string, int) {
	t.Helper()
	binary, err := shared.coredns()
	if err != nil {
		t.Fatal(err)
	}
	krb5conf, err := shared.realm.Config()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(testContext(t), binary, append([]string{"gsstsig"}, args...)...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
	cmd.Env = append(os.Environ(), "KRB5_CONFIG="+krb5conf)
	output, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(output), cmd.ProcessState.ExitCode()
}

// TestCheckAgainstKDC: what check says about a server that runs, one that does not, and keytabs that the KDC has left
// behind or never heard of.
func TestCheckAgainstKDC(t *testing.T) {
	t.Parallel()
	const rotated, missing = "DNS/rotated.example.test", "DNS/missing.example.test"
	keytab := func(principal string) string {
		if err := shared.realm.AddPrincipal(principal); err != nil {
			t.Fatal(err)
		}
		file, err := shared.realm.Keytab(filepath.Join(t.TempDir(), "dns.keytab"), principal)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	old := keytab(rotated)
	if err := shared.realm.ChangeKeys(rotated); err != nil {
		t.Fatal(err)
	}
	gone := keytab(missing)
	if err := shared.realm.DeletePrincipal(missing); err != nil {
		t.Fatal(err)
	}
	cache := logIn(t, host1).cache

	running := startCoreDNS(t, server.Config{Corefile: block(forwardZone, shared.keytab), Probe: forwardZone})
	noKDC := filepath.Join(t.TempDir(), "krb5.conf")
	if err := os.WriteFile(noKDC, []byte("[libdefaults]\n default_realm = EXAMPLE.TEST\n dns_lookup_kdc = false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		keytab string
		more   []string
		status int
		says   []string
	}{
		"all is well": {shared.keytab, []string{"-server", running.Address.String()}, 0, []string{
			"its KDC answers", "which the keytab has", "ok      port " + running.Address.String() + "/tcp: answers for example.test."}},
		"a wrong port":               {shared.keytab, []string{"-server", "127.0.0.1:1"}, 0, []string{"warning port 127.0.0.1:1/udp", "no answer"}},
		"an old keytab":              {old, []string{"-server", running.Address.String(), "-ccache", cache}, 1, []string{"but the keytab has only version", "TKEY is unacceptable", "Fix: export the key to the keytab again"}},
		"an old keytab, as itself":   {old, []string{"-server", running.Address.String()}, 1, []string{"another key than the keytab", "TKEY is unacceptable"}},
		"an unknown principal":       {gone, []string{"-server", running.Address.String(), "-ccache", cache}, 1, []string{"does not know it", "Server not found in Kerberos database"}},
		"no KDC":                     {shared.keytab, []string{"-server", running.Address.String(), "-krb5conf", noKDC}, 0, []string{"warning realm EXAMPLE.TEST", "no KDC"}},
		"no KDC, for a program":      {shared.keytab, []string{"-server", running.Address.String(), "-krb5conf", noKDC, "-o", "json"}, 0, []string{`"severity": "warning"`}},
		"no krb5.conf":               {shared.keytab, []string{"-server", running.Address.String(), "-krb5conf", "/nonexistent"}, 1, []string{"error   -krb5conf", "/nonexistent"}},
		"another server on the port": {shared.keytab, []string{"-server", notOurs(t)}, 1, []string{"does not serve example.test."}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "Corefile"), []byte(block(forwardZone, test.keytab)), 0o600); err != nil {
				t.Fatal(err)
			}
			output, status := command(t, dir, append([]string{"check"}, test.more...)...)
			if status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			for _, words := range test.says {
				if !strings.Contains(output, words) {
					t.Errorf("%q is not in:\n%s", words, output)
				}
			}
		})
	}
}

// TestKrb5ConfList: check finds the KDC by the same files in KRB5_CONFIG as kinit.
func TestKrb5ConfList(t *testing.T) {
	t.Parallel()
	binary, err := shared.coredns()
	if err != nil {
		t.Fatal(err)
	}
	config, err := shared.realm.Config()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"Corefile":     block(forwardZone, shared.keytab),
		"d/realm.conf": string(text),
		"d/.no.conf":   "[broken\n",
		"included":     "includedir d\n",
		"dead":         "[realms]\nEXAMPLE.TEST = {\nkdc = 127.0.0.1:1\n}\n",
		"final":        "[realms]\nEXAMPLE.TEST = {\nkdc = 127.0.0.1:1\n}*\n",
		"words":        "[libdefaults]\nrdns = Off\nforwardable = perhaps\ndns_canonicalize_hostname = fallback\n",
		"broken":       "[libdefaults\n",
		"lost":         "include missing\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for list, found := range map[string]bool{
		"d/realm.conf":           true,
		"missing:d/realm.conf":   true,
		"included":               true,
		"dead:included":          true,
		"words:missing:included": true,
		"included:final":         true,
		"final:included":         false,
		"dead":                   false,
		"d/realm.conf:broken":    false,
		"d/realm.conf:lost":      false,
		"missing::d/realm.conf":  false,
	} {
		t.Run(list, func(t *testing.T) {
			t.Parallel()
			run := func(program string, args ...string) (string, error) {
				cmd := exec.CommandContext(testContext(t), program, args...)
				cmd.Dir, cmd.Env = dir, append(os.Environ(), "KRB5_CONFIG="+list)
				output, err := cmd.CombinedOutput()
				return string(output), err
			}
			if output, err := run("kinit", "-k", "-t", shared.keytab, "-c", filepath.Join(t.TempDir(), "cache"), service+"@"+realmName); (err == nil) != found {
				t.Errorf("kinit: %v\n%s", err, output)
			}
			// No server answers at that port: what check says of it is not asked.
			if output, _ := run(binary, "gsstsig", "check", "-server", "127.0.0.1:1"); strings.Contains(output, "its KDC answers") != found {
				t.Errorf("check:\n%s", output)
			}
		})
	}
}

// TestCheckClock: what check says about a KDC whose clock is off, by more than is permitted or by much of it.
func TestCheckClock(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		off   time.Duration
		lines []string
		says  []string
	}{
		{10 * time.Minute, nil, []string{"error   realm AWRY.TEST: this machine's clock is ", "5m0s is permitted", `Clients show: "Clock skew too great"`, "same time server", "differ too much for a ticket"}},
		{-10 * time.Minute, nil, []string{"error   realm AWRY.TEST: this machine's clock is "}},
		{10 * time.Minute, []string{"clockskew 15m"}, []string{"warning realm AWRY.TEST: this machine's clock is ", "more than half of what is permitted (15m0s)"}},
	} {
		t.Run(fmt.Sprint(test.off, test.lines), func(t *testing.T) {
			t.Parallel()
			const host = "ns.awry.test"
			r := startRealm(t, realm.Config{Name: "AWRY.TEST", Clock: test.off}, "DNS/"+host)
			config, err := r.Config()
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			corefile := block("awry.test", keytabOf(t, r, "DNS/"+host), test.lines...)
			if err := os.WriteFile(filepath.Join(dir, "Corefile"), []byte(corefile), 0o600); err != nil {
				t.Fatal(err)
			}
			// Whether the KDC gives out a ticket to a clock that is off is for the KDC to say.
			output, status := command(t, dir, "check", "-krb5conf", config, "-server", "127.0.0.1:1")
			if test.lines == nil && status != 1 {
				t.Errorf("exit status %d", status)
			}
			for _, words := range test.says {
				if !strings.Contains(output, words) {
					t.Errorf("%q is not in:\n%s", words, output)
				}
			}
		})
	}
}

// TestCheckNameServers: clients that derive the principal from the zone's NS records, as net ads dns does, ask the KDC for each of
// them; so does check.
func TestCheckNameServers(t *testing.T) {
	t.Parallel()
	const known = "ns-known.example.test"
	keytab := ownService(t, known)
	dir := t.TempDir()
	zone := fmt.Sprintf("$TTL 300\n@ IN SOA %[1]s. hostmaster 1 3600 600 86400 60\n@ IN NS %[1]s.\n@ IN NS ns-unknown\n@ IN NS ns1\n"+
		"ns-known IN A 192.0.2.1\nns-unknown IN A 192.0.2.2\nns1 IN A 192.0.2.3\n", known)
	for name, text := range map[string]string{"Corefile": block(forwardZone, keytab, "file db "+forwardZone), "db": zone} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	running := startCoreDNS(t, server.Config{Corefile: block(forwardZone, shared.keytab), Probe: forwardZone})
	output, status := command(t, dir, "check", "-server", running.Address.String())
	if status != 0 {
		t.Errorf("exit status %d", status)
	}
	for _, words := range []string{
		"ok      principal DNS/ns-known.example.test@EXAMPLE.TEST: the KDC issues tickets in key version 1",
		"warning principal DNS/ns-unknown.example.test@EXAMPLE.TEST: the KDC does not know it\n        Clients show: \"Server not found in Kerberos database\"",
		"warning principal DNS/ns1.example.test@EXAMPLE.TEST: the KDC issues tickets in key version",
	} {
		if !strings.Contains(output, words) {
			t.Errorf("%q is not in:\n%s", words, output)
		}
	}
}

// notOurs is the address of a DNS server without gsstsig.
func notOurs(t *testing.T) string {
	t.Helper()
	return startCoreDNS(t, server.Config{Corefile: ". {\n    bind 127.0.0.1\n    whoami\n}\n"}).Address.String()
}

// TestBackupAndRestore: a database is dumped while the server runs, loaded into an empty one, and served from there with
// records, owners and serial.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	corefile := block(forwardZone, shared.keytab, "database zones")
	first := startCoreDNS(t, server.Config{Corefile: corefile, Probe: forwardZone})
	outcome := nsupdate(testContext(t), t, first.Address, "-g", logIn(t, host1).env, "update add www.example.test 300 A 192.0.2.80")
	if outcome.Rcode != "NOERROR" {
		t.Fatalf("update: %s", outcome.Output)
	}
	backup, status := command(t, first.Dir(), "dump", "example.test")
	if status != 0 {
		t.Fatalf("dump: exit status %d: %s", status, backup)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "backup"), []byte(backup), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, status := command(t, dir, "load", "-database", "zones", "example.test", "backup"); status != 0 {
		t.Fatalf("load: exit status %d: %s", status, output)
	}
	second := startCoreDNS(t, server.Config{
		Corefile: block(forwardZone, shared.keytab, fmt.Sprintf("database %s/zones", dir)), Probe: forwardZone,
	})
	expect(t, second.Address, "www.example.test", dns.TypeA, "192.0.2.80")
	outcome = nsupdate(testContext(t), t, second.Address, "-g", logIn(t, host2).env, "update add www.example.test 300 A 192.0.2.66")
	if outcome.Rcode != "REFUSED" {
		t.Errorf("the owner is lost: %s", outcome.Output)
	}
}

// TestMoveFromBIND: what named-compilezone writes loads.
func TestMoveFromBIND(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "db"), []byte(seed("ns1.example.test")+"ns1 IN A 127.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	compile := exec.CommandContext(testContext(t), "named-compilezone", "-o", filepath.Join(dir, "compiled"), "example.test", filepath.Join(dir, "db"))
	if output, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("named-compilezone: %v\n%s", err, output)
	}
	if output, status := command(t, dir, "load", "-database", "zones", "example.test", "compiled"); status != 0 {
		t.Fatalf("load: exit status %d: %s", status, output)
	}
	s := startCoreDNS(t, server.Config{Corefile: block(forwardZone, shared.keytab, fmt.Sprintf("database %s/zones", dir)), Probe: forwardZone})
	expect(t, s.Address, "ns1.example.test", dns.TypeA, "127.0.0.1")
}
