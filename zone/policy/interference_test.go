package policy_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// The names, types and clients of the histories below. The administrator has entered www and what is
// below srv; the rest is free at first.
var (
	historyNames = []string{"www", "x.www", "_acme-challenge.www", "mail.srv", "1.rev", "2.rev", "a", "b", "x.b", "_ssh._tcp.b", "y.x.b",
		"c", "_acme-challenge.c", "_ldap._tcp"}
	historyTypes   = []string{"A", "TXT", "PTR"}
	historyClients = []string{"acme@EXAMPLE.TEST", "bob@EXAMPLE.TEST", "carol@EXAMPLE.TEST", "A$@EXAMPLE.TEST", "host/b.example.test@EXAMPLE.TEST",
		"host/www.example.test@EXAMPLE.TEST", "key1.", unsigned}
)

const historySeed = "add www A 192.0.2.1; add www TXT x; add mail.srv PTR www; add 1.rev PTR www; add _ldap._tcp SRV 0 0 389 mail.srv"

const (
	administrator = "admin@EXAMPLE.TEST"
	unsigned      = "anonymous"
)

// A history is a zone that clients update one after the other under random rules.
type history struct {
	t       testing.TB
	choices []byte
	rules   []string
	steps   []string
	clock   time.Time
	zone    *zone.Zone
	policy  *policy.Policy
	mode    policy.Mode
	reclaim policy.Reclaim
	serial  int // of data that no record has had
}

// pick consumes a choice. It returns the first word if there are no more choices.
func (h *history) pick(words ...string) string {
	if len(h.choices) == 0 {
		return words[0]
	}
	word := words[int(h.choices[0])%len(words)]
	h.choices = h.choices[1:]
	return word
}

// randomRule returns a grant of some types, or a deny. Who may change every type is an administrator.
func (h *history) randomRule() string {
	name := h.pick(historyNames...)
	types := h.pick("A", "TXT", "PTR", "A TXT", "A PTR", "A(1)", "ANY(1)", "TXT(2) PTR")
	// Rules about unsigned updates are of no use in the mode secure, and many are needed in the other.
	who := h.pick(historyClients...)
	if h.mode == policy.NonsecureAndSecure && h.pick("", "1") != "" {
		who = unsigned
	}
	switch h.pick("name", "subdomain", "wildcard", "zonesub", "krb5-self", "ms-self", "krb5-selfsub", "rhs", "owner", "deny") {
	case "name":
		return fmt.Sprintf("grant %s name %s.example.test %s", who, name, types)
	case "subdomain":
		return fmt.Sprintf("grant %s subdomain %s.example.test %s", who, name, types)
	case "wildcard":
		return fmt.Sprintf("grant %s wildcard *.%s.example.test %s", who, name, types)
	case "zonesub":
		return fmt.Sprintf("grant %s zonesub %s", who, types)
	case "krb5-self":
		return "grant EXAMPLE.TEST krb5-self . " + types
	case "ms-self":
		return "grant EXAMPLE.TEST ms-self . " + types
	case "krb5-selfsub":
		return "grant EXAMPLE.TEST krb5-selfsub . " + types
	case "rhs":
		return "grant EXAMPLE.TEST krb5-subdomain-self-rhs example.test PTR"
	case "owner":
		if who == unsigned {
			// It makes names free, which are everybody's in that mode.
			return "grant anonymous owner ."
		}
		return fmt.Sprintf("grant %s owner %s.example.test %s", who, name, h.pick("", "A", "TXT A"))
	}
	return fmt.Sprintf("deny %s name %s.example.test %s", who, name, types)
}

