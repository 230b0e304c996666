// Package krb5conf reads krb5.conf for clients as MIT's library does, and makes gokrb5's configuration of it, with MIT's defaults
// where gokrb5 has others.
package krb5conf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/jcmturner/gokrb5/v8/config"
)

// standard is where MIT's library looks.
const standard = "/etc/krb5.conf"

// Default is what MIT's library reads: the file that KRB5_CONFIG names, or the list of files, or /etc/krb5.conf.
func Default() string {
	if list := os.Getenv("KRB5_CONFIG"); list != "" {
		return list
	}
	return standard
}

// Load reads a krb5.conf, or several, as they stand in KRB5_CONFIG: separated by colons, by semicolons on Windows. The first
// one that has a setting decides; of the servers of a realm, those of all are taken. Files of a list that are missing are passed
// over. A machine need not have /etc/krb5.conf: every setting has its default then. What gokrb5 does not support is passed over.
func Load(list string) (*config.Config, error) { return load(list, standard) }

// load reads a list of files, which need not exist if it is the optional one.
func load(list, optional string) (*config.Config, error) {
	p, err := readProfile(list)
	if err != nil && (list != optional || !errors.Is(err, fs.ErrNotExist)) {
		return nil, fmt.Errorf("krb5.conf: %w", err)
	}
	text, err := p.text()
	if err != nil {
		return nil, fmt.Errorf("krb5.conf %s: %w", list, err)
	}
	return config.NewFromString(text)
}

// defaults has what gokrb5 takes to be off and MIT's library to be on: KDCs that no file names are found by SRV records.
const defaults = "[libdefaults]\ndns_lookup_kdc = true\n"

// text returns a krb5.conf with what gokrb5 knows of the profile.
func (p profile) text() (string, error) {
	var text strings.Builder
	text.WriteString(defaults)
	for _, name := range p.names(false, "libdefaults") {
		line, err := setting(name, p.values("libdefaults", name)[0])
		if err != nil {
			return "", err
		}
		text.WriteString(line)
	}
	text.WriteString("[realms]\n")
	for _, realm := range p.names(true, "realms") {
		if !plain(realm) {
			continue
		}
		text.WriteString(realm + " = {\n")
		for _, name := range []string{"kdc", "admin_server", "kpasswd_server", "master_kdc", "default_domain"} {
			for _, value := range p.values("realms", realm, name) {
				words := strings.Fields(value)
				switch {
				case len(words) == 0 || !plain(words[0]):
				case name == "kdc":
					text.WriteString(name + " = " + withPort(words[0]) + "\n")
				default:
					text.WriteString(name + " = " + words[0] + "\n")
				}
			}
		}
		text.WriteString("}\n")
	}
	text.WriteString("[domain_realm]\n")
	for _, name := range p.names(false, "domain_realm") {
		if value := p.values("domain_realm", name)[0]; plain(name) && plain(value) {
			text.WriteString(name + " = " + value + "\n")
		}
	}
	return text.String(), nil
}

// withPort adds the port to the address of a KDC if it is an IPv6 address in brackets without one: gokrb5 takes a colon in it for
// the port's.
func withPort(kdc string) string {
	if strings.HasPrefix(kdc, "[") && strings.HasSuffix(kdc, "]") {
		return kdc + ":88"
	}
	return kdc
}

// plain reports whether gokrb5 takes a word for what it is.
func plain(word string) bool { return word != "" && !strings.ContainsAny(word, "{}=#; \t\n") }

// booleans are MIT's words that gokrb5 does not know.
var booleans = map[string]string{"on": "true", "off": "false", "nil": "false"}

// setting returns the line of a relation in libdefaults. One whose value is wrong has its default, as for MIT's library, but for
// the lifetimes, where that is an error.
func setting(name, value string) (string, error) {
	if name != strings.ToLower(name) || strings.Contains(value, "\n") {
		return "", nil // MIT's library knows no such name, or no such value
	}
	line := name + " = " + value + "\n"
	_, err := config.NewFromString("[libdefaults]\n" + line)
	switch word, ok := booleans[strings.ToLower(value)]; {
	case err == nil:
		return line, nil
	case ok:
		return setting(name, word)
	case name == "ticket_lifetime" || name == "renew_lifetime":
		return "", err
	}
	return "", nil
}
