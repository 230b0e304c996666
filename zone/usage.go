package zone

import "github.com/tidwall/btree"

// A usage is what one owner has of a zone.
type usage struct {
	names      int32 // with records
	tombstones int32
	records    int // of its names
	octets     int // of its names and their records
}

func (u *usage) add(d usage) {
	u.names += d.names
	u.tombstones += d.tombstones
	u.records += d.records
	u.octets += d.octets
}

// usageOf is what a name adds to the usage of its owner.
func usageOf(key string, n *node, deleted bool) usage {
	switch {
	case deleted:
		return usage{tombstones: 1}
	case n.empty():
		return usage{names: 1}
	}
	t := n.tally()
	return usage{names: 1, records: t.records, octets: len(key) + t.octets}
}

func (u usage) negative() usage {
	return usage{-u.names, -u.tombstones, -u.records, -u.octets}
}

// usages is what each owner has. Most owners are machines that have one name each, so these have a tree with
// smaller values.
type usages struct {
	single  *btree.Map[ownerID, singleUsage]
	several *btree.Map[ownerID, usage]
}

// A singleUsage is the usage of an owner of one name.
type singleUsage struct {
	octets    uint32
	records   uint16
	tombstone bool
}

// single returns the usage as that of an owner of one name, if it can be.
func (u usage) single() (s singleUsage, ok bool) {
	s = singleUsage{octets: uint32(u.octets), records: uint16(u.records), tombstone: u.tombstones != 0}
	return s, s.usage() == u // which is not so if a number was cut
}

func (s singleUsage) usage() usage {
	u := usage{names: 1, records: int(s.records), octets: int(s.octets)}
	if s.tombstone {
		u.names, u.tombstones = 0, 1
	}
	return u
}

func newUsages() usages {
	return usages{single: new(btree.Map[ownerID, singleUsage]), several: new(btree.Map[ownerID, usage])}
}

// get returns what an owner has.
func (all usages) get(id ownerID) usage {
	if s, ok := all.single.Get(id); ok {
		return s.usage()
	}
	u, _ := all.several.Get(id)
	return u
}

// set notes what an owner has, in place of what it had. An owner of nothing is forgotten.
func (all usages) set(id ownerID, before, after usage) {
	s, single := after.single()
	if _, was := before.single(); was && !single {
		all.single.Delete(id)
	} else if !was && single {
		all.several.Delete(id)
	}
	switch {
	case single:
		all.single.Set(id, s)
	case after == usage{}:
		all.several.Delete(id)
	default:
		all.several.Set(id, after)
	}
}

// len returns how many owners there are.
func (all usages) len() int { return all.single.Len() + all.several.Len() }

// copy returns a copy that can be changed without the original.
func (all usages) copy() usages { return usages{all.single.Copy(), all.several.Copy()} }
