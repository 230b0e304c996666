package policy_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/policy/policytest"
)

// The names, types and clients of the histories below. The administrator has entered www, what is below
// srv, and the PTR record of 192.0.2.1; the rest is free at first.
var (
	historyNames = []string{"www.example.test.", "x.www.example.test.", "_acme-challenge.www.example.test.", "mail.srv.example.test.",
		"1.rev.example.test.", "a.example.test.", "b.example.test.", "x.b.example.test.", "_ssh._tcp.b.example.test.", "y.x.b.example.test.",
		"c.example.test.", "_acme-challenge.c.example.test.", "_ldap._tcp.example.test."}
	reverseNames   = []string{"1.2.0.192.in-addr.arpa.", "2.2.0.192.in-addr.arpa."}
	historyTypes   = []string{"A", "TXT", "PTR", "CNAME"}
	historyClients = []historyClient{
		{word: "acme@EXAMPLE.TEST"},
		{word: "bob@EXAMPLE.TEST", address: "192.0.2.1"},
		{word: "A$@EXAMPLE.TEST"},
		{word: "host/b.example.test@EXAMPLE.TEST", address: "192.0.2.2"},
		{word: "host/www.example.test@EXAMPLE.TEST"},
		{word: "key1."},
		// With PACs: a machine, the same after its account was made again, and a user. The user's ticket
		// with the name of the machine, and one without PAC.
		{word: "C$@EXAMPLE.TEST", account: "C$", sid: domainSID + "1104"},
		{word: "C$@EXAMPLE.TEST", account: "C$", sid: domainSID + "1204", address: "192.0.2.1"},
		{word: "dave@EXAMPLE.TEST", account: "dave", sid: domainSID + "1105", address: "192.0.2.2"},
		{word: "host/c.example.test@EXAMPLE.TEST", account: "dave", sid: domainSID + "1105"},
		{word: "C$@EXAMPLE.TEST", bare: true},
		{word: unsigned, address: "192.0.2.2"},
	}
	everyName     = slices.Concat(historyNames, reverseNames)
	unsignedIndex = len(historyClients) - 1
)

const (
	historySeed = "add www A 192.0.2.1; add www TXT x; add mail.srv PTR www; add 1.rev PTR www; add _ldap._tcp SRV 0 0 389 mail.srv"
	reverseSeed = "add 1.2.0.192.in-addr.arpa. PTR www"

	forwardZone, reverseZone = "example.test.", "2.0.192.in-addr.arpa."

	administrator = "admin@EXAMPLE.TEST"
	unsigned      = "anonymous"
)

// A historyClient is one of the clients.
type historyClient struct {
	word         string // in rules
	account, sid string // in the PAC
	bare         bool   // without PAC, in a realm whose tickets have some
	address      string // by TCP
}

func (c *historyClient) String() string { return strings.TrimSpace(c.word + " " + c.sid) }

func (c *historyClient) identity() policy.Identity {
	var id policy.Identity
	switch {
	case c.word == unsigned:
	case !strings.Contains(c.word, "@"):
		id = policy.Identity{Kind: policy.Static, Name: c.word}
	default:
		id = kerberos(c.word)
		id.Account, id.SID, id.HasPAC = c.account, c.sid, c.sid != ""
		id.RealmNamesAccounts = c.sid != "" || c.bare
	}
	if c.address != "" {
		id.Client, id.TCP = netip.MustParseAddr(c.address), true
	}
	return id
}

// owns reports whether a recorded owner is the client: by SID if both have one.
func (c *historyClient) owns(owner string) bool {
	own := c.identity().Owner()
	name, sid := policy.SplitOwner(owner)
	ownName, ownSID := policy.SplitOwner(own)
	if sid != "" && ownSID != "" || owner == own {
		return sid == ownSID && (sid == "" || sid != "S-1-0-0" || name == ownName) && owner != ""
	}
	return sid == "" && !c.bare && strings.EqualFold(name, ownName) && name != ""
}

