package admin

import (
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// Paths of a converted Corefile that a named.conf does not have.
const (
	convertedKeytab   = "/etc/coredns/dns.keytab"
	convertedDatabase = "/var/lib/coredns"
)

// convertCorefile makes a Corefile of a named.conf: a server block for each zone with an update-policy or with keys in allow-update, with the keytab of the
// option tkey-gssapi-keytab and the HMAC keys. A zone whose policy cannot be converted as a whole is left out, and so is one that
// was there before, in another view. The error names each of them.
func convertCorefile(text, name string) (lines []string, err error) {
	tokens, err := tokensOf(text, name)
	if err != nil {
		return nil, err
	}
	policies, err := policiesIn(tokens, name)
	if err != nil {
		return nil, err
	}
	keys, err := keysIn(tokens, name)
	if err != nil {
		return nil, err
	}
	tsig, err := tsigBlock(keys, name)
	if err != nil {
		return nil, err
	}
	var errs []error
	keytab := keytabIn(tokens)
	seen := make(map[string]bool)
	for _, p := range policies {
		rules, err := p.convert(name)
		origin := dns.CanonicalName(p.zone)
		switch {
		case p.zone == "?":
			err = fmt.Errorf("%s:%d: a Corefile needs the zone statement around the update-policy", name, p.line)
		case err != nil:
			err = fmt.Errorf("the policy of zone %s is left out: it cannot be converted as a whole\n%w", p.zone, err)
		case seen[origin]:
			err = fmt.Errorf("%s:%d: zone %s is left out: it is in the file before. Fix: write the zone of another view by hand, with the plugin view or bind",
				name, p.line, p.zone)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		seen[origin] = true
		lines = append(lines, quoted(strings.TrimSuffix(p.zone, "."))+" {\n    gsstsig {\n",
			"        keytab "+quoted(keytab)+"\n", "        database "+convertedDatabase+"\n")
		for _, rule := range rules {
			lines = append(lines, "        "+rule)
		}
		lines = append(lines, "    }\n")
		lines = append(lines, tsig...)
		lines = append(lines, "    errors\n}\n")
	}
	return lines, errors.Join(errs...)
}

// tsigBlock is the plugin tsig with these keys; nothing if there are none.
func tsigBlock(keys []keyStatement, name string) (lines []string, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	lines = append(lines, "    tsig {\n")
	for _, key := range keys {
		if _, err := key.hmac(name); err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("        secret %s %s\n", quoted(dns.CanonicalName(key.name)), key.secret))
	}
	return append(lines, "    }\n"), nil
}

// keytabIn returns the keytab of named.
func keytabIn(tokens []policyToken) string {
	for i, t := range tokens {
		if t.text == "tkey-gssapi-keytab" && !t.quoted && i+1 < len(tokens) && !tokens[i+1].ends() {
			return tokens[i+1].text
		}
	}
	return convertedKeytab
}