func newHistory(t testing.TB, choices []byte) *history {
	h := &history{t: t, choices: choices, clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	var err error
	if h.mode, err = policy.ParseMode(h.pick("secure", "nonsecure-and-secure")); err != nil {
		t.Fatal(err)
	}
	h.rules = []string{"grant " + administrator + " zonesub ANY"}
	for range 1 + len(h.pick("", "1", "12", "123")) {
		h.rules = append(h.rules, h.randomRule())
	}
	h.rules = append(h.rules, "grant EXAMPLE.TEST owner .")
	reclaim, err := policy.ParseReclaim(h.pick("never", "hosts", "always"))
	if err != nil {
		t.Fatal(err)
	}
	seed := changes(t,
		"add @ SOA ns1 hostmaster 1 3600 600 86400 60; add @ NS ns1; "+historySeed)
	h.reclaim = reclaim
	h.zone = openZone(t, "example.test.", seed, zone.Config{Now: func() time.Time { return h.clock }})
	h.policy = newPolicy(t, policy.Config{Mode: h.mode, Rules: parseRules(t, h.rules), Reclaim: reclaim})
	h.steps = append(h.steps, "reclaim "+reclaim.String()+", updates "+h.mode.String())
	return h
}

func historyIdentity(who string) policy.Identity {
	if who == unsigned {
		return policy.Identity{}
	}
	if !strings.Contains(who, "@") {
		return policy.Identity{Kind: policy.Static, Name: who}
	}
	return kerberos(who)
}

// fresh returns rdata that was never there.
func (h *history) fresh(rrtype string) string {
	h.serial++
	switch rrtype {
	case "A":
		return fmt.Sprintf("A 10.0.%d.%d", h.serial>>8&0xff, h.serial&0xff)
	case "PTR":
		return fmt.Sprintf("PTR h%d", h.serial)
	}
	return fmt.Sprintf("TXT t%d", h.serial)
}

// isForeign reports whether another client or the administrator has the name or, if
// nobody has it, the closest name above it.
func (h *history) isForeign(who, name string) bool {
	p := propose(h.t, h.zone, message(h.t, "example.test.", nil))
	held, found := p.Holding([]byte(wire(name + ".example.test.")))
	return found && (!held.Owned || held.Owner.Principal != historyIdentity(who).Owner() && held.Owner.Principal != policy.FirstCome)
}

// ownsBase reports whether the client owns the name that service labels are below, or may reclaim it.
func (h *history) ownsBase(who, name string) bool {
	labels := strings.Split(name, ".")
	for i := len(labels) - 1; i >= 0; i-- {
		if strings.HasPrefix(labels[i], "_") {
			base := strings.Join(append(labels[i+1:], "example.test."), ".")
			own, _ := h.zone.Snapshot().Owner(base)
			return own.Principal == historyIdentity(who).Owner() ||
				h.reclaim != policy.ReclaimNever && who == "host/"+strings.TrimSuffix(base, ".")+"@EXAMPLE.TEST" ||
				h.reclaim == policy.ReclaimAlways && who == strings.ToUpper(strings.TrimSuffix(base, ".example.test."))+"$@EXAMPLE.TEST"
		}
	}
	return false
}

// A right is what a client may do: add a record of a type to a name.
type right struct{ who, name, rrtype string }

// foreignRights returns the rights of the clients to foreign names, with those of unsigned updates to all
// names, and which names are foreign.
func (h *history) foreignRights() (rights, foreign map[right]bool) {
	rights, foreign = map[right]bool{}, map[right]bool{}
	for _, who := range historyClients {
		authorize := h.policy.Authorizer(historyIdentity(who))
		for _, name := range historyNames {
			isForeign := h.isForeign(who, name)
			if !isForeign && who != unsigned {
				continue
			}
			for _, rrtype := range historyTypes {
				r := right{who, name, rrtype}
				if isForeign {
					foreign[r] = true
				}
				// A second record would exceed a limit. Whether the first is there is not asked here.
				d := authorize(propose(h.t, h.zone, message(h.t, "example.test.",
					changes(h.t, fmt.Sprintf("delete %s %s; add %s %s", name, rrtype, name, h.fresh(rrtype))))))
				rights[r] = d.Allow
			}
		}
	}
	return rights, foreign
}

// step has a client send a random update, and returns who.
func (h *history) step() string {
	who := h.pick(append([]string{administrator}, historyClients...)...)
	var lines []string
	for range 1 + len(h.pick("", "", "1", "12")) {
		name, rrtype := h.pick(historyNames...), h.pick(historyTypes...)
		switch h.pick("add", "add", "delete", "clear", "repeat") {
		case "add":
			lines = append(lines, "add "+name+" "+h.fresh(rrtype))
		case "delete":
			lines = append(lines, "delete "+name+" "+rrtype)
		case "clear":
			lines = append(lines, "delete "+name)
		case "repeat":
			lines = append(lines, strings.Split(historySeed, "; ")[len(h.choices)%5])
		}
	}
	text := strings.Join(lines, "; ")
	r := h.zone.Apply(context.Background(), h.policy.Update(historyIdentity(who), message(h.t, "example.test.", changes(h.t, text))))
	h.steps = append(h.steps, fmt.Sprintf("%s: %s: %s, owners %v, released %q", who, text, dns.RcodeToString[r.Rcode], claims(r.Decision.Own), r.Decision.Released))
	return who
}

func claims(own []zone.Claim) (text []string) {
	for _, c := range own {
		text = append(text, dnswire.NameText([]byte(c.Name))+" "+c.Principal)
	}
	return text
}

// nonInterference plays a history, and checks after each step that no client has a right to a name that
// it did not have before, unsigned at least, where the name was foreign to it. What an administrator does, and the end of
// tombstones, may give rights; and the owner of a name has the service labels below it.
func nonInterference(t testing.TB, choices []byte) (granted int) {
	h := newHistory(t, choices)
	before, foreign := h.foreignRights()
	for len(h.choices) > 0 {
		if h.pick("", "", "", "", "", "", "", "", "wait") == "wait" {
			h.clock = h.clock.Add(4 * 24 * time.Hour)
			h.steps = append(h.steps, "wait 96h")
			before, foreign = h.foreignRights()
		}
		serial := h.zone.Snapshot().Serial()
		who := h.step()
		if h.zone.Snapshot().Serial() != serial {
			granted++
		}
		after := h.rights(foreign)
		if who != administrator {
			for r := range foreign {
				if after[r] && !before[r] && !before[right{unsigned, r.name, r.rrtype}] && !h.ownsBase(r.who, r.name) {
					t.Fatalf("%s may change %s %s now\nrules:\n\t%s\nhistory:\n\t%s", r.who, r.name, r.rrtype,
						strings.Join(h.rules, "\n\t"), strings.Join(h.steps, "\n\t"))
				}
			}
		}
		before, foreign = h.foreignRights()
	}
	return granted
}

// rights returns which of some rights clients have.
func (h *history) rights(of map[right]bool) map[right]bool {
	rights := map[right]bool{}
	authorizers := map[string]func(*zone.Proposal) zone.Decision{}
	for _, who := range historyClients {
		authorizers[who] = h.policy.Authorizer(historyIdentity(who))
	}
	for r := range of {
		d := authorizers[r.who](propose(h.t, h.zone, message(h.t, "example.test.",
			changes(h.t, fmt.Sprintf("delete %s %s; add %s %s", r.name, r.rrtype, r.name, h.fresh(r.rrtype))))))
		rights[r] = d.Allow
	}
	return rights
}

func TestNonInterference(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 14))
	granted := 0
	for range 60 {
		choices := make([]byte, 120)
		for i := range choices {
			choices[i] = byte(random.Uint32())
		}
		granted += nonInterference(t, choices)
	}
	if granted < 120 {
		t.Errorf("only %d updates change something: the test tests nothing", granted)
	}
}

func FuzzNonInterference(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0}, 60))
	f.Add([]byte("a grant of one type is no right to the others, and the last record is not the name"))
	f.Add(bytes.Repeat([]byte{7, 1, 0, 5, 3, 2}, 20))
	f.Fuzz(func(t *testing.T, choices []byte) {
		if len(choices) < 200 {
			nonInterference(t, choices)
		}
	})
}
