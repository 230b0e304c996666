package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// nameField says what a rule type has between its own word and its types.
type nameField uint8

const (
	fieldName        nameField = iota // a domain name
	fieldWildcard                     // a wildcard
	fieldNone                         // nothing: the types follow at once
	fieldPlaceholder                  // "." or "*", which mean nothing
	fieldIdentity                     // a placeholder, or the identity again
)

// advice says what to write in a field that is missing.
func (f nameField) advice() string {
	switch f {
	case fieldWildcard:
		return "write a wildcard such as *.lab.example.com behind it"
	case fieldPlaceholder, fieldIdentity:
		return "write . behind it"
	}
	return "write a name behind it, or . for every name of the block's zones"
}

// ruleTypes are the rule types by their words in a policy. What each means is in Rule.means and
// Rule.reaches.
var ruleTypes = map[string]struct {
	kind  ruleType
	field nameField
}{
	"name":                    {ruleName, fieldName},
	"subdomain":               {ruleSubdomain, fieldName},
	"zonesub":                 {ruleZonesub, fieldNone},
	"wildcard":                {ruleWildcard, fieldWildcard},
	"self":                    {ruleSelf, fieldIdentity},
	"selfsub":                 {ruleSelfsub, fieldIdentity},
	"selfwild":                {ruleSelfwild, fieldIdentity},
	"krb5-self":               {ruleKrb5Self, fieldPlaceholder},
	"krb5-selfsub":            {ruleKrb5Selfsub, fieldPlaceholder},
	"krb5-subdomain":          {ruleKrb5Subdomain, fieldName},
	"krb5-subdomain-self-rhs": {ruleKrb5SubdomainSelfRHS, fieldName},
	"ms-self":                 {ruleMSSelf, fieldPlaceholder},
	"ms-selfsub":              {ruleMSSelfsub, fieldPlaceholder},
	"ms-subdomain":            {ruleMSSubdomain, fieldName},
	"ms-subdomain-self-rhs":   {ruleMSSubdomainSelfRHS, fieldName},
	"tcp-self":                {ruleTCPSelf, fieldPlaceholder},
	"6to4-self":               {rule6to4Self, fieldPlaceholder},
	"owner":                   {ruleOwner, fieldName},
}

// ParseRule reads the words after grant or deny:
//
//	IDENTITY TYPE [NAME] [RRTYPE[(MAX)]...]
//
// in the meaning of BIND's update-policy; a semicolon after the last word, as in a pasted policy,
// is dropped. position names the place that the words come from (Corefile:12); it is the beginning
// of every error, and of every decision that the rule makes.
func ParseRule(words []string, position string, deny bool) (Rule, error) {
	words = withoutSemicolon(words)
	verb := "grant"
	if deny {
		verb = "deny"
	}
	r := Rule{deny: deny, name: root, position: position, text: verb + " " + strings.Join(words, " ")}
	if err := r.parse(words); err != nil {
		if position != "" {
			position += ": "
		}
		return Rule{}, fmt.Errorf("%s%s: %w", position, r.text, err)
	}
	return r, nil
}

func withoutSemicolon(words []string) []string {
	n := len(words)
	if n == 0 || !strings.HasSuffix(words[n-1], ";") {
		return words
	}
	last := strings.TrimSuffix(words[n-1], ";")
	words = append([]string(nil), words[:n-1]...)
	if last != "" {
		words = append(words, last)
	}
	return words
}

func (r *Rule) parse(words []string) error {
	if len(words) < 2 {
		return errors.New("a rule is IDENTITY RULETYPE [NAME] [TYPE...]")
	}
	kind := strings.ToLower(words[1])
	if kind == "external" {
		return errors.New("external asks a daemon over a unix socket, which is not supported; " +
			"name the identities, or their groups, in rules instead")
	}
	form, ok := ruleTypes[kind]
	if !ok {
		return fmt.Errorf("%q is not a rule type; the types are %s", words[1], strings.Join(slices.Sorted(maps.Keys(ruleTypes)), ", "))
	}
	r.kind = form.kind
	if r.kind == ruleOwner && r.deny {
		return errors.New("owner only grants: what it does not grant is refused anyway. Fix: leave the rule out, or deny by another type, such as subdomain")
	}
	r.word = words[0]
	if err := r.parseIdentity(r.word); err != nil {
		return fmt.Errorf("identity %q: %w", words[0], err)
	}
	if r.who.kind == administrator && !r.deny {
		return fmt.Errorf("identity %q: the administrator may do everything that is not denied. Fix: leave the rule out, "+
			"or write a final dot if this is the name of an HMAC key", words[0])
	}
	types := words[2:]
	if form.field != fieldNone {
		if len(types) == 0 {
			return fmt.Errorf("%s needs a name. Fix: %s", kind, form.field.advice())
		}
		if err := r.parseName(form.field, words[0], types[0]); err != nil {
			return err
		}
		types = types[1:]
	}
	for _, word := range types {
		t, err := parseType(word)
		if err != nil {
			return err
		}
		r.types = append(r.types, t)
	}
	return nil
}

