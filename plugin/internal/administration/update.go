package administration

import (
	"context"
	"fmt"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Update does what an UPDATE message with these sections would do.
func (z Zone) Update(ctx context.Context, u *view.Update) (view.Applied, zone.Result, error) {
	sections := new(zone.Sections)
	for _, part := range []struct {
		from []view.Instruction
		to   *[]store.Record
	}{{u.Prerequisites, &sections.Prerequisites}, {u.Updates, &sections.Updates}} {
		for _, in := range part.from {
			r, err := instruction(&in)
			if err != nil {
				return view.Applied{}, zone.Result{}, err
			}
			*part.to = append(*part.to, r)
		}
	}
	var list []view.Ignored
	r := z.apply(ctx, sections, func(p *zone.Proposal, _ *zone.Decision) {
		for i := range u.Updates {
			if reason := p.Ignored(i); reason != "" {
				list = append(list, view.Ignored{Instruction: u.Updates[i], Reason: reason})
			}
		}
	})
	a := applied(z, r)
	a.Ignored = list
	return a, r, failure(z, r)
}

// instruction makes a record of a section.
func instruction(in *view.Instruction) (store.Record, error) {
	wire, err := dnswire.ParseName(dns.Fqdn(in.Name), nil)
	if err != nil {
		return store.Record{}, fmt.Errorf("name %q: %w", in.Name, err)
	}
	class, ok := dns.StringToClass[in.Class]
	if !ok {
		return store.Record{}, fmt.Errorf("%s: %q is not a class", in.Name, in.Class)
	}
	r := store.Record{Name: string(wire), Class: class, TTL: in.TTL}
	if err := checkTTL(in.TTL); err != nil {
		return r, fmt.Errorf("%s: %w", in.Name, err)
	}
	if in.Data == "" {
		if r.Type, ok = dnswire.ParseType(in.Type); !ok {
			return r, fmt.Errorf("%s: %q is not a type", in.Name, in.Type)
		}
		return r, nil
	}
	if r.Type, r.Data, err = ParseData(in.Type, in.Data); err != nil {
		return r, fmt.Errorf("%s: %w", in.Name, err)
	}
	return r, nil
}

// maxTTL is the greatest TTL (RFC 2181 section 8). In an UPDATE message a greater one counts as 0, which is not what an administrator
// means who writes it.
const maxTTL = 1<<31 - 1

func checkTTL(ttl uint32) error {
	if ttl > maxTTL {
		return diagnose.WithFix(fmt.Errorf("the TTL %d is more than %d (RFC 2181 section 8)", ttl, maxTTL), "write a TTL from 0 to %d", maxTTL)
	}
	return nil
}
