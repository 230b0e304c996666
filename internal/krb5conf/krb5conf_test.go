package krb5conf

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jcmturner/gokrb5/v8/config"
)

// TestLoad: KDCs are looked up in the DNS unless the file says no, as by MIT's library.
func TestLoad(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		lookup bool
		realm  string
	}{
		"says nothing": {"[libdefaults]\ndefault_realm = EXAMPLE.TEST\n", true, "EXAMPLE.TEST"},
		"no":           {"[libdefaults]\ndefault_realm = EXAMPLE.TEST\ndns_lookup_kdc = false\n", false, "EXAMPLE.TEST"},
		"yes":          {"[libdefaults]\ndns_lookup_kdc = true\n", true, ""},
		"empty":        {"", true, ""},
		"off":          {"[libdefaults]\ndns_lookup_kdc = Off\n", false, ""},
		"wrong":        {"[libdefaults]\ndns_lookup_kdc = neither\npreferred_preauth_types = 17, 16\n", true, ""},
		"Fedora's":     {"[libdefaults]\ndns_canonicalize_hostname = fallback\nqualify_shortname = \"\"\ndefault_realm = EXAMPLE.TEST\n", true, "EXAMPLE.TEST"},
		"of a realm":   {"[libdefaults]\nOTHER.TEST = {\ndns_lookup_kdc = false\n}\n", true, ""},
	} {
		file := filepath.Join(t.TempDir(), "krb5.conf")
		if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		conf, err := Load(file)
		if err != nil || conf.LibDefaults.DNSLookupKDC != test.lookup || conf.LibDefaults.DefaultRealm != test.realm {
			t.Errorf("%s: %+v, %v", name, conf, err)
		}
	}
	missing := filepath.Join(t.TempDir(), "krb5.conf")
	if conf, err := load(missing, missing); err != nil || !conf.LibDefaults.DNSLookupKDC {
		t.Errorf("no file: %+v, %v", conf, err)
	}
}

// TestKDC: a KDC has a port, whether the file says one or not, as MIT's library reads it.
func TestKDC(t *testing.T) {
	for text, want := range map[string]string{
		"kdc1.example.test":      "kdc1.example.test:88",
		"kdc1.example.test:8888": "kdc1.example.test:8888",
		"192.0.2.10":             "192.0.2.10:88",
		"[2001:db8::10]":         "[2001:db8::10]:88",
		"[2001:db8::10]:8888":    "[2001:db8::10]:8888",
	} {
		file := filepath.Join(t.TempDir(), "krb5.conf")
		if err := os.WriteFile(file, []byte("[realms]\nEXAMPLE.TEST = {\n kdc = "+text+"\n}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		conf, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, kdcs, err := conf.GetKDCs("EXAMPLE.TEST", true); err != nil || len(kdcs) != 1 || kdcs[1] != want {
			t.Errorf("%s: %v, want %s: %v", text, kdcs, want, err)
		}
	}
}

// TestLoadErrors: a file that was named and is not there is an error, and so is one with a wrong line, or of great length.
func TestLoadErrors(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "krb5.conf")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for name, text := range map[string]string{
		"a wrong line": "[libdefaults]\nno relation\n", "too long": strings.Repeat("# comment\n", maxSize/10+1),
		"a lifetime": "[libdefaults]\nticket_lifetime = long\n",
	} {
		file := filepath.Join(t.TempDir(), "krb5.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if conf, err := Load(file); err == nil {
			t.Errorf("%s: %+v", name, conf)
		}
	}
}

// TestLoadList: settings of several files, KDCs of all of them.
func TestLoadList(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"a": "[libdefaults]\ndefault_realm = A.TEST\n[realms]\nA.TEST = {\nkdc = kdc1.a.test ; first\nkdc = 192.0.2.1:8888\n}\n[domain_realm]\n.x.test = A.TEST\n",
		"b": "[libdefaults]\ndefault_realm = B.TEST\ndns_lookup_kdc = no\n[realms]\nA.TEST = {\nkdc = kdc2.a.test\n}\nB.TEST = {\nauth_to_local = RULE:[1:$1]({)\nkdc = kdc.b.test\n}\n" +
			"[domain_realm]\n.x.test = B.TEST\n.y.test = B.TEST\n",
	})
	t.Chdir(dir)
	conf, err := Load("missing:a:b")
	if err != nil {
		t.Fatal(err)
	}
	if conf.LibDefaults.DefaultRealm != "A.TEST" || conf.LibDefaults.DNSLookupKDC {
		t.Errorf("%+v", conf.LibDefaults)
	}
	for realm, want := range map[string][]string{"A.TEST": {"kdc1.a.test:88", "192.0.2.1:8888", "kdc2.a.test:88"}, "B.TEST": {"kdc.b.test:88"}} {
		i := slices.IndexFunc(conf.Realms, func(r config.Realm) bool { return r.Realm == realm })
		if i < 0 || !slices.Equal(conf.Realms[i].KDC, want) {
			t.Errorf("%s: %+v", realm, conf.Realms)
		}
	}
	if realm := conf.ResolveRealm("host.x.test"); realm != "A.TEST" {
		t.Error(realm)
	}
	if realm := conf.ResolveRealm("host.y.test"); realm != "B.TEST" {
		t.Error(realm)
	}
}

// writeFiles writes files into a new directory, and returns its name.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestDefault: KRB5_CONFIG goes first.
func TestDefault(t *testing.T) {
	for _, list := range []string{"/nonexistent/krb5.conf", "/nonexistent/krb5.conf:/etc/krb5.conf"} {
		t.Setenv("KRB5_CONFIG", list)
		if got := Default(); got != list {
			t.Error(got)
		}
	}
	t.Setenv("KRB5_CONFIG", "")
	if file := Default(); file != standard {
		t.Error(file)
	}
}
