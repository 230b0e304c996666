package admin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
)

const bindPolicy = `
# of the forward zone
zone "corp.example.com" IN {
	type primary; file "corp.db"; // it is named's
	update-policy {
		grant CORP.EXAMPLE.COM ms-self . A AAAA;  /* every
			machine itself */ grant "ddns-key" zonesub ANY; grant administrator zonesub ANY;
		deny * name
			critical.corp.example.com;
		grant "host/a.corp.example.com\@CORP.EXAMPLE.COM" subdomain a.corp.example.com. TXT(2) ;
	};
	notify yes;
};
`

// TestConvert: a policy of BIND's becomes lines that the Corefile's own reader takes.
func TestConvert(t *testing.T) {
	const want = `grant CORP.EXAMPLE.COM ms-self . A AAAA
grant ddns-key zonesub ANY
grant administrator. zonesub ANY
deny * name critical.corp.example.com
grant host/a.corp.example.com\@CORP.EXAMPLE.COM subdomain a.corp.example.com. TXT(2)
`
	status, out, err := run(t, "convert", writeFile(t, bindPolicy))
	if status != ExitOK || out != want || err != "" {
		t.Errorf("exit status %d:\n%s%s", status, out, err)
	}
	if status, out, err := run(t, "convert", "-o", "json", writeFile(t, bindPolicy)); status != ExitOK || !strings.Contains(out, `"grant ddns-key zonesub ANY",`) {
		t.Errorf("exit status %d:\n%s%s", status, out, err)
	}
	servers, failure := corefile.ReadFile(write(t, out))
	if failure != nil || len(servers[0].Block.Rules) != 5 {
		t.Errorf("the Corefile with it: %v, %+v", failure, servers)
	}
	if got, err := convertPolicy("grant * tcp-self . PTR(1);\ndeny x zonesub;", "-"); err != nil || strings.Join(got, "") != "grant * tcp-self . PTR(1)\ndeny x zonesub\n" {
		t.Errorf("rules alone: %q, %v", got, err)
	}
	// Forward and reverse zone.
	both := bindPolicy + "zone 2.0.192.in-addr.arpa {\n\tupdate-policy { grant CORP.EXAMPLE.COM krb5-subdomain-self-rhs . PTR; };\n};\n"
	wantBoth := "# zone corp.example.com, -:5\n" + want + "# zone 2.0.192.in-addr.arpa, -:15\ngrant CORP.EXAMPLE.COM krb5-subdomain-self-rhs . PTR\n"
	if got, err := convertPolicy(both, "-"); err != nil || strings.Join(got, "") != wantBoth {
		t.Errorf("two zones: %q, %v", got, err)
	}
	// Words that the Corefile would read as something else.
	got, failure := convertPolicy(`update-policy { grant "a key" zonesub; grant {x} zonesub; grant "#y" zonesub; };`, "-")
	if failure == nil {
		t.Errorf("a brace without quotation marks: %q", got)
	}
	if got, failure = convertPolicy(`update-policy { grant "a key" zonesub; grant "{x}" zonesub; grant "#y" zonesub; };`, "-"); failure != nil {
		t.Fatal(failure)
	}
	if servers, failure = corefile.ReadFile(write(t, strings.Join(got, ""))); failure != nil || len(servers[0].Block.Rules) != 3 {
		t.Errorf("the Corefile with %q: %v, %+v", got, failure, servers)
	}
}

// TestConvertLeavesOut: a policy that cannot be converted is left out as a whole, and named; the others are converted.
func TestConvertLeavesOut(t *testing.T) {
	text := `zone local.test { update-policy local; };
zone "external.test" {
	update-policy {
		deny * name critical.external.test;
		grant local:/run/x external * ANY;
	};
};
` + bindPolicy + "zone open.test { update-policy {\ngrant a zonesub }; };\nzone ipa.test { update-policy { grant IPA.TEST krb5-self * A; }; };\n"
	status, out, err := run(t, "convert", writeFile(t, text))
	_, file, _ := strings.Cut(out, "local.test, ")
	file, _, _ = strings.Cut(file, ":")
	want := `# zone local.test, FILE:1: left out
# zone external.test, FILE:3: left out
# zone corp.example.com, FILE:12
grant CORP.EXAMPLE.COM ms-self . A AAAA
grant ddns-key zonesub ANY
grant administrator. zonesub ANY
deny * name critical.corp.example.com
grant host/a.corp.example.com\@CORP.EXAMPLE.COM subdomain a.corp.example.com. TXT(2)
# zone open.test, FILE:21: left out
# zone ipa.test, FILE:23
grant IPA.TEST krb5-self * A
`
	if out != strings.ReplaceAll(want, "FILE", file) || status != ExitNo {
		t.Errorf("exit status %d:\n%s", status, out)
	}
	for _, words := range []string{"zone local.test is left out", ":1: update-policy local is not supported", "zone external.test is left out",
		":5: ", "external asks a daemon", "zone open.test is left out", ":22: the rule that begins here has no semicolon"} {
		if !strings.Contains(err, words) {
			t.Errorf("%q is not in %q", words, err)
		}
	}
	if strings.Contains(err, "corp.example.com") || strings.Contains(err, "ipa.test") {
		t.Errorf("a policy that was converted is in %q", err)
	}
}

