package policy

import (
	"fmt"
	"strings"
)

// Reclaim says which machines may take back their own names under the rule owner: from another client
// that registered them first, and from the administrator.
type Reclaim int

const (
	// ReclaimHosts permits it to principals host/NAME of realms in which the administrator creates
	// them: MIT Kerberos, FreeIPA, Heimdal. It is the zero value. In Active Directory every user may
	// create accounts of machines, of any free name.
	ReclaimHosts Reclaim = iota
	// ReclaimAlways permits it to every machine. Anyone who can create an account NAME$ gets the name
	// NAME of the realm's domain.
	ReclaimAlways
	// ReclaimNever permits it to none.
	ReclaimNever
)

// ParseReclaim reads the word that the Corefile has.
func ParseReclaim(s string) (Reclaim, error) {
	for r := ReclaimHosts; r <= ReclaimNever; r++ {
		if r.String() == s {
			return r, nil
		}
	}
	return ReclaimHosts, fmt.Errorf("reclaim: unknown word %q; the words are hosts, always, never", s)
}

// String returns the word that ParseReclaim reads.
func (r Reclaim) String() string {
	switch r {
	case ReclaimHosts:
		return "hosts"
	case ReclaimAlways:
		return "always"
	case ReclaimNever:
		return "never"
	}
	return fmt.Sprintf("Reclaim(%d)", int(r))
}

// includes reports whether a client may reclaim a name, if it is the machine of that name.
func (r Reclaim) includes(s *subject) bool {
	switch r {
	case ReclaimHosts:
		return s.host != "" && !s.RealmNamesAccounts && !strings.HasSuffix(s.Account, "$")
	case ReclaimAlways:
		return s.host != "" || s.machine != ""
	}
	return false
}
