package policy

import (
	"errors"
	"fmt"
	"slices"
)

// Identities are identities as the rule type owner takes them: principals, realms, groups, HMAC keys
// with their final dot, wildcards and the asterisk, which includes all that sign.
type Identities []pattern

// ParseIdentities reads identities. The error names the word.
func ParseIdentities(words []string) (Identities, error) {
	list := make(Identities, 0, len(words))
	for _, word := range words {
		p, err := parsePattern(word, true)
		if err == nil && (p.kind == noSigner || p.kind == administrator) {
			err = errors.New("it does not sign")
		}
		if err != nil {
			return nil, fmt.Errorf("identity %q: %w", word, err)
		}
		list = append(list, p)
	}
	return list, nil
}

// Include reports whether one of the identities includes the client, as in a rule that grants.
func (list Identities) Include(id Identity) bool {
	if len(list) == 0 {
		return false
	}
	s := newSubject(id, nil)
	return slices.ContainsFunc(list, func(p pattern) bool { return p.matches(s, false) })
}
