//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// ownService makes a service of this test's own and returns its host and a keytab.
func ownService(t *testing.T, host string) (keytab string) {
	t.Helper()
	if err := shared.realm.AddPrincipal("DNS/" + host); err != nil {
		t.Fatal(err)
	}
	keytab, err := shared.realm.Keytab(filepath.Join(t.TempDir(), "dns.keytab"), "DNS/"+host)
	if err != nil {
		t.Fatal(err)
	}
	return keytab
}

// block is a server block with one zone.
func block(zone, keytab string, lines ...string) string {
	return fmt.Sprintf("%s {\n    bind 127.0.0.1\n    gsstsig {\n        keytab %s\n        %s\n    }\n    errors\n}\n", zone, keytab,
		strings.Join(lines, "\n        "))
}

// TestStaleKeytab has the service's key changed behind the server's back: clients are told what BIND tells them, the
// log names the versions, and a new keytab helps without a restart.
func TestStaleKeytab(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	const host = "stale.example.test"
	keytab := ownService(t, host)
	s := startCoreDNS(t, server.Config{Corefile: block(host, keytab), Probe: host})
	if err := shared.realm.ChangeKeys("DNS/" + host); err != nil {
		t.Fatal(err)
	}
	who := logIn(t, host1)
	outcome := nsupdate(ctx, t, s.Address, "-g", who.env, "update add a.stale.example.test 300 A 192.0.2.1")
	if outcome.Rcode != "" || !strings.Contains(outcome.Output, "TKEY is unacceptable") {
		t.Errorf("nsupdate:\n%s", outcome.Output)
	}
	err := s.Log().Wait(ctx, 0, func(text string) bool {
		for line := range strings.Lines(text) {
			if strings.Contains(line, "handshake") && strings.Contains(line, "DNS/"+host) &&
				strings.Contains(line, "key version 2") && strings.Contains(line, "versions in the keytab: 1") {
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Fatalf("no line names the key versions: %v", err)
	}

	// Half a keytab may not be read: write it beside and move it.
	fresh, err := shared.realm.Keytab(keytab+".new", "DNS/"+host)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, keytab); err != nil {
		t.Fatal(err)
	}
	if err := s.Log().WaitFor(ctx, 0, "version 2"); err != nil {
		t.Fatal(err)
	}
	client := startClient(t, who, gssclient.Config{Server: s.Address, Service: "DNS/" + host + "@" + realmName})
	var handshake gssclient.Handshake
	for ctx.Err() == nil && !handshake.Established {
		if handshake, err = client.Negotiate("tcp"); err != nil {
			t.Fatal(err)
		}
	}
	if !handshake.Established {
		t.Errorf("the new keytab is not read: %+v", handshake)
	}
}

// TestPrimaryWithoutPrincipal has a zone whose MNAME the KDC has no principal for. The clients' error never reaches the
// server, so that the start must name it.
func TestPrimaryWithoutPrincipal(t *testing.T) {
	t.Parallel()
	const clientsError = "Server not found in Kerberos database"
	s := startCoreDNS(t, server.Config{
		Corefile: block(forwardZone, shared.keytab, "file db "+forwardZone),
		Files:    map[string]string{"db": seed("nobody.example.test")},
		Probe:    forwardZone,
	})
	var warning string
	for line := range strings.Lines(s.Log().String()) {
		if strings.Contains(line, "ERROR") && strings.Contains(line, clientsError) {
			warning = line
		}
	}
	for _, part := range []string{"nobody.example.test", "example.test.", "DNS/ns1.example.test"} {
		if !strings.Contains(warning, part) {
			t.Errorf("the warning does not name %s: %q", part, warning)
		}
	}
	outcome := nsupdate(testContext(t), t, s.Address, "-g", logIn(t, host1).env, "update add a.example.test 300 A 192.0.2.1")
	if outcome.Rcode != "" || !strings.Contains(outcome.Output, "not found in Kerberos database") {
		t.Errorf("clients show another error:\n%s", outcome.Output)
	}
}

// TestStartFails has configurations that cannot work. Starting ends with a reason; reloading leaves what runs alone.
func TestStartFails(t *testing.T) {
	t.Parallel()
	binary, err := shared.coredns()
	if err != nil {
		t.Fatal(err)
	}
	garbage := filepath.Join(t.TempDir(), "garbage.keytab")
	if err := os.WriteFile(garbage, []byte("not a keytab"), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign, err := shared.realm.Keytab(filepath.Join(t.TempDir(), "host.keytab"), host1)
	if err != nil {
		t.Fatal(err)
	}
	running := startCoreDNS(t, server.Config{Corefile: secureBlock(), Probe: forwardZone})
	client := negotiated(t, logIn(t, host1), gssclient.Config{Server: running.Address}, "tcp")
	for _, test := range []struct {
		name, corefile string
		files          map[string]string
		says           []string
	}{
		{name: "unknown option", corefile: block(forwardZone, shared.keytab, "colour blue"), says: []string{"Corefile:5", "colour"}},
		{name: "no keytab file", corefile: block(forwardZone, "/nonexistent/dns.keytab"), says: []string{"/nonexistent/dns.keytab", "no such file"}},
		{name: "not a keytab", corefile: block(forwardZone, garbage), says: []string{garbage}},
		{name: "keytab without DNS principal", corefile: block(forwardZone, foreign), says: []string{"host.keytab", "DNS/"}},
		{name: "unknown mode", corefile: block(forwardZone, shared.keytab, "updates always"), says: []string{"always"}},
		{name: "no seed", corefile: block(forwardZone, shared.keytab, "file nowhere "+forwardZone), says: []string{"nowhere", "no such file"}},
		{
			name: "bad seed", corefile: block(forwardZone, shared.keytab, "file db "+forwardZone),
			files: map[string]string{"db": seed("ns1.example.test") + "a IN A 192.0.2.1\nb IN A nonsense\n"},
			says:  []string{"db:5", "nonsense"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := server.Start(testContext(t), server.Config{Binary: binary, Corefile: test.corefile, Files: test.files})
			if err == nil {
				t.Fatalf("it started: %v", s.Stop())
			}
			if !errors.Is(err, server.ErrEnded) {
				t.Fatal(err)
			}
			for _, part := range test.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the reason does not name %q: %v", part, err)
				}
			}
			for name, text := range test.files {
				if err := os.WriteFile(filepath.Join(running.Dir(), name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := running.Reload(testContext(t), test.corefile); !errors.Is(err, server.ErrReload) {
				t.Errorf("reloading: %v", err)
			}
			reply, err := client.Exchange("udp", add(t, forwardZone, "still.example.test. 300 A 192.0.2.1"), gssclient.Misbehaviour{})
			if err != nil || reply.Message.Rcode != dns.RcodeSuccess || reply.MIC != gssclient.MICOK {
				t.Errorf("after a reload that failed: %+v, %v", reply, err)
			}
		})
	}
	if err := running.Reload(testContext(t), secureBlock()); err != nil {
		t.Errorf("a good Corefile after bad ones: %v", err)
	}
}

// TestReleaseBinary builds the binary as it is delivered: static, and quick to start.
func TestReleaseBinary(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	binary, err := server.BuildRelease(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(ctx, "file", binary).CombinedOutput()
	if err != nil || !strings.Contains(string(output), "statically linked") {
		t.Errorf("not static: %s, %v", output, err)
	}
	if output, err = exec.CommandContext(ctx, binary, "-plugins").CombinedOutput(); err != nil || !strings.Contains(string(output), "gsstsig\n") {
		t.Errorf("its plugins: %s, %v", output, err)
	}
	s := startCoreDNS(t, server.Config{Binary: binary, Corefile: secureBlock(), Probe: forwardZone})
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("first answer after %v; %d MB", s.Started, info.Size()>>20)
}
