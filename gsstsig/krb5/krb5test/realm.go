// Package krb5test plays a Kerberos realm inside a test: it makes keytabs, and
// the tickets that a KDC would give out for them, with nothing but gokrb5's
// encoders. No KDC runs and no port is opened.
package krb5test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// Version is the key version of every key of a Realm.
const Version = 3

// enctypes are those that service keys are made for. gokrb5 cannot derive a key
// of type 20 from a password.
var enctypes = []krb5.Enctype{krb5.AES128SHA1, krb5.AES256SHA1, krb5.AES128SHA2}

// Realm is a Kerberos realm with one key for each of its services.
type Realm struct {
	Name string
	// Now is the time that tickets are made at; nil is time.Now.
	Now func() time.Time

	t    testing.TB
	keys *keytab.Keytab
}

// New makes a realm with keys for the service principals, such as
// "DNS/ns1.example.test".
func New(t testing.TB, name string, services ...string) *Realm {
	t.Helper()
	r := &Realm{Name: name, t: t, keys: keytab.New()}
	for _, service := range services {
		for _, enctype := range enctypes {
			if err := r.keys.AddEntry(service, name, "password of "+service, time.Now(), Version, int32(enctype)); err != nil {
				t.Fatalf("making a key for %s: %v", service, err)
			}
		}
	}
	return r
}

// Keytab writes the services' keys to a file in the test's temporary directory
// and returns its path.
func (r *Realm) Keytab() string {
	r.t.Helper()
	content, err := r.keys.Marshal()
	if err != nil {
		r.t.Fatalf("encoding the keytab: %v", err)
	}
	file := filepath.Join(r.t.TempDir(), "dns.keytab")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return file
}

// Ticket makes a ticket for client to a service of the realm, both named
// without realm. Its encryption and session key have the encryption type, and
// it ends after lifetime.
func (r *Realm) Ticket(client, service string, enctype krb5.Enctype, lifetime time.Duration) (messages.Ticket, types.EncryptionKey) {
	r.t.Helper()
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	start := now().UTC().Add(-time.Second)
	end := start.Add(lifetime)
	ticket, key, err := messages.NewTicket(
		types.PrincipalName{NameType: 1, NameString: r.components(client)}, r.Name,
		types.PrincipalName{NameType: 2, NameString: r.components(service)}, r.Name,
		types.NewKrbFlags(), r.keys, int32(enctype), Version, start, start, end, end)
	if err != nil {
		r.t.Fatalf("making a ticket for %s to %s: %v", client, service, err)
	}
	return ticket, key
}

// Principal is a principal of the realm.
func (r *Realm) Principal(name string) krb5.Principal {
	return krb5.Principal{Components: r.components(name), Realm: r.Name}
}

func (r *Realm) components(name string) []string {
	r.t.Helper()
	p, err := krb5.ParsePrincipal(name)
	if err != nil {
		r.t.Fatalf("principal %s: %v", name, err)
	}
	return slices.Clone(p.Components)
}
