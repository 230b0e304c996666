package policy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gsstsig/coredns-gsstsig/zone"
)

// Config is what New makes a Policy of. Its zero value is Active Directory's secure mode for every
// principal that can authenticate.
type Config struct {
	// Mode says which updates are taken at all.
	Mode Mode
	// Rules decide in their order; the first that matches a record grants or denies its change, and
	// what no rule matches is refused. Without rules the default holds: grant REALM owner . for
	// each of Realms.
	Rules []Rule
	// Realms are the client realms of the default rule, compared exactly; empty means every realm
	// that the acceptor permits. Whatever the rules say, a principal of another realm cannot
	// reclaim a name in the domain of one of these realms. If there are several, names outside their
	// domains are reclaimed only from principals of the same realm.
	Realms []string
	// Protected are names that the rule owner never permits to change, in addition to those that it
	// always protects: the names of the server's own addresses.
	Protected []string
	// Proxies are identities that update for other clients, such as a DHCP server. They are written
	// as in rules, most often a principal or the sid: of Active Directory's DnsUpdateProxy. Any
	// client that signs may change a name that a proxy has created, and becomes its owner.
	Proxies []string
	// Reclaim says which machines may take their own names back.
	Reclaim Reclaim
	// OwnerOf returns the recorded owner of a name in another zone of the server, in wire form and lower
	// case, empty if there is none. A client may take over the PTR record of its address if it leads to
	// a name that the client owns. It is called while an update is decided on, so it must not block. nil
	// means that no other zone is known.
	OwnerOf func(name []byte) string
	// IsTarget reports whether records of the services of another zone of the server lead to a name, in wire
	// form and lower case: zone.Snapshot.LeadsTo of the others. It is called as OwnerOf is. nil means that no
	// other zone is known.
	IsTarget func(name []byte) bool
}

// A Policy decides on updates. It does not change after New and is safe for concurrent use; a
// reload makes a new one, so that one update is decided by one policy from its first record to its
// last.
type Policy struct {
	mode      Mode
	rules     []rule
	domains   []string // of the client realms
	partners  bool     // there are several client realms
	protected map[string]struct{}
	proxies   []pattern
	reclaim   Reclaim
	ownerOf   func(name []byte) string
	isTarget  func(name []byte) bool
	ownership bool    // there is a rule owner
	unsigned  subject // that of unsigned updates, without address
}

// A rule is a Rule in a policy, with its text made once.
type rule struct {
	Rule
	label string
}

// New makes a policy. It fails on a protected name that is not a domain name and on a mode that
// does not exist.
func New(config Config) (*Policy, error) {
	p := &Policy{
		mode:      config.Mode,
		protected: make(map[string]struct{}, len(config.Protected)),
		reclaim:   config.Reclaim,
		ownerOf:   config.OwnerOf,
		isTarget:  config.IsTarget,
		partners:  len(config.Realms) > 1,
	}
	if p.reclaim < ReclaimHosts || p.reclaim > ReclaimNever {
		return nil, fmt.Errorf("reclaim: no such choice: %v", p.reclaim)
	}
	switch config.Mode {
	case None, Secure, NonsecureAndSecure:
	default:
		return nil, fmt.Errorf("updates: no such mode: %v", config.Mode)
	}
	for _, realm := range config.Realms {
		if domain := realmDomain(realm); domain != "" {
			p.domains = append(p.domains, domain)
		}
	}
	for _, word := range config.Protected {
		name, ok := parseName(word)
		if !ok {
			return nil, fmt.Errorf("protected name %q is not a domain name", word)
		}
		p.protected[name] = struct{}{}
	}
	for _, word := range config.Proxies {
		proxy, err := parsePattern(word, false)
		if err == nil && proxy.kind == noSigner {
			err = errors.New("anonymous cannot be a proxy")
		}
		if err == nil && proxy.kind == administrator {
			err = errors.New("the administrator cannot be a proxy")
		}
		if err != nil {
			return nil, fmt.Errorf("proxy %q: %w", word, err)
		}
		p.proxies = append(p.proxies, proxy)
	}
	unsigned := false
	for _, r := range config.Rules {
		p.rules = append(p.rules, rule{r, r.String()})
		unsigned = unsigned || r.unsigned()
	}
	if len(config.Rules) == 0 {
		p.addDefaults(config.Realms)
	}
	if p.mode == NonsecureAndSecure && !unsigned {
		r := Rule{kind: ruleOwner, name: root, who: pattern{kind: noSigner}, text: "default: grant anonymous owner ."}
		p.rules = append(p.rules, rule{r, r.text})
	}
	p.ownership = slices.ContainsFunc(p.rules, func(r rule) bool { return r.kind == ruleOwner })
	return p, nil
}

