package admin

import (
	"fmt"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// nameWord reads a name of a command line, which is absolute with or without its final dot, and returns it in lower case with the
// dot. Kind is what it is, for the error.
func nameWord(kind, word string) (string, error) {
	wire, err := dnswire.ParseName(dns.Fqdn(word), nil)
	if err != nil {
		return "", &usageError{fmt.Sprintf("%s %q is not a domain name: %v", kind, word, err)}
	}
	return dnswire.NameText(dnswire.AppendLower(nil, wire)), nil
}

// zoneWord reads the name of a zone.
func zoneWord(word string) (string, error) { return nameWord("zone", word) }

// onlyZone reads the words of a command that takes a zone and nothing else.
func onlyZone(words []string) (string, error) {
	if len(words) != 1 {
		return "", &usageError{"one ZONE is needed"}
	}
	return zoneWord(words[0])
}
