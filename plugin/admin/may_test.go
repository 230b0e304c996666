package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/krb5test"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

func TestMain(m *testing.M) {
	// As in a server, all directives have a plugin.
	dnsserver.Directives = slices.DeleteFunc(append(dnsserver.Directives, "gsstsig"), func(directive string) bool {
		_, err := caddy.DirectiveAction("dns", directive)
		return err != nil
	})
	if program := os.Getenv(asProgram); program != "" {
		os.Exit(Run(program, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	os.Exit(m.Run())
}

// write puts a Corefile into the test's directory, with a keytab for the server and, if there is one, a seed.
func write(t *testing.T, block string) string {
	t.Helper()
	keytab := krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test").Keytab()
	file := filepath.Join(t.TempDir(), "Corefile")
	content := fmt.Sprintf("example.test 2.0.192.in-addr.arpa {\n\troot %s\n\tgsstsig {\n\t\tkeytab %s\n%s\n\t}\n}\n. {\n\twhoami\n}\n", filepath.Dir(file), keytab, block)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func run(t *testing.T, args ...string) (status int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status = Run("coredns gsstsig", args, Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr})
	return status, stdout.String(), stderr.String()
}

func TestMay(t *testing.T) {
	byDefault := write(t, "")
	byRule := write(t, "\t\tgrant EXAMPLE.TEST ms-self . A AAAA\n\t\tgrant sid:S-1-5-21-1-2-3-1101 zonesub ANY\n\t\tgrant * tcp-self . PTR")
	byDeny := write(t, "\t\tgrant EXAMPLE.TEST owner c.example.test TXT\n\t\tdeny sid:S-1-5-21-1-2-3-513 zonesub ANY\n\t\tgrant sid:S-1-5-21-1-2-3-512 name other.example.test ANY\n\t\tgrant EXAMPLE.TEST owner . TXT")
	open := write(t, "\t\tupdates nonsecure-and-secure 2.0.192.in-addr.arpa")
	reverse := writeFile(t, "@ 60 SOA ns1.example.test. admin.example.test. 1 1 1 1 1\n@ 60 NS spare.example.test.\n")
	seeded := write(t, "\t\tfile "+reverse+" 2.0.192.in-addr.arpa")
	tests := map[string]struct {
		args   []string
		status int
		says   []string
	}{
		"of another zone's":      {[]string{"-conf", seeded, "host/a.example.test@EXAMPLE.TEST", "spare.example.test", "A"}, ExitNo, []string{"may not", "records of the services of another zone of the server lead to the name", "Fix: if the client is right, grant it"}},
		"of no other zone's":     {[]string{"-conf", seeded, "host/a.example.test@EXAMPLE.TEST", "a.example.test", "A"}, ExitOK, nil},
		"own name":               {[]string{"-conf", byDefault, "host/a.example.test@EXAMPLE.TEST", "a.example.test", "A"}, ExitOK, []string{"may add a.example.test.", "default: grant EXAMPLE.TEST owner ."}},
		"the server's name":      {[]string{"-conf", byDefault, "host/a.example.test@EXAMPLE.TEST", "ns1.example.test", "A"}, ExitNo, []string{"may not", "Reason: ns1.example.test. A: ", "the server's own", "Fix: if the client is right, grant it the name by a rule other than owner"}},
		"another realm":          {[]string{"-conf", byDefault, "host/a.example.test@OTHER.TEST", "a.example.test", "A"}, ExitNo, []string{"may not", "realm OTHER.TEST are not accepted", "or add it to the property realm"}},
		"realm in another case":  {[]string{"-conf", byDefault, "host/a.example.test@example.test", "a.example.test", "A"}, ExitNo, []string{"may not", "the realm is EXAMPLE.TEST: realms are compared with case", "Fix: correct the realm"}},
		"another realm, by rule": {[]string{"-conf", write(t, "\t\tgrant OTHER.TEST krb5-self . ANY"), "host/a.example.test@OTHER.TEST", "a.example.test", "A"}, ExitNo, []string{"may not", "not accepted"}},
		"a type without name":    {[]string{"-conf", byDefault, "host/a.example.test@EXAMPLE.TEST", "a.example.test", "TYPE65280", `\# 1 00`}, ExitOK, []string{"may add", "in memory only"}},
		"no SID":                 {[]string{"-conf", byDefault, "-group", "admins", "host/a.example.test@EXAMPLE.TEST", "a.example.test", "A"}, ExitUsage, []string{"not a SID"}},
		"anonymous":              {[]string{"-conf", byDefault, "anonymous", "a.example.test", "A"}, ExitNo, []string{"not signed", "Fix: nothing, if a signed update"}},
		"anonymous, open":        {[]string{"-conf", open, "anonymous", "7.2.0.192.in-addr.arpa", "PTR", "a.example.test."}, ExitOK, []string{"may add"}},
		"machine":                {[]string{"-conf", byRule, "A$@EXAMPLE.TEST", "a.example.test", "A"}, ExitOK, []string{":5: grant EXAMPLE.TEST ms-self"}},
		"machine, other":         {[]string{"-conf", byRule, "A$@EXAMPLE.TEST", "b.example.test", "A"}, ExitNo, []string{"Fix: if the client is right, add a grant line"}},
		"no member":              {[]string{"-conf", byRule, "admin@EXAMPLE.TEST", "b.example.test", "TXT"}, ExitNo, nil},
		"group not named":        {[]string{"-conf", byRule, "admin@EXAMPLE.TEST", "b.example.test", "TXT"}, ExitNo, []string{"note: no group of admin@EXAMPLE.TEST is known here, and a member of S-1-5-21-1-2-3-1101 may, by \"", ":6: grant sid:S-1-5-21-1-2-3-1101 zonesub ANY\"", "-group SID"}},
		"another group":          {[]string{"-conf", byRule, "-group", "S-1-5-21-1-2-3-1102", "admin@EXAMPLE.TEST", "b.example.test", "TXT"}, ExitNo, []string{"!no group of"}},
		"group elsewhere":        {[]string{"-conf", byDeny, "admin@EXAMPLE.TEST", "b.example.test", "A"}, ExitNo, []string{"!no group of"}},
		"group denied":           {[]string{"-conf", byDeny, "admin@EXAMPLE.TEST", "b.example.test", "TXT"}, ExitOK, []string{"note: no group of admin@EXAMPLE.TEST is known here, and a member of S-1-5-21-1-2-3-513 may not, by \"", ":6: deny sid:S-1-5-21-1-2-3-513 zonesub ANY\"", "-group SID"}},
		"group not denied":       {[]string{"-conf", byDeny, "admin@EXAMPLE.TEST", "c.example.test", "TXT"}, ExitOK, []string{"!no group of"}},
		"no groups":              {[]string{"-conf", byRule, "-no-pac", "admin@EXAMPLE.TEST", "b.example.test", "TXT"}, ExitNo, []string{"!no group of"}},
		"member":                 {[]string{"-conf", byRule, "-group", "S-1-5-21-1-2-3-1101", "admin@EXAMPLE.TEST", "b.example.test", "TXT"}, ExitOK, []string{":6: grant sid:S-1-5-21-1-2-3-1101"}},
		"deletion":               {[]string{"-conf", byRule, "-delete", "A$@EXAMPLE.TEST", "a.example.test", "A"}, ExitOK, []string{"may delete a.example.test. A"}},
		"no zone of ours":        {[]string{"-conf", byDefault, "host/a@EXAMPLE.TEST", "a.example.org", "A"}, ExitNo, []string{"in no zone"}},
		"no Corefile":            {[]string{"-conf", "/nonexistent", "host/a@EXAMPLE.TEST", "a.example.org", "A"}, ExitNo, []string{"/nonexistent"}},
		"too few words":          {[]string{"-conf", byDefault, "host/a@EXAMPLE.TEST"}, ExitUsage, []string{"usage:"}},
		"no realm":               {[]string{"-conf", byDefault, "host/a", "a.example.test", "A"}, ExitUsage, []string{"needs its realm"}},
		"no type":                {[]string{"-conf", byDefault, "host/a@EXAMPLE.TEST", "a.example.test", "ADDRESS"}, ExitUsage, []string{"not a record type"}},
		"no data":                {[]string{"-conf", byDefault, "host/a@EXAMPLE.TEST", "a.example.test", "SRV"}, ExitUsage, []string{"needs rdata"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			status, out, err := run(t, append([]string{"may"}, test.args...)...)
			if status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			for _, words := range test.says {
				words, no := strings.CutPrefix(words, "!") // what it does not say
				if strings.Contains(out+err, words) == no {
					t.Errorf("%q is not in, or in though it should not be:\n%s%s", words, out, err)
				}
			}
		})
	}
}

// TestFlagsAnywhere: flags stand before, between or after words, and -- ends them.
func TestFlagsAnywhere(t *testing.T) {
	conf := write(t, "")
	for name, test := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"before":           {[]string{"may", "-conf", conf, "host/a.example.test@EXAMPLE.TEST", "a.example.test", "A"}, ExitOK, "may add"},
		"after":            {[]string{"may", "host/a.example.test@EXAMPLE.TEST", "a.example.test", "A", "-conf", conf}, ExitOK, "may add"},
		"between":          {[]string{"may", "host/a.example.test@EXAMPLE.TEST", "-conf", conf, "a.example.test", "A", "-delete"}, ExitOK, "may delete"},
		"rdata":            {[]string{"may", "-conf", conf, "host/a.example.test@EXAMPLE.TEST", "a.example.test", "TXT", "--", "-conf"}, ExitOK, `TXT "-conf"`},
		"words after --":   {[]string{"may", "-conf", conf, "--", "host/a.example.test@EXAMPLE.TEST", "a.example.test", "A", "192.0.2.7"}, ExitOK, "192.0.2.7"},
		"unknown, at last": {[]string{"may", "-conf", conf, "host/a.example.test@EXAMPLE.TEST", "a.example.test", "A", "-nonsense"}, ExitUsage, "-nonsense"},
		"before command":   {[]string{"-conf", conf, "may", "host/a.example.test@EXAMPLE.TEST", "a.example.test", "A"}, ExitOK, "may add"},
		"two hyphens":      {[]string{"may", "--conf=" + conf, "host/a.example.test@EXAMPLE.TEST", "a.example.test", "A", "--o=json"}, ExitOK, `"permitted": true`},
		"value":            {[]string{"may", "-conf", "-conf", "host/a.example.test@EXAMPLE.TEST", "a.example.test", "A"}, ExitNo, "open -conf:"},
		"no value":         {[]string{"may", "-conf"}, ExitUsage, "flag needs an argument: -conf"},
		"wrong value":      {[]string{"may", "-o", "xml"}, ExitUsage, "must be text or json"},
		"dump":             {[]string{"dump", "example.test", "-conf", conf}, ExitNo, "zone example.test. has no database"},
	} {
		if status, out, err := run(t, test.args...); status != test.status || !strings.Contains(out+err, test.says) {
			t.Errorf("%s: exit status %d:\n%s%s", name, status, out, err)
		}
	}
}

// TestMayJSON: the decision for programs.
func TestMayJSON(t *testing.T) {
	conf := write(t, "\t\tdatabase zones")
	directory := filepath.Join(filepath.Dir(conf), "zones", "example.test")
	if _, out, _ := run(t, "may", "-conf", conf, "host/a.example.test@EXAMPLE.TEST", "a.example.test", "A"); !strings.Contains(out, "note: there is no database "+directory+
		", so this is the answer on what the zone begins with, the SOA and NS records made from the keytab. Fix: ") {
		t.Error(out)
	}
	for name, want := range map[string]struct {
		status   int
		decision view.Decision
	}{
		"a.example.test": {ExitOK, view.Decision{Permitted: true, Identity: "host/a.example.test@EXAMPLE.TEST",
			Update: "add a.example.test. 3600 IN A 192.0.2.1", Rule: "default: grant EXAMPLE.TEST owner ."}},
		"ns1.example.test": {ExitNo, view.Decision{Identity: "host/a.example.test@EXAMPLE.TEST",
			Update: "add ns1.example.test. 3600 IN A 192.0.2.1", Rule: "no rule", Cause: "protected"}},
	} {
		status, out, errs := run(t, "may", "-o", "json", "-conf", conf, "host/a.example.test@EXAMPLE.TEST", name, "A")
		var got view.Decision
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%s: %v\n%s%s", name, err, out, errs)
		}
		if (got.Reason == "") != got.Permitted || (got.Fix == "") != got.Permitted {
			t.Errorf("%s: reason %q, fix %q", name, got.Reason, got.Fix)
		}
		if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "there is no database") {
			t.Errorf("%s: notes %q", name, got.Notes)
		}
		got.Reason, got.Fix, got.Notes = "", "", nil
		if status != want.status || !reflect.DeepEqual(got, want.decision) {
			t.Errorf("%s: exit status %d, %+v, want %+v", name, status, got, want)
		}
	}
}