func (p *Policy) addDefaults(realms []string) {
	if len(realms) == 0 {
		r := Rule{kind: ruleOwner, name: root, who: pattern{kind: anyKerberos}, text: "default: any principal is owner ."}
		p.rules = append(p.rules, rule{r, r.text})
	}
	for _, realm := range realms {
		r := Rule{kind: ruleOwner, name: root, who: pattern{kind: realmOnly, realm: realm}, text: "default: grant " + realm + " owner ."}
		p.rules = append(p.rules, rule{r, r.text})
	}
}

// Mode returns the mode that the policy was made with.
func (p *Policy) Mode() Mode { return p.mode }

// Rules returns the rules in force, the default ones included, as text.
func (p *Policy) Rules() []string {
	labels := make([]string, len(p.rules))
	for i := range p.rules {
		labels[i] = p.rules[i].label
	}
	return labels
}

// Update returns an UPDATE message and who sent it as [zone.Zone.Apply] takes it. An update that the
// mode alone refuses is refused at once. Such updates need no key, so they must not take places in
// the queue.
func (p *Policy) Update(id Identity, message []byte) *zone.Update {
	administrator := id.Kind == Administrator
	return &zone.Update{Message: message, Principal: id.String(), Authorize: p.Authorizer(id), Refusal: p.refusal(id.Kind),
		Administrative: administrator, Static: administrator}
}

// refusal is the decision on updates that no rule can permit in this mode, or nil.
func (p *Policy) refusal(kind Kind) *zone.Decision {
	switch {
	case kind == Administrator:
		return nil
	case p.mode == None:
		return &zone.Decision{Rule: "updates none", Reason: "the zone takes no updates", Cause: CauseNone}
	case p.mode == Secure && kind == Anonymous:
		return &zone.Decision{Rule: "updates secure", Reason: "the update is not signed", Cause: CauseUnsigned}
	}
	return nil
}

// Authorizer returns the function that decides on updates from id, for [zone.Update]. It may be kept
// for as long as the identity is the sender's, and called from any goroutine.
func (p *Policy) Authorizer(id Identity) func(*zone.Proposal) zone.Decision {
	s := newSubject(id, p.domains)
	s.partners = p.partners
	if slices.ContainsFunc(p.proxies, func(proxy pattern) bool { return proxy.matches(s, false) }) {
		s.owner = firstComeOwner
	}
	for i := range p.rules {
		if r := &p.rules[i]; r.means(s) {
			s.rules = append(s.rules, r)
		}
	}
	return func(proposal *zone.Proposal) zone.Decision { return p.authorize(s, proposal) }
}

// authorize decides on an update section as a whole: every record must be granted (RFC 2136 section
// 3.3).
func (p *Policy) authorize(s *subject, proposal *zone.Proposal) zone.Decision {
	if d := p.refusal(s.Kind); d != nil {
		return *d
	}
	e := evaluation{policy: p, subject: s, proposal: proposal, names: make([]nameState, proposal.Names())}
	if s.Kind == Administrator {
		return e.decideAdministrator()
	}
	return e.decide()
}