// isReverse reports whether a name is that of the client's address.
func (c *historyClient) isReverse(name string) bool {
	reverse, err := dns.ReverseAddr(c.address)
	return err == nil && reverse == name
}

// mayReclaim reports whether the client is the machine of a name, and may take it back.
func (c *historyClient) mayReclaim(name string, reclaim policy.Reclaim) bool {
	host := c.word == "host/"+strings.TrimSuffix(name, ".")+"@EXAMPLE.TEST" && c.sid == "" && !c.bare
	account := strings.EqualFold(c.word, strings.TrimSuffix(name, "."+forwardZone)+"$@EXAMPLE.TEST") && !c.bare
	return reclaim != policy.ReclaimNever && host || reclaim == policy.ReclaimAlways && account
}

// A history is a zone, with a reverse zone, that clients update one after the other under random rules.
type history struct {
	t       testing.TB
	choices []byte
	rules   []string
	steps   []string
	clock   time.Time
	zones   map[string]*zone.Zone
	policy  *policy.Policy
	mode    policy.Mode
	reclaim policy.Reclaim
	serial  int // of data that no record has had

	authorize []func(*zone.Proposal) zone.Decision // of the clients
	byOther   []func(*zone.Proposal) zone.Decision // by the rules that are not of the type owner
}

// pick consumes a choice. It returns the first word if there are no more choices.
func (h *history) pick(words ...string) string { return words[h.choose(len(words))] }

// choose consumes a choice, and returns a number below n.
func (h *history) choose(n int) int {
	if len(h.choices) == 0 {
		return 0
	}
	chosen := int(h.choices[0]) % n
	h.choices = h.choices[1:]
	return chosen
}

// randomRule returns a grant of some types, or a deny. Who may change every type is an administrator.
func (h *history) randomRule() string {
	name := h.pick(everyName...)
	types := h.pick("A", "TXT", "PTR", "A TXT", "A PTR", "A(1)", "ANY(1)", "TXT(2) PTR", "CNAME", "CNAME A")
	// Rules about unsigned updates are of no use in the mode secure, and many are needed in the other.
	who := historyClients[h.choose(len(historyClients))].word
	if h.mode == policy.NonsecureAndSecure && h.pick("", "1") != "" {
		who = unsigned
	}
	switch h.pick("name", "subdomain", "wildcard", "zonesub", "krb5-self", "ms-self", "krb5-selfsub", "rhs", "tcp-self", "owner", "deny") {
	case "name":
		return fmt.Sprintf("grant %s name %s %s", who, name, types)
	case "subdomain":
		return fmt.Sprintf("grant %s subdomain %s %s", who, name, types)
	case "wildcard":
		return fmt.Sprintf("grant %s wildcard *.%s %s", who, name, types)
	case "zonesub":
		return fmt.Sprintf("grant %s zonesub %s", who, types)
	case "krb5-self":
		return "grant EXAMPLE.TEST krb5-self . " + types
	case "ms-self":
		return "grant EXAMPLE.TEST ms-self . " + types
	case "krb5-selfsub":
		return "grant EXAMPLE.TEST krb5-selfsub . " + types
	case "rhs":
		return "grant EXAMPLE.TEST krb5-subdomain-self-rhs . PTR"
	case "tcp-self":
		return "grant * tcp-self . PTR"
	case "owner":
		return fmt.Sprintf("grant %s owner %s %s", who, h.pick(name, "."), h.pick("", "A", "TXT A", "PTR", types))
	}
	return fmt.Sprintf("deny %s name %s %s", who, name, types)
}

