package realm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
)

// Config returns the path of a krb5.conf that permits the given encryption types, by default those that the realm
// issues.
func (r *Realm) Config(enctypes ...Enctype) (string, error) {
	if len(enctypes) == 0 {
		return r.path("krb5.conf"), nil
	}
	path := r.path("krb5-" + strings.ReplaceAll(names(enctypes, ""), " ", "-") + ".conf")
	if err := writeOnce(path, r.clientConfig(enctypes)); err != nil {
		return "", err
	}
	return path, nil
}

func (r *Realm) clientConfig(enctypes []Enctype) string {
	var b strings.Builder
	// Reverse look-ups would put names of this machine into principals. UDP to the KDC would hide a KDC that is gone.
	fmt.Fprintf(&b, `[libdefaults]
  default_realm = %s
  dns_lookup_realm = false
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
  rdns = false
  ignore_acceptor_hostname = true
  udp_preference_limit = 1
  permitted_enctypes = %s
`, r.config.Name, names(enctypes, ""))
	if slices.Contains(enctypes, RC4) {
		b.WriteString("  allow_weak_crypto = true\n  allow_rc4 = true\n")
	}
	known := append([]*Realm{r}, r.others()...)
	b.WriteString("[realms]\n")
	for _, k := range known {
		fmt.Fprintf(&b, "  %s = {\n    kdc = %s\n  }\n", k.config.Name, loopback.Address(k.port))
	}
	b.WriteString("[domain_realm]\n")
	for _, k := range known {
		for _, domain := range k.config.Domains {
			fmt.Fprintf(&b, "  .%s = %s\n  %s = %s\n", domain, k.config.Name, domain, k.config.Name)
		}
	}
	if r.config.Capaths != "" {
		fmt.Fprintf(&b, "[capaths]\n%s\n", r.config.Capaths)
	}
	return b.String()
}

func (r *Realm) writeConfig() error {
	kdc := fmt.Sprintf(`[kdcdefaults]
  kdc_listen = %[1]s
  kdc_tcp_listen = %[1]s
[realms]
  %[2]s = {
    database_name = %[3]s/principal
    key_stash_file = %[3]s/stash
    acl_file = %[3]s/kadm5.acl
    master_key_type = aes256-cts-hmac-sha1-96
    supported_enctypes = %[4]s
    max_life = %[5]ds
    reject_bad_transit = %[6]t
  }
[logging]
  kdc = FILE:%[3]s/kdc.log
  admin_server = FILE:%[3]s/kadmin.log
  default = FILE:%[3]s/krb5.log
`, loopback.Address(r.port), r.config.Name, r.dir, saltedNames(r.config.Enctypes), int(r.config.Lifetime.Seconds()),
		!r.config.BadTransit)
	for name, text := range map[string]string{
		"kdc.conf":  kdc,
		"krb5.conf": r.clientConfig(r.config.Enctypes),
		"kadm5.acl": "",
	} {
		if err := os.WriteFile(r.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeOnce writes a file in one step, so that no program reads half of it.
func writeOnce(path, text string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), "new-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (r *Realm) adminEnv() []string {
	return append(environment(), "KRB5_CONFIG="+r.path("krb5.conf"), "KRB5_KDC_PROFILE="+r.path("kdc.conf"),
		"KRB5CCNAME=FILE:"+r.path("no-ccache"))
}

func clientEnv(config, cache string) []string {
	return append(environment(), "KRB5_CONFIG="+config, "KRB5CCNAME=FILE:"+cache)
}

// environment is this process's, without what it says of Kerberos and with error messages in English.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "KRB5") || strings.HasPrefix(entry, "LANG=") || strings.HasPrefix(entry, "LC_")
	})
	return append(env, "LC_ALL=C.UTF-8")
}
