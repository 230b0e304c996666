package page

import (
	"net"
	"slices"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// about returns the recent events that have the words: in the client's identity or address, or in a name or data of a record. A
// client whose handshake or signature fails is often known by its address alone: these are also found by the addresses that the
// zones have for the words.
func about(r view.Recent, words string, addresses []string) view.Recent {
	m := newMatcher(words)
	found := view.Recent{Refused: m.refused(r.Refused), Unsigned: m.refused(r.Unsigned), Changes: []view.Change{},
		Handshakes: m.failed(r.Handshakes, addresses), Signatures: m.failed(r.Signatures, addresses)}
	found.Changes = append(found.Changes, filter(r.Changes, func(c view.Change) bool {
		return m.in(c.Author, host(c.Client)) || m.inRecords(c.Removed, c.Added)
	})...)
	return found
}

// contextsAbout returns the contexts that have the words in the client's principal, account or address.
func contextsAbout(list []view.Context, words string) []view.Context {
	m := newMatcher(words)
	return filter(list, func(c view.Context) bool { return m.in(c.Principal, c.Account, host(c.Address)) })
}

func filter[T any](list []T, keep func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return !keep(v) })
}

// addressesOf returns the addresses of names that have the words.
func addressesOf(names []view.Name, words string) (addresses []string) {
	m := newMatcher(words)
	for _, n := range names {
		if !m.in(n.Name) {
			continue
		}
		for _, r := range n.Records {
			if r.Type == "A" || r.Type == "AAAA" {
				addresses = append(addresses, r.Data)
			}
		}
	}
	return addresses
}

type matcher string

func newMatcher(words string) matcher {
	return matcher(strings.ToLower(strings.TrimSuffix(words, ".")))
}

func (m matcher) in(texts ...string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(text), string(m)) })
}

func (m matcher) inRecords(lists ...[]view.NamedRecord) bool {
	return slices.ContainsFunc(lists, func(list []view.NamedRecord) bool {
		return slices.ContainsFunc(list, func(r view.NamedRecord) bool { return m.in(r.Name, r.Data) })
	})
}

func (m matcher) refused(clients []view.RefusedClient) []view.RefusedClient {
	found := []view.RefusedClient{}
	for _, c := range clients {
		all := m.in(c.Client)
		c.Refusals = filter(c.Refusals, func(u view.Refusal) bool {
			return all || m.in(u.Identity, host(u.Client), u.Reason) || m.inRecords(u.Removed, u.Added)
		})
		if len(c.Refusals) > 0 {
			found = append(found, c)
		}
	}
	return found
}

func (m matcher) failed(clients []view.FailedClient, addresses []string) []view.FailedClient {
	found := []view.FailedClient{}
	for _, c := range clients {
		all := m.in(c.Client)
		c.Failures = filter(c.Failures, func(f view.HandshakeFailure) bool {
			return all || m.in(f.Peer, f.Service, f.Key, host(f.Client)) || slices.Contains(addresses, host(f.Client))
		})
		if len(c.Failures) > 0 {
			found = append(found, c)
		}
	}
	return found
}

// host returns the address of an address with a port.
func host(client string) string {
	if h, _, err := net.SplitHostPort(client); err == nil {
		return h
	}
	return client
}