func newHistory(t testing.TB, choices []byte) *history {
	h := &history{t: t, choices: choices, clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	var err error
	if h.mode, err = policy.ParseMode(h.pick("secure", "nonsecure-and-secure")); err != nil {
		t.Fatal(err)
	}
	h.rules = []string{"grant " + administrator + " zonesub ANY"}
	for range h.choose(5) {
		h.rules = append(h.rules, h.randomRule())
	}
	h.rules = append(h.rules, "grant EXAMPLE.TEST owner .")
	if h.reclaim, err = policy.ParseReclaim(h.pick("never", "hosts", "always")); err != nil {
		t.Fatal(err)
	}
	now := zone.Config{Now: func() time.Time { return h.clock }}
	seeds := historySeeds(t)
	h.zones = map[string]*zone.Zone{
		forwardZone: openZone(t, forwardZone, seeds[forwardZone], now),
		reverseZone: openZone(t, reverseZone, seeds[reverseZone], now),
	}
	h.policy = newPolicy(t, policy.Config{Mode: h.mode, Rules: parseRules(t, h.rules), Reclaim: h.reclaim, OwnerOf: func(name []byte) string {
		own, _ := h.zones[forwardZone].Snapshot().Owner(dnswire.NameText(name))
		return own.Principal
	}})
	// The last rule decides nothing. A policy without a rule about unsigned updates has one of the type owner.
	others := slices.DeleteFunc(slices.Clone(h.rules), func(rule string) bool { return strings.Contains(rule, " owner ") })
	other := newPolicy(t, policy.Config{Mode: h.mode, Rules: parseRules(t, append(others, "deny "+unsigned+" name nowhere.test. TXT"))})
	for i := range historyClients {
		h.authorize = append(h.authorize, h.policy.Authorizer(historyClients[i].identity()))
		h.byOther = append(h.byOther, other.Authorizer(historyClients[i].identity()))
	}
	h.steps = append(h.steps, "reclaim "+h.reclaim.String()+", updates "+h.mode.String())
	return h
}

// historySeeds returns the records of both zones.
func historySeeds(t testing.TB) map[string][]dns.RR {
	const apex = "add %[1]s SOA ns1 hostmaster 1 3600 600 86400 60; add %[1]s NS ns1; %[2]s"
	return map[string][]dns.RR{
		forwardZone: changes(t, fmt.Sprintf(apex, forwardZone, historySeed)),
		reverseZone: changes(t, fmt.Sprintf(apex, reverseZone, reverseSeed)),
	}
}

// zoneOf returns the zone of a name.
func zoneOf(name string) string {
	if strings.HasSuffix(name, reverseZone) {
		return reverseZone
	}
	return forwardZone
}

// A probe is two updates that put a record at a name which is never there otherwise: in the place of the
// records of its type, and in the place of all.
type probe struct{ one, all []byte }

// probes are those of every name and type.
var probes = sync.OnceValue(func() (probes [][]probe) {
	make := func(name, remove, add string) []byte {
		m := new(dns.Msg).SetUpdate(zoneOf(name))
		for _, line := range []string{"delete " + name + remove, "add " + name + add} {
			rr, err := policytest.ParseChange(forwardZone, line)
			if err != nil {
				panic(err)
			}
			m.Ns = append(m.Ns, rr)
		}
		octets, err := m.Pack()
		if err != nil {
			panic(err)
		}
		return octets
	}
	for _, name := range everyName {
		var ofName []probe
		for _, rrtype := range historyTypes {
			data := map[string]string{"A": "203.0.113.1", "TXT": "probe"}[rrtype]
			if data == "" {
				data = "probe"
			}
			add := " " + rrtype + " " + data
			ofName = append(ofName, probe{make(name, " "+rrtype, add), make(name, "", add)})
		}
		probes = append(probes, ofName)
	}
	return probes
})

// A reach is what a client may do with a type at a name.
type reach struct {
	allowed  bool
	changes  bool   // and it would change something
	replaces bool   // it would change nothing beside a CNAME, or as one, but in the place of all records
	byOwner  string // the name in the rule owner that grants it, or ""
	byOther  bool   // another rule grants it, though the rule owner may come before it
}

// had reports whether the client has the right, though a change may have no effect at the moment.
func (r reach) had() bool { return r.allowed && (r.changes || r.replaces || r.byOther) }

// gets reports whether the client can make the change.
func (r reach) gets() bool { return r.allowed && r.changes }

// A nameState is whose a name is. If it has no records and no owner, held is the closest name above it
// that has.
type nameState struct {
	held  string
	owner string // "" if it is the administrator's
	types []string
}

// A survey is what all clients may do in one state of the zones.
type survey struct {
	names []nameState
	reach [][][]reach // by client, name and type
}

func (h *history) survey() *survey {
	s := &survey{reach: make([][][]reach, len(historyClients))}
	for c := range s.reach {
		s.reach[c] = make([][]reach, len(everyName))
		for n := range s.reach[c] {
			s.reach[c][n] = make([]reach, len(historyTypes))
		}
	}
	for n, name := range everyName {
		for rrtype := range historyTypes {
			p := propose(h.t, h.zones[zoneOf(name)], probes()[n][rrtype].one)
			proposed := p.Name(0)
			var all *zone.Proposal
			if !proposed.Changed() {
				all = propose(h.t, h.zones[zoneOf(name)], probes()[n][rrtype].all)
			}
			if rrtype == 0 {
				state := nameState{}
				held, found := p.Holding(proposed.Wire())
				if found && (zoneOf(name) == forwardZone || dnswire.EqualNames(held.Name, proposed.Wire())) {
					state.held = dnswire.NameText(held.Name)
					if held.Owned && held.Owner.Principal != zone.AdministratorOwner && held.Owner.Principal != zone.SignedOwner {
						state.owner = held.Owner.Principal
					}
				}
				for _, t := range proposed.Types() {
					state.types = append(state.types, dns.TypeToString[t])
				}
				s.names = append(s.names, state)
			}
			for c, authorize := range h.authorize {
				d := authorize(p)
				r := reach{allowed: d.Allow, changes: proposed.Changed(), byOther: h.byOther[c](p).Allow}
				r.replaces = all != nil && authorize(all).Allow
				if _, rule, found := strings.Cut(d.Rule, " owner "); found {
					r.byOwner, _, _ = strings.Cut(rule, " ")
				}
				s.reach[c][n][rrtype] = r
			}
		}
	}
	return s
}

// isForeign reports whether another client or the administrator has the name or, if nobody has it, the
// closest name above it.
func (s *survey) isForeign(c, n int) bool {
	state := &s.names[n]
	return state.held != "" && state.owner != policy.FirstCome && !historyClients[c].owns(state.owner)
}

// isEntitled reports whether the rule owner may give a client what is foreign to it: to the machine of
// that name, to the machine whose earlier account had it, to the owner of the name that service labels
// are below, by a rule for a part of the zone, and what unsigned updates could do.
func (h *history) isEntitled(s *survey, c, n, rrtype int) bool {
	client, name, state := &historyClients[c], everyName[n], &s.names[n]
	taken := state.held == name // by records or an owner
	base := serviceBaseOf(name)
	switch {
	case client.mayReclaim(state.held, h.reclaim) || base != "" && client.mayReclaim(base, h.reclaim):
		return true
	case !taken && client.mayReclaim(name, h.reclaim):
		return true
	case base != "" && client.owns(h.ownerOf(base)):
		return true
	case (!taken || state.owner == "") && s.reach[unsignedIndex][n][rrtype].allowed:
		return true
	}
	if taken && client.succeeds(state) {
		return true
	}
	if !taken && s.isOpen(state.held) {
		return true
	}
	part := s.reach[c][n][rrtype].byOwner
	return !taken && part != "." && (base == "" || serviceBaseOf(part) != "") && dns.IsSubDomain(state.held, part)
}

// succeeds reports whether the client is a machine that may take a name which its earlier account had.
func (c *historyClient) succeeds(state *nameState) bool {
	owner, sid := policy.SplitOwner(state.owner)
	return sid != "" && sid != c.sid && c.account == "C$" && owner == c.word &&
		(state.held == "c.example.test." || slices.Equal(state.types, []string{"PTR"}))
}

// isOpen reports whether a name that has no owner is everybody's: an unsigned update can make it free, and then the first
// client has it, with all that is below.
func (s *survey) isOpen(name string) bool {
	n := slices.Index(everyName, name)
	return n >= 0 && s.names[n].owner == "" &&
		!slices.ContainsFunc(s.reach[unsignedIndex][n], func(r reach) bool { return !r.allowed })
}

// serviceBaseOf returns the name that the service labels of a name are below, "" if it has none.
func serviceBaseOf(name string) string {
	labels := dns.SplitDomainName(name)
	for i := len(labels) - 1; i >= 0; i-- {
		if strings.HasPrefix(labels[i], "_") {
			return strings.Join(append(labels[i+1:], ""), ".")
		}
	}
	return ""
}

func (h *history) ownerOf(name string) string {
	own, _ := h.zones[zoneOf(name)].Snapshot().Owner(name)
	return own.Principal
}

// checkState: no client has by the rule owner what others have.
func (h *history) checkState(s *survey) {
	for c := range historyClients {
		for n := range everyName {
			if !s.isForeign(c, n) {
				continue
			}
			for rrtype, r := range s.reach[c][n] {
				if r.gets() && r.byOwner != "" && !h.isEntitled(s, c, n, rrtype) {
					h.fail(s, c, n, rrtype, "may change by the rule owner")
				}
			}
		}
	}
}

// checkStep: no client has a right that it did not have before, unsigned at least, where the name was
// foreign to it.
func (h *history) checkStep(before, after *survey) {
	for c := range historyClients {
		for n, name := range everyName {
			if !before.isForeign(c, n) {
				continue
			}
			// The name of a client's address moves to it. It is then also that of the same account's other tickets.
			owner := before.names[n].owner
			if owner != "" && slices.ContainsFunc(historyClients, func(other historyClient) bool {
				return other.isReverse(name) && other.identity().Owner() == historyClients[c].identity().Owner()
			}) {
				continue
			}
			// What is below a name comes with it to the machine whose account was made again.
			if above := slices.Index(everyName, before.names[n].held); above >= 0 && historyClients[c].succeeds(&before.names[above]) &&
				historyClients[c].owns(after.names[above].owner) {
				continue
			}
			// A rule for a part of the zone makes a client the owner of what it creates there, and an owner may change what any
			// of its rules owner permits.
			if before.names[n].held != name && historyClients[c].owns(after.names[n].owner) && slices.ContainsFunc(before.reach[c][n], func(r reach) bool {
				return r.had() && r.byOwner != "" && r.byOwner != "."
			}) {
				continue
			}
			for rrtype, r := range after.reach[c][n] {
				if r.gets() && !before.reach[c][n][rrtype].had() && !before.reach[unsignedIndex][n][rrtype].had() && !h.isEntitled(after, c, n, rrtype) {
					h.fail(after, c, n, rrtype, "may now change")
				}
			}
		}
	}
}

func (h *history) fail(s *survey, c, n, rrtype int, what string) {
	h.t.Helper()
	h.t.Fatalf("%s %s %s %s: %+v, %+v\nrules:\n\t%s\nhistory:\n\t%s", &historyClients[c], what, everyName[n], historyTypes[rrtype],
		s.reach[c][n][rrtype], s.names[n], strings.Join(h.rules, "\n\t"), strings.Join(h.steps, "\n\t"))
}

// fresh returns rdata that was never there, or a PTR record that leads to one of the names.
func (h *history) fresh(rrtype string) string {
	h.serial++
	switch rrtype {
	case "A":
		return fmt.Sprintf("A 10.0.%d.%d", h.serial>>8&0xff, h.serial&0xff)
	case "TXT":
		return fmt.Sprintf("TXT t%d", h.serial)
	case "PTR":
		return "PTR " + h.pick("a", "b", "c", "www", fmt.Sprint("h", h.serial))
	}
	return fmt.Sprintf("%s h%d", rrtype, h.serial)
}

// step has a client send a random update. It reports whether that is the administrator, and whether the
// zone has changed.
func (h *history) step() (byAdministrator, changed bool) {
	var who string
	var id policy.Identity
	if c := h.choose(len(historyClients) + 1); c < len(historyClients) {
		who, id = historyClients[c].String(), historyClients[c].identity()
	} else {
		who, id, byAdministrator = administrator, kerberos(administrator), true
	}
	names := historyNames
	if h.choose(4) == 0 {
		names = reverseNames
	}
	var lines []string
	for range 1 + h.choose(3) {
		name, rrtype := h.pick(names...), h.pick(historyTypes...)
		switch h.pick("add", "add", "delete", "clear", "repeat") {
		case "add":
			lines = append(lines, "add "+name+" "+h.fresh(rrtype))
		case "delete":
			lines = append(lines, "delete "+name+" "+rrtype)
		case "clear":
			lines = append(lines, "delete "+name)
		case "repeat":
			seed := historySeed
			if zoneOf(name) == reverseZone {
				seed = reverseSeed
			}
			all := strings.Split(seed, "; ")
			lines = append(lines, all[h.choose(len(all))])
		}
	}
	if len(names) == len(reverseNames) && h.choose(2) == 0 { // a machine comes to an address
		name := h.pick(names...)
		home := h.pick("a", "b", "c", "www")
		if host, ok := strings.CutPrefix(who, "host/"); ok {
			home, _, _ = strings.Cut(host, ".")
		} else if account, _, ok := strings.Cut(who, "$"); ok {
			home = strings.ToLower(account)
		}
		lines = []string{"delete " + name + " PTR", "add " + name + " PTR " + home}
	}
	text, z := strings.Join(lines, "; "), h.zones[zoneOf(names[0])]
	before := z.Snapshot()
	r := z.Apply(context.Background(), h.policy.Update(id, message(h.t, z.Origin(), changes(h.t, text))))
	h.steps = append(h.steps, fmt.Sprintf("%s: %s: %s, owners %v, released %q", who, text, dns.RcodeToString[r.Rcode], claims(r.Decision.Own), r.Decision.Released))
	return byAdministrator, z.Snapshot() != before
}

func claims(own []zone.Claim) (text []string) {
	for _, c := range own {
		text = append(text, dnswire.NameText([]byte(c.Name))+" "+c.Principal)
	}
	return text
}

// nonInterference plays a history. What an administrator does, and the end of tombstones, may give
// rights.
func nonInterference(t testing.TB, choices []byte) (granted int) {
	h := newHistory(t, choices)
	before := h.survey()
	h.checkState(before)
	for len(h.choices) > 0 {
		waited := h.choose(9) == 8
		if waited {
			h.clock = h.clock.Add(4 * 24 * time.Hour)
			h.steps = append(h.steps, "wait 96h")
			before = h.survey()
			h.checkState(before)
		}
		byAdministrator, changed := h.step()
		if !changed {
			continue
		}
		granted++
		after := h.survey()
		h.checkState(after)
		if !byAdministrator {
			h.checkStep(before, after)
		}
		before = after
	}
	for _, z := range h.zones {
		z.Close()
	}
	return granted
}

func TestNonInterference(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 14))
	granted := 0
	for range 300 {
		choices := make([]byte, 100)
		for i := range choices {
			choices[i] = byte(random.Uint32())
		}
		granted += nonInterference(t, choices)
	}
	if granted < 400 {
		t.Errorf("only %d updates change something: the test tests nothing", granted)
	}
}

func FuzzNonInterference(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0}, 60))
	f.Add([]byte("a grant of one type is no right to the others, and the last record is not the name"))
	f.Add(bytes.Repeat([]byte{7, 1, 0, 5, 3, 2}, 20))
	f.Fuzz(func(t *testing.T, choices []byte) {
		if len(choices) <= 100 {
			nonInterference(t, choices)
		}
	})
}
