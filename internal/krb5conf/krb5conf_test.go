package krb5conf

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
		"include":      {"includedir /etc/krb5.conf.d\n[libdefaults]\ndefault_realm = EXAMPLE.TEST\n", true, "EXAMPLE.TEST"},
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

// TestDefault: KRB5_CONFIG goes first.
func TestDefault(t *testing.T) {
	t.Setenv("KRB5_CONFIG", "/nonexistent/krb5.conf")
	if file := Default(); file != "/nonexistent/krb5.conf" {
		t.Error(file)
	}
	t.Setenv("KRB5_CONFIG", "")
	if file := Default(); file != standard {
		t.Error(file)
	}
}
