package realm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Trust lets clients of one realm have tickets for services of another, and not the other way round: it makes the
// principal krbtgt/SERVICE@CLIENT in both, with the same key. It does not tell clients where the other KDC is, see
// [Realm.Meet].
func Trust(client, service *Realm) error {
	name := fmt.Sprintf("krbtgt/%s@%s", service.config.Name, client.config.Name)
	password := rand.Text()
	add := fmt.Sprintf("addprinc -pw %q -e %q %q", password, saltedNames(client.config.Enctypes), name)
	return errors.Join(client.kadmin(add), service.kadmin(add))
}

// Meet lets the realm's clients find the KDCs and hosts of others. It is for before the first call of [Realm.Config]
// with encryption types.
func (r *Realm) Meet(others ...*Realm) error {
	r.mu.Lock()
	r.known = append(r.known, others...)
	r.mu.Unlock()
	fresh := r.path("krb5.conf.new")
	if err := os.WriteFile(fresh, []byte(r.clientConfig(r.config.Enctypes)), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, r.path("krb5.conf"))
}

func (r *Realm) others() []*Realm {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.known)
}
