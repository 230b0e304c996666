package admin

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// ownership is what load makes of names for which the file has no owner.
type ownership struct {
	firstComeFirst bool
	machines       machineForm // zero: no machine gets its names
}

// machineForm is how the principal of a machine is made from its host name.
type machineForm struct {
	realm   string
	account bool   // NAME$@REALM, not host/NAME@REALM
	domain  []byte // that of the realm, in wire form
}

// addOwnershipFlags adds the flags that fill o.
func addOwnershipFlags(flags *flag.FlagSet) *ownership {
	o := new(ownership)
	flags.Func("unowned", "give names without owner to `OWNER`: closed, the administrator (the default), or first-come, the first client that signs",
		func(word string) error {
			if word != "closed" && word != "first-come" {
				return errors.New("must be closed or first-come")
			}
			o.firstComeFirst = word == "first-come"
			return nil
		})
	flags.Func("owners", "give host names and PTR records to their machines: `FORM` krb5:REALM means host/NAME@REALM, ms:REALM means NAME$@REALM",
		func(word string) (err error) {
			o.machines, err = parseMachineForm(word)
			return err
		})
	return o
}

func parseMachineForm(word string) (machineForm, error) {
	kind, realm, _ := strings.Cut(word, ":")
	if realm == "" || kind != "krb5" && kind != "ms" || strings.ContainsAny(realm, "@/") {
		return machineForm{}, errors.New("must be krb5: or ms: and a realm")
	}
	form := machineForm{realm: realm, account: kind == "ms"}
	if form.account {
		domain, err := dnswire.ParseName(dns.Fqdn(realm), nil)
		if err != nil {
			return machineForm{}, fmt.Errorf("realm %s is not a domain name", realm)
		}
		form.domain = dnswire.AppendLower(nil, domain)
	}
	return form, nil
}

// maxAccountName is the length to which the name of a machine is cut for its account.
const maxAccountName = 15

// principal returns the principal of the machine with that host name, which is in wire form and lower
// case, or "" if it has none.
func (f *machineForm) principal(host []byte) string {
	if f.realm == "" || len(host) < 2 {
		return ""
	}
	for i := 0; host[i] != 0; i += 1 + int(host[i]) {
		for _, b := range host[i+1 : i+1+int(host[i])] {
			if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' {
				return ""
			}
		}
	}
	if !f.account {
		return "host/" + strings.TrimSuffix(dnswire.NameText(host), ".") + "@" + f.realm
	}
	label, domain := host[1:1+host[0]], host[1+host[0]:]
	if string(domain) != string(f.domain) {
		return ""
	}
	return strings.ToUpper(string(label[:min(len(label), maxAccountName)])) + "$@" + f.realm
}

// assign returns the owners of a zone's names: those that the file has, and those that o makes of the
// records. The apex, delegations and what is below them have none.
func (o *ownership) assign(origin string, records []store.Record, owners []store.Owner) ([]store.Owner, error) {
	apex, err := dnswire.ParseName(origin, nil)
	if err != nil {
		return nil, err
	}
	apex = dnswire.AppendLower(nil, apex)
	names := make(map[string]*nameRecords)
	for i := range records {
		r := &records[i]
		name := string(dnswire.AppendLower(nil, []byte(r.Name)))
		n := names[name]
		if n == nil {
			n = new(nameRecords)
			names[name] = n
		}
		n.add(r)
	}
	owned := make(map[string]bool, len(owners))
	for _, owner := range owners {
		owned[owner.Name] = true
	}
	for _, name := range sortedNames(names) {
		n := names[name]
		if owned[name] || name == string(apex) || isDelegated(names, name, apex) {
			continue
		}
		principal := ""
		switch {
		case n.addresses:
			principal = o.machines.principal([]byte(name))
		case len(n.targets) > 0 && !n.others:
			principal = o.machines.principal(n.targets[0])
			for _, target := range n.targets[1:] {
				if o.machines.principal(target) != principal {
					principal = ""
				}
			}
		}
		if principal == "" && o.firstComeFirst {
			principal = policy.FirstCome
		}
		if principal != "" {
			owners = append(owners, store.Owner{Name: name, Principal: principal})
		}
	}
	return owners, nil
}

// nameRecords is what a name has, as far as it tells whose it is.
type nameRecords struct {
	addresses bool
	targets   [][]byte // of PTR records, in lower case
	cut       bool     // NS records
	others    bool     // records other than PTR
}

func (n *nameRecords) add(r *store.Record) {
	switch r.Type {
	case dns.TypePTR:
		n.targets = append(n.targets, dnswire.AppendLower(nil, r.Data))
		return
	case dns.TypeA, dns.TypeAAAA:
		n.addresses = true
	case dns.TypeNS:
		n.cut = true
	}
	n.others = true
}

func sortedNames(names map[string]*nameRecords) []string {
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return sorted
}

// isDelegated reports whether a name is at or below a delegation.
func isDelegated(names map[string]*nameRecords, name string, apex []byte) bool {
	for len(name) > len(apex) {
		if n := names[name]; n != nil && n.cut {
			return true
		}
		name = name[1+int(name[0]):]
	}
	return false
}
