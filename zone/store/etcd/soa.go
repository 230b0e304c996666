package etcd

import (
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const typeSOA = 6 // RFC 1035 section 3.2.2

// isSOA reports whether a record is the zone's SOA, which is in the head.
func (z *Zone) isSOA(r *store.Record) bool {
	return r.Type == typeSOA && len(r.Name) == len(z.apex) && dnswire.EqualNames([]byte(r.Name), []byte(z.apex))
}

// lastSOA returns the SOA after changes; one without a name if they do not change it.
func (z *Zone) lastSOA(changes []store.Change) (soa store.Record) {
	for i := len(changes) - 1; i >= 0; i-- {
		for j := range changes[i].Added {
			if r := &changes[i].Added[j]; z.isSOA(r) {
				return *r
			}
		}
	}
	return soa
}

// withoutSOA returns the records of the apex that are not in the head.
func (z *Zone) withoutSOA(records []store.Record) []store.Record {
	others := make([]store.Record, 0, len(records))
	for i := range records {
		if !z.isSOA(&records[i]) {
			others = append(others, records[i])
		}
	}
	return others
}
