package service

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/regular"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/zone/store/etcd"
)

// maxCredentials bounds the file of etcd_credentials.
const maxCredentials = 4 << 10

// EtcdAccess is how a server identifies itself to etcd, and how it recognizes the members.
type EtcdAccess struct {
	TLS            *tls.Config // nil: plain text
	User, Password string      // both are empty if etcd asks for none
	Server         string      // name of this server
}

// OpenEtcd reads the files that a block names for its connection to etcd.
func OpenEtcd(e *corefile.Etcd) (EtcdAccess, error) {
	access := EtcdAccess{Server: e.Server}
	if access.Server == "" {
		var err error
		if access.Server, err = os.Hostname(); err != nil {
			return EtcdAccess{}, diagnose.WithFix(fmt.Errorf("etcd: the host has no name: %w", err), "add \"etcd_server NAME\" to the gsstsig block")
		}
	}
	var err error
	if access.TLS, err = etcdTLS(e); err != nil {
		return EtcdAccess{}, err
	}
	if e.Credentials != "" {
		if access.User, access.Password, err = readCredentials(e.Credentials); err != nil {
			return EtcdAccess{}, err
		}
	}
	return access, nil
}

// OpenCluster makes a connection to a block's etcd, with the name of this server and a suffix for programs that are not the server
// itself. It does not wait for an answer. log is told of members that do not answer, and may be nil.
func OpenCluster(e *corefile.Etcd, suffix string, log func(string)) (*etcd.Cluster, error) {
	access, err := OpenEtcd(e)
	if err != nil {
		return nil, err
	}
	options := etcd.Options{Endpoints: e.Endpoints, Prefix: e.Prefix, TLS: access.TLS, Username: access.User, Password: access.Password,
		Server: access.Server + suffix, Log: log}
	if e.Credentials != "" {
		options.Credentials = func() (string, string, error) { return readCredentials(e.Credentials) }
	}
	return etcd.Open(options)
}

// etcdTLS makes the configuration of connections. This server's certificate is read again for each of them, so that another one
// in the same files needs no reload.
func etcdTLS(e *corefile.Etcd) (*tls.Config, error) {
	if !e.Encrypted() {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.CA != "" {
		text, err := regular.ReadFile(e.CA)
		if err != nil {
			return nil, explainFile("etcd_tls", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, diagnose.WithFix(fmt.Errorf("etcd_tls: %s has no certificate in PEM form", e.CA), "name the file with the certificate of the authority that signs those of etcd's members")
		}
	}
	if e.Certificate != "" {
		if _, err := loadPair(e); err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return loadPair(e) }
	}
	return config, nil
}

func loadPair(e *corefile.Etcd) (*tls.Certificate, error) {
	certificate, err := regular.ReadFile(e.Certificate)
	if err != nil {
		return nil, explainFile("etcd_tls", err)
	}
	key, err := regular.ReadFile(e.PrivateKey)
	if err != nil {
		return nil, explainFile("etcd_tls", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, diagnose.WithFix(fmt.Errorf("etcd_tls: %s and %s: %w", e.Certificate, e.PrivateKey, err),
			"name a certificate and its own private key, both in PEM form: etcd_tls CERT KEY CA")
	}
	return &pair, nil
}

// readCredentials reads a user of etcd and the password: on two lines, or on one with a colon in between.
func readCredentials(file string) (user, password string, err error) {
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxCredentials {
		return "", "", diagnose.WithFix(fmt.Errorf("etcd_credentials: %s has %d octets", file, info.Size()), "write the user in its first line and the password in the second")
	}
	text, err := regular.ReadFile(file)
	if err != nil {
		return "", "", explainFile("etcd_credentials", err)
	}
	// A password may end with a space.
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"), "\n")
	switch {
	case len(lines) == 2:
		user, password = lines[0], lines[1]
	case len(lines) == 1:
		user, password, _ = strings.Cut(lines[0], ":")
	}
	if user == "" || password == "" {
		return "", "", diagnose.WithFix(fmt.Errorf("etcd_credentials: %s has not one user and one password", file), "write the user in its first line and the password in the second")
	}
	return user, password, nil
}

// explainFile says what to do about a file that cannot be read.
func explainFile(property string, err error) error {
	err = fmt.Errorf("%s: %w", property, err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return diagnose.WithFix(err, "correct the property %s, or put the file there", property)
	case errors.Is(err, fs.ErrPermission):
		return diagnose.WithFix(err, "let the user that the server runs as (uid %d) read the file", os.Geteuid())
	}
	return diagnose.WithFix(err, "correct the property %s", property)
}

// etcdFindings returns warnings about the connection to etcd: plain text, and files with secrets that others can read.
func etcdFindings(e *corefile.Etcd) []diagnose.Finding {
	var findings []diagnose.Finding
	if !e.Encrypted() {
		findings = append(findings, diagnose.Finding{Severity: diagnose.Warning, Subject: "etcd " + strings.Join(e.Endpoints, " "),
			Problem: "the connection is plain text and nobody is authenticated: whoever reaches a member, or the network in between, can read and change the zones",
			Fix:     "give etcd certificates, write https:// and add \"etcd_tls CERT KEY CA\": docs/cluster.md has the steps"})
	}
	for _, secret := range []struct{ property, file, danger string }{
		{"etcd_tls", e.PrivateKey, "connect to etcd as this server"},
		{"etcd_credentials", e.Credentials, "log in to etcd as this server"},
	} {
		if secret.file == "" {
			continue
		}
		if info, err := os.Stat(secret.file); err == nil && info.Mode().Perm()&0o006 != 0 {
			findings = append(findings, diagnose.Finding{Severity: diagnose.Warning, Subject: secret.property + " " + secret.file,
				Problem: fmt.Sprintf("everyone on this host can read or change it (mode %04o), and %s", info.Mode().Perm(), secret.danger), Fix: "chmod 600 " + secret.file})
		}
	}
	return findings
}

// UnreachableFinding says what follows from a failure to load a zone from etcd, which is err.
func UnreachableFinding(origin string, e *corefile.Etcd, err error) diagnose.Finding {
	f := diagnose.FromError("zone "+origin, err)
	f.Problem = fmt.Sprintf("it cannot be loaded from %s: %s; the server answers all queries and updates of the zone SERVFAIL, serves the others, and tries again", e, f.Problem)
	if f.Fix == "" {
		f.Fix = "see that a majority of etcd's members run, and that this server reaches one: coredns gsstsig check"
	}
	f.ClientError = "SERVFAIL for names in " + withoutDot(origin)
	return f
}

// DivergedFinding says what to do about a zone whose history on etcd is not the one that the server knows.
func DivergedFinding(origin string, err error) diagnose.Finding {
	return diagnose.Finding{Severity: diagnose.Error, Subject: "zone " + origin,
		Problem: fmt.Sprintf("etcd has another history of it than this server knows, as after a backup was restored: updates are answered SERVFAIL, and queries from what the server knows (%s)",
			diagnose.FromError("", err).Problem),
		Fix: "if etcd was restored on purpose, run coredns gsstsig restored " + withoutDot(origin) + ": the changes since the backup are lost then"}
}