func TestUsage(t *testing.T) {
	for name, test := range map[string]struct {
		args   []string
		status int
	}{
		"nothing": {nil, ExitUsage},
		"help":    {[]string{"help"}, ExitOK},
		"unknown": {[]string{"frobnicate"}, ExitUsage},

		"unknown, like another": {[]string{"shwo"}, ExitUsage},
	} {
		status, out, err := run(t, test.args...)
		want := "usage: coredns gsstsig COMMAND"
		if strings.HasPrefix(name, "unknown") {
			want = "\"coredns gsstsig help\" lists the commands"
		}
		if name == "unknown, like another" {
			want = `unknown command "shwo". Did you mean show?`
		}
		if status != test.status || !strings.Contains(out+err, want) {
			t.Errorf("%s: exit status %d, output:\n%s%s", name, status, out, err)
		}
	}
	for _, c := range commands("coredns gsstsig") {
		for _, args := range [][]string{{c.name, "-h"}, {c.name, "--help"}, {"-h", c.name}, {"help", c.name}} {
			status, out, _ := run(t, args...)
			if status != ExitOK || !strings.Contains(out, "usage: coredns gsstsig "+c.name) {
				t.Errorf("%v: exit status %d, output:\n%s", args, status, out)
			}
			fitsTerminal(t, out)
		}
	}
	_, out, _ := run(t, "help")
	fitsTerminal(t, out)
}

// fitsTerminal checks that no line is longer than the 80 columns of a terminal.
func fitsTerminal(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if len(line) > 80 {
			t.Errorf("a line of %d octets: %s", len(line)-1, line)
		}
	}
}

// TestUsageTellsWhatIsNeeded: brackets are around what may be left out, and nothing else.
func TestUsageTellsWhatIsNeeded(t *testing.T) {
	for _, test := range []struct{ command, want string }{
		{"migrate", " -to FILE ZONE"},
		{"restored", " [-served SERIAL]... ZONE"},
		{"check", " [-user USER]"},
	} {
		if _, out, _ := run(t, test.command, "-h"); !strings.Contains(strings.Join(strings.Fields(out), " "), test.want) {
			t.Errorf("%s: not %q in its usage:\n%s", test.command, test.want, out)
		}
	}
}
