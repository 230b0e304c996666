package service

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// writeCertificate writes a self-signed certificate and its key.
func writeCertificate(t *testing.T, certificate, key string, serial int64) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: signed}, key: {Type: "PRIVATE KEY", Bytes: encoded}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOpenEtcd reads certificates and credentials. What is wrong in a file is said with its name and the fix, without its content.
func TestOpenEtcd(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	writeCertificate(t, file("a.crt"), file("a.key"), 1)
	writeCertificate(t, file("b.crt"), file("b.key"), 2)
	for name, text := range map[string]string{
		"two.lines": "dns\nse:cret \n", "one.line": "dns:sec:ret\n", "dos": "dns\r\nsecret\r\n", "user": "dns\n", "three": "dns\nsecret\nmore\n", "empty": "",
		"large": strings.Repeat("secret", 1000),
	} {
		if err := os.WriteFile(file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		conf           corefile.Etcd
		user, password string
		want           string // in the error
	}{
		"plain":             {conf: corefile.Etcd{Endpoints: []string{"http://x:1"}}},
		"the system's":      {conf: corefile.Etcd{Endpoints: []string{"https://x:1"}}},
		"mutual":            {conf: corefile.Etcd{Endpoints: []string{"https://x:1"}, Certificate: file("a.crt"), PrivateKey: file("a.key"), CA: file("b.crt")}},
		"two lines":         {conf: corefile.Etcd{Credentials: file("two.lines")}, user: "dns", password: "se:cret "},
		"one line":          {conf: corefile.Etcd{Credentials: file("one.line")}, user: "dns", password: "sec:ret"},
		"with returns":      {conf: corefile.Etcd{Credentials: file("dos")}, user: "dns", password: "secret"},
		"another key":       {conf: corefile.Etcd{Endpoints: []string{"https://x:1"}, Certificate: file("a.crt"), PrivateKey: file("b.key")}, want: "private key does not match"},
		"no key":            {conf: corefile.Etcd{Endpoints: []string{"https://x:1"}, Certificate: file("a.crt"), PrivateKey: file("c.key")}, want: file("c.key")},
		"no authority":      {conf: corefile.Etcd{Endpoints: []string{"https://x:1"}, CA: file("c.crt")}, want: file("c.crt")},
		"authority's key":   {conf: corefile.Etcd{Endpoints: []string{"https://x:1"}, CA: file("a.key")}, want: "no certificate in PEM form"},
		"user alone":        {conf: corefile.Etcd{Credentials: file("user")}, want: "not one user and one password"},
		"three lines":       {conf: corefile.Etcd{Credentials: file("three")}, want: "not one user and one password"},
		"no credentials":    {conf: corefile.Etcd{Credentials: file("empty")}, want: "not one user and one password"},
		"large credentials": {conf: corefile.Etcd{Credentials: file("large")}, want: "6000 octets"},
		"none there":        {conf: corefile.Etcd{Credentials: file("none")}, want: "put the file there"},
	} {
		t.Run(name, func(t *testing.T) {
			access, err := OpenEtcd(&test.conf)
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "Fix: ") || strings.Contains(err.Error(), "secret") {
					t.Errorf("error %v, want one with %q and a fix", err, test.want)
				}
				return
			}
			if err != nil || access.User != test.user || access.Password != test.password || (access.TLS != nil) != test.conf.Encrypted() || access.Server == "" {
				t.Errorf("%+v, %v", access, err)
			}
		})
	}
}

// TestEtcdCertificateIsReadAgain: a certificate that was renewed is shown without a reload.
func TestEtcdCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	conf := corefile.Etcd{Endpoints: []string{"https://x:1"}, Certificate: filepath.Join(dir, "crt"), PrivateKey: filepath.Join(dir, "key")}
	for serial := range int64(2) {
		writeCertificate(t, conf.Certificate, conf.PrivateKey, serial+1)
		access, err := OpenEtcd(&conf)
		if err != nil {
			t.Fatal(err)
		}
		writeCertificate(t, conf.Certificate, conf.PrivateKey, 10+serial)
		shown, err := access.TLS.GetClientCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := x509.ParseCertificate(shown.Certificate[0]); err != nil || got.SerialNumber.Int64() != 10+serial {
			t.Errorf("certificate %v, %v", got.SerialNumber, err)
		}
	}
}

// TestEtcdFindings: plain text and readable secrets are warned of.
func TestEtcdFindings(t *testing.T) {
	dir := t.TempDir()
	key, credentials := filepath.Join(dir, "key"), filepath.Join(dir, "user")
	for file, mode := range map[string]os.FileMode{key: 0o644, credentials: 0o600} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	encrypted := corefile.Etcd{Endpoints: []string{"https://x:1"}, PrivateKey: key, Credentials: credentials}
	if f := etcdFindings(&encrypted); len(f) != 1 || f[0].Fix != "chmod 600 "+key || !strings.Contains(f[0].Problem, "mode 0644") {
		t.Errorf("%v", f)
	}
	for mode, warnings := range map[os.FileMode]int{0o602: 1, 0o604: 1, 0o640: 0, 0o660: 0, 0o400: 0} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		if f := etcdFindings(&encrypted); len(f) != warnings {
			t.Errorf("mode %04o: %v", mode, f)
		}
	}
	if f := etcdFindings(&corefile.Etcd{Endpoints: []string{"http://x:1"}}); len(f) != 1 || !strings.Contains(f[0].Problem, "plain text") {
		t.Errorf("%v", f)
	}
}

// TestDivergedFinding: there is one fix, the command.
func TestDivergedFinding(t *testing.T) {
	text := DivergedFinding("example.test.", fmt.Errorf("zone: %w", diagnose.WithFix(store.ErrDiverged, "another"))).String()
	if !strings.Contains(text, store.ErrDiverged.Error()) || strings.Count(text, "Fix: ") != 1 || !strings.Contains(text, "coredns gsstsig restored example.test:") {
		t.Error(text)
	}
}