// TestConvertAllowUpdate: the keys of allow-update may change all of the zone; addresses have no rule.
func TestConvertAllowUpdate(t *testing.T) {
	const text = `options { allow-update { key everywhere; }; };
zone lab.test { allow-update { key dhcp; key "administrator"; }; };
zone static.test { allow-update { none; }; };
view v { allow-update { key "of the view"; }; zone corp.test { update-policy { grant x zonesub; }; }; };
zone open.test { allow-update { key dhcp; 192.0.2.1; }; };
zone both.test { allow-update { ! key dhcp; any; }; };
`
	status, out, err := run(t, "convert", writeFile(t, text))
	for _, want := range []string{":2\ngrant dhcp zonesub ANY\ngrant administrator. zonesub ANY\n# zone corp.test, ", ":4\ngrant x zonesub\n# zone open.test, ", ":5: left out\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if status != ExitNo || strings.Contains(out, "static") || strings.Contains(out, "everywhere") || strings.Contains(out, "view") {
		t.Errorf("exit status %d:\n%s", status, out)
	}
	for _, words := range []string{"zone open.test is left out", `:5: allow-update permits "192.0.2.1", and only keys can be converted`, `:6: allow-update permits "!"`} {
		if !strings.Contains(err, words) {
			t.Errorf("%q is not in %q", words, err)
		}
	}
	status, out, err = run(t, "convert", "-corefile", writeFile(t, "zone lab.test { allow-update { key dhcp; }; };"))
	if status != ExitOK || !strings.Contains(out, "lab.test {\n") || !strings.Contains(out, "grant dhcp zonesub ANY\n") {
		t.Errorf("exit status %d:\n%s%s", status, out, err)
	}
}

// TestConvertRefuses: what cannot be converted is named with its line, all of it, and nothing is printed if it is all there is.
func TestConvertRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		says []string
	}{
		"several": {"update-policy {\ngrant local: external *;\ngrant x name;\ngrant y zonesub;\npermit z zonesub;\ngrant x frobnicate a;\n};",
			[]string{"policy:2: ", "external", "not supported", "policy:3: ", "name needs a name", "policy:5: ", "neither grant nor deny", "policy:6: ", "not a rule type"}},
		"local":                 {"zone x {\n update-policy local; };", []string{"policy:2: ", "local is not supported", "tsig plugin"}},
		"no policy":             {"zone x { allow-update { none; }; };", []string{"no update-policy"}},
		"nothing":               {"", []string{"no update-policy"}},
		"no rules":              {"update-policy { };", []string{"no rules"}},
		"two policies":          {"update-policy { grant a; };\nupdate-policy { grant b nothing; };", []string{"policy:1: ", "a rule is", "policy:2: ", "not a rule type"}},
		"no brace":              {"update-policy grant;", []string{"policy:1: ", "no brace"}},
		"no semicolon":          {"update-policy {\ngrant a zonesub }", []string{"policy:2: ", "semicolon"}},
		"no end":                {"update-policy {\ngrant a zonesub", []string{"policy:2: ", "semicolon"}},
		"a brace inside":        {"grant a { b; };", []string{"policy:1: ", "semicolon"}},
		"open comment":          {"\n/* grant a zonesub;", []string{"policy:2: ", "comment is not closed"}},
		"open quotation":        {"grant \"a\n zonesub\";", []string{"policy:1: ", "quotation mark is not closed"}},
		"far too much of it":    {strings.Repeat("#", maxPolicy+1), []string{"more than"}},
		"a policy in quotation": {`"update-policy" { grant a zonesub; };`, []string{"no update-policy"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "policy")
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			status, out, err := run(t, "convert", file)
			if status != ExitNo || out != "" {
				t.Errorf("exit status %d, %q", status, out)
			}
			for _, words := range test.says {
				if !strings.Contains(err, words) {
					t.Errorf("%q is not in %q", words, err)
				}
			}
		})
	}
	if status, _, err := run(t, "convert", "a", "b"); status != ExitUsage || !strings.Contains(err, "usage:") {
		t.Errorf("two files: exit status %d: %s", status, err)
	}
	if status, _, err := run(t, "convert", "/nonexistent/policy"); status != ExitNo || !strings.Contains(err, "/nonexistent/policy") {
		t.Errorf("no file: exit status %d: %s", status, err)
	}
	if status, _, err := run(t, "convert"); status != ExitNo || !strings.Contains(err, "standard input: there is no update-policy") {
		t.Errorf("empty standard input: exit status %d: %s", status, err)
	}
}
