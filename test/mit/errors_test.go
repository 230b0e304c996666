//go:build e2e && linux

package mit

import (
	_ "embed"
	"os"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

//go:embed testdata/relay.py
var relay string

// mishaps are the errors of docs/errors.md, in an order in which one does not spoil the next.
var mishaps = []struct {
	error string
	kdc   []string // commands of kadmin.local before it
	try   string   // a script on client1, which has a ticket of its own
}{
	{error: "No credentials were supplied", try: "kdestroy; " + update("", "client1.example.test")},
	{error: "Ticket expired", try: "kinit -k -l 1s; while kvno -q DNS/ns1.example.test 2>/dev/null; do sleep 0.1; done; " + update("", "client1.example.test")},
	{error: "Keytab contains no suitable keys for", try: "kinit -k host/nobody.example.test"},
	{error: "Client … not found in Kerberos database", try: "kinit nobody"},
	{error: "Cannot find KDC for realm", try: `printf '[libdefaults]\ndefault_realm = EXAMPLE.TEST\n' >/run/no-kdc.conf
		KRB5_CONFIG=/run/no-kdc.conf kinit root/admin`},
	{error: "Cannot contact any KDC for realm", try: `printf '[libdefaults]\ndefault_realm = EXAMPLE.TEST\n[realms]\nEXAMPLE.TEST = {\nkdc = 127.0.0.1:1\n}\n' >/run/wrong-kdc.conf
		KRB5_CONFIG=/run/wrong-kdc.conf kinit root/admin`},
	{error: "Clock skew too great", try: `LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1) FAKETIME=+900 DONT_FAKE_MONOTONIC=1 \
		kvno DNS/ns1.example.test`},
	{error: "update failed: REFUSED", try: update("", "other.example.test")},
	{error: "failed: REFUSED", try: update("", "client1.elsewhere.test")},
	{error: "update failed: NOTZONE", try: update("zone example.test", "client1.elsewhere.test")},
	{error: "does not exist (NXDOMAIN)", try: update("zone sub.example.test", "client1.sub.example.test")},
	{error: "update failed: NOTAUTH", try: update("zone ns1.example.test", "client1.ns1.example.test")},
	{error: "update failed: NXDOMAIN", try: update("prereq yxdomain nobody.example.test", "client1.example.test")},
	{error: "update failed: NOTAUTH(BADKEY)", try: strings.Replace(update("", "client1.example.test"), " -g", " -y hmac-sha256:key:a2V5", 1)},
	{error: "failed: connection refused", try: update("server 10.78.0.10", "client1.example.test")},
	{error: "tsig verify failure", try: strings.Replace(update("server 127.0.0.1 5353", "client1.example.test"), " -g", " -g -v", 1)},
	{error: "couldn't get address for", try: "export KRB5CCNAME=FILE:/run/admin.ccache; kinit root/admin; " +
		change("", "delete ns1.example.test A", "delete ns1.example.test AAAA") + update("", "client1.example.test") + "status=$?; " +
		change("server 10.78.0.53", "add ns1.example.test 3600 A 10.78.0.53") + "exit $status"},
	{error: "Server … not found in Kerberos database", kdc: []string{"delprinc -force DNS/ns1.example.test"}, try: update("", "client1.example.test")},
	{error: "TKEY is unacceptable", kdc: []string{"addprinc -randkey DNS/ns1.example.test"}, try: update("", "client1.example.test")},
	{error: "credentials have been revoked", kdc: []string{"modprinc -allow_tix root/admin"}, try: "kinit root/admin"},
	{error: "Password incorrect", kdc: []string{"cpw -randkey host/client1.example.test"}, try: "kinit -k"},
}

// update is a script that has nsupdate add an address to the name, after the given line.
func update(line, name string) string { return change(line, "add "+name+" 300 A 10.78.0.1") }

// change is a script that has nsupdate make changes, after the given line.
func change(line string, changes ...string) string {
	return "nsupdate -g <<END\n" + line + "\nupdate " + strings.Join(changes, "\nupdate ") + "\nsend\nEND\n"
}

// TestErrors brings about every error that docs/errors.md explains, and wants it to explain each of these.
func TestErrors(t *testing.T) {
	tested.Path(t, nsupdate, "the errors of docs/errors.md")
	s := newSite(t, "kdc1")
	client := s.add(t, "client1", 101)
	if err := client.WriteFile("/etc/krb5.conf", s.krb5Conf(), 0o644); err != nil {
		t.Fatal(err)
	}
	s.follow(t, "mit.md", client)
	const script = "/run/relay.py"
	if err := client.WriteFile(script, relay, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	relaying, err := client.Start(client.Command(ctx, "python3", script, "5353", nsAddress.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := relaying.Output().WaitFor(ctx, 0, "listening"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Output(client.Command(ctx, "kinit", "-k")); err != nil {
		t.Fatal(err)
	}

	explained := explainedErrors(t)
	for _, m := range mishaps {
		if !explained[m.error] {
			t.Errorf("docs/errors.md does not explain %q", m.error)
		}
		delete(explained, m.error)
		for _, command := range m.kdc {
			if _, err := s.kdc.Output(s.kdc.Command(ctx, "kadmin.local", strings.Fields(command)...)); err != nil {
				t.Fatal(err)
			}
		}
		cmd := client.Command(ctx, "sh", "-c", m.try)
		cmd.Stdin = strings.NewReader(password + "\n")
		said, err := client.Output(cmd)
		if err == nil || !hasParts(said, strings.Split(m.error, "…")) {
			t.Errorf("%q is not what it comes to: %v\n%s", m.error, err, said)
		}
		// A ticket for the name server would outlive what is done to its principal.
		if _, err := client.Output(client.Command(ctx, "kinit", "-k")); err != nil && m.error != "Password incorrect" {
			t.Fatal(err)
		}
	}
	for message := range explained {
		t.Errorf("docs/errors.md explains %q, which nothing here brings about", message)
	}
}

// explainedErrors are the first cells of the table in docs/errors.md.
func explainedErrors(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	explained := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if row, found := strings.CutPrefix(line, "| `"); found {
			message, _, _ := strings.Cut(row, "`")
			explained[message] = true
		}
	}
	return explained
}

// hasParts tells whether the parts occur in the text, one after the other.
func hasParts(text string, parts []string) bool {
	for _, part := range parts {
		_, rest, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = rest
	}
	return true
}
