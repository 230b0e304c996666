package gsstsig

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/administration"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// searchStep is after how many records a search looks whether it should end.
const searchStep = 4096

// search finds names in all zones: those that contain the words, that have the address, or that belong to a principal whose
// name contains the words. What is meant exactly comes first. It ends early with ctx, and then reports that there may be more.
func (p *process) search(ctx context.Context, words string, most int) (names []view.Name, more bool) {
	words = strings.ToLower(strings.TrimSpace(words))
	if words == "" {
		return []view.Name{}, false
	}
	found := finder{words: words, bare: strings.TrimSuffix(words, "."), most: most, names: []view.Name{}, seen: make(map[string]bool)}
	if address, err := netip.ParseAddr(words); err == nil {
		found.address = address.Unmap()
		found.reverse, _ = dns.ReverseAddr(found.address.String())
	}
	zones := p.served()
	for _, z := range zones {
		found.exactly(z.Snapshot())
	}
	for _, z := range zones {
		if found.more = found.more || ctx.Err() != nil; found.more {
			break
		}
		found.within(ctx, z.Snapshot())
	}
	return found.names, found.more
}

// finder is a search under way.
type finder struct {
	words, bare string // bare is without the final dot
	address     netip.Addr
	reverse     string // the PTR name of address
	most        int

	names []view.Name
	seen  map[string]bool // by zone and name
	more  bool
}

// add adds a name unless it is there. It reports whether the search goes on.
func (f *finder) add(snapshot *zone.Snapshot, name string) bool {
	key := snapshot.Origin() + " " + name
	if f.seen[key] {
		return true
	}
	if len(f.names) >= f.most {
		f.more = true
		return false
	}
	f.seen[key] = true
	found, _ := administration.Name(snapshot, name)
	f.names = append(f.names, found)
	return true
}

// exactly finds the name itself, as it is or below the zone's name, and the PTR name of an address.
func (f *finder) exactly(snapshot *zone.Snapshot) {
	candidates := []string{f.bare + ".", f.bare + "." + snapshot.Origin(), f.reverse}
	for _, name := range candidates {
		if _, valid := dns.IsDomainName(name); name == "" || !valid || !snapshot.InZone(name) {
			continue
		}
		if _, owned := snapshot.Owner(name); owned || snapshot.Exists(name) {
			f.add(snapshot, name)
		}
	}
}

// within goes through a zone.
func (f *finder) within(ctx context.Context, snapshot *zone.Snapshot) {
	n := 0
	goesOn := func() bool {
		if n++; n%searchStep == 0 && ctx.Err() != nil {
			f.more = true
		}
		return !f.more
	}
	for o := range snapshot.Owners() {
		if strings.Contains(strings.ToLower(o.Principal), f.bare) && !f.add(snapshot, lowerName(o.Name)) || !goesOn() {
			return
		}
	}
	last, lastName := "", ""
	for r := range snapshot.WireRecords() {
		if r.Name != last {
			last, lastName = r.Name, lowerName(r.Name)
			if !f.address.IsValid() && strings.Contains(lastName, f.bare) && !f.add(snapshot, lastName) {
				return
			}
		}
		if f.address.IsValid() && f.hasAddress(&r) && !f.add(snapshot, lastName) || !goesOn() {
			return
		}
	}
}

func (f *finder) hasAddress(r *store.Record) bool {
	return (r.Type == dns.TypeA || r.Type == dns.TypeAAAA) && slices.Equal(r.Data, f.address.AsSlice())
}

// lowerName returns a name in wire form as views have it.
func lowerName(wire string) string { return strings.ToLower(dnswire.NameText([]byte(wire))) }
