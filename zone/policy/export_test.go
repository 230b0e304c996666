package policy

import "slices"

// Without returns a copy of a policy without the rules of those texts. Nothing replaces them: New would add the default
// rule to an empty list.
func (p *Policy) Without(texts []string) *Policy {
	changed := *p
	changed.rules = slices.DeleteFunc(slices.Clone(p.rules), func(r rule) bool { return slices.Contains(texts, r.label) })
	return &changed
}