// parseIdentity reads the identity field, which is a realm, a name in the reverse tree or a sender,
// depending on the rule's type.
func (r *Rule) parseIdentity(word string) (err error) {
	switch r.kind {
	case ruleKrb5Self, ruleKrb5Selfsub, ruleKrb5Subdomain, ruleKrb5SubdomainSelfRHS,
		ruleMSSelf, ruleMSSelfsub, ruleMSSubdomain, ruleMSSubdomainSelfRHS:
		r.realm = strings.TrimSuffix(word, ".")
		if r.realm == "" || strings.ContainsAny(r.realm, "*@/") {
			return errors.New("this rule type has a realm there")
		}
	case ruleTCPSelf, rule6to4Self:
		switch word {
		case "*", "*.":
			r.who.kind = anySigner
		case "anonymous":
			r.who.kind = noSigner
		default:
			r.who.kind = keyName
			var ok bool
			if r.identity, ok = parseName(word); !ok {
				return errors.New("this rule type has an asterisk or a name of the reverse tree there")
			}
		}
	case ruleOwner:
		r.who, err = parsePattern(word, true)
	case ruleSelf, ruleSelfsub, ruleSelfwild:
		if r.who, err = parsePattern(word, false); err != nil {
			return err
		}
		if k := r.who.kind; k == noSigner || k == principal || k == group || k == administrator {
			return errors.New("self compares with the name of an HMAC key; for principals there are krb5-self and ms-self")
		}
	default:
		r.who, err = parsePattern(word, false)
	}
	return err
}

func (r *Rule) parseName(field nameField, identity, word string) error {
	if _, err := parseType(word); err == nil {
		return fmt.Errorf("the name is missing before the type %s", word)
	}
	switch field {
	// named-checkconf wants "." here. The policies that FreeIPA and Samba generate have "*".
	case fieldPlaceholder:
		if word != "." && word != "*" {
			return fmt.Errorf("this rule type has the placeholder \".\" or \"*\" where %q is", word)
		}
		return nil
	case fieldIdentity:
		if word != "." && word != "*" && word != identity {
			return fmt.Errorf("this rule type has \".\", \"*\" or the identity where %q is", word)
		}
		return nil
	case fieldWildcard:
		if word != "*" && word != "*." && !strings.HasPrefix(word, "*.") {
			return fmt.Errorf("%q is not a wildcard", word)
		}
		word = strings.TrimPrefix(strings.TrimPrefix(word, "*"), ".")
		if word == "" {
			return nil
		}
	}
	var ok bool
	if r.name, ok = parseName(word); !ok {
		return fmt.Errorf("%q is not a name", word)
	}
	return nil
}

// parseType reads TYPE or TYPE(MAX); MAX 0 is no limit, as for BIND.
func parseType(word string) (typeLimit, error) {
	mnemonic, count, counted := strings.Cut(word, "(")
	var t typeLimit
	if counted {
		digits, closed := strings.CutSuffix(count, ")")
		n, err := strconv.ParseUint(digits, 10, 16)
		if !closed || err != nil {
			return t, fmt.Errorf("%q has no count from 0 to 65535 in its parentheses", word)
		}
		t.max = int(n)
	}
	mnemonic = strings.ToUpper(mnemonic)
	if rrtype, ok := dns.StringToType[mnemonic]; ok && rrtype != dns.TypeNone {
		t.rrtype = rrtype
		return t, nil
	}
	if digits, ok := strings.CutPrefix(mnemonic, "TYPE"); ok {
		if n, err := strconv.ParseUint(digits, 10, 16); err == nil && n != 0 {
			t.rrtype = uint16(n)
			return t, nil
		}
	}
	return t, fmt.Errorf("%q is not a record type", word)
}
