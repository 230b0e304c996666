package zone

import (
	"encoding/binary"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
)

// An ownerID stands for an owner where shares are counted, because many owners have long names and
// one name each. Should two owners have the same ID, they share the limits for one. The seed keeps
// clients from choosing owners for which that is so.
type ownerID uint64

var ownerSeed = maphash.MakeSeed()

func idOf(principal string) ownerID { return ownerID(maphash.String(ownerSeed, principal)) }

func (id ownerID) appendTo(b []byte) []byte { return binary.BigEndian.AppendUint64(b, uint64(id)) }

// Some owners are no clients. The limits for one owner do not bound their names.
const (
	// AdministratorOwner has names that stay the administrator's although they have no records.
	AdministratorOwner = "administrator:"
	// SignedOwner has names that unsigned updates do not change.
	SignedOwner = "signed:"
	// FirstComeOwner has names that wait for the first client which signs.
	FirstComeOwner = "first-come:"
)

// isClient reports whether an owner is one of those whose names are bounded.
func isClient(principal string) bool { return !isReserved(principal) && principal != FirstComeOwner }

// isReserved reports whether an owner is one whose tombstones stay until they expire, so that nobody
// can make a name of theirs free: an update that would add too many of them is refused.
func isReserved(principal string) bool {
	return principal == AdministratorOwner || principal == SignedOwner
}

// charge adds to what an owner has.
func (s *Snapshot) charge(principal string, d usage) {
	if d == (usage{}) || isReserved(principal) {
		return
	}
	s.copyOwners()
	id := idOf(principal)
	before := s.usage.get(id)
	after := before
	after.add(d)
	if before.tombstones != after.tombstones {
		s.rank(id, before.tombstones, after.tombstones)
	}
	s.usage.set(id, before, after)
}

// rank notes that an owner has another number of tombstones.
func (s *Snapshot) rank(id ownerID, before, after int32) {
	if before > 1 {
		s.tombstoneRanks.Delete(rankKey(id, before))
	}
	if after > 1 {
		s.tombstoneRanks.Set(rankKey(id, after), struct{}{})
	}
	if before == 0 {
		s.tombstoneOwners++
	} else if after == 0 {
		s.tombstoneOwners--
	}
}

// rankKey sorts by the number of tombstones, then owner.
func rankKey(id ownerID, tombstones int32) string {
	return string(id.appendTo(binary.BigEndian.AppendUint32(nil, uint32(tombstones))))
}

// splitRankKey is the inverse of rankKey.
func splitRankKey(rank string) (id ownerID, tombstones int) {
	return ownerID(binary.BigEndian.Uint64([]byte(rank[4:]))), int(binary.BigEndian.Uint32([]byte(rank)))
}

// ownerTombstoneKey sorts by owner, then time, then name.
func ownerTombstoneKey(principal, key string, deleted int64) string {
	return ownerPrefix(idOf(principal)) + tombstoneKey(key, deleted)
}

// ownerPrefix is what the ownerTombstoneKeys of an owner begin with.
func ownerPrefix(id ownerID) string { return string(id.appendTo(nil)) }

// checkOwners holds what owners gain by the effect against their shares.
func (l *Limits) checkOwners(s *Snapshot, e *effect) error {
	gains := e.gains(s)
	for _, principal := range slices.Sorted(maps.Keys(gains)) {
		if !isClient(principal) {
			continue
		}
		gain := gains[principal]
		u := s.usage.get(idOf(principal))
		u.add(gain)
		switch {
		case gain.names > 0 && int(u.names) > l.OwnerNames:
			return &LimitError{Limit: "OwnerNames", Max: l.OwnerNames, Name: principal}
		case gain.records > 0 && u.records > l.OwnerRecords:
			return &LimitError{Limit: "OwnerRecords", Max: l.OwnerRecords, Name: principal}
		case gain.octets > 0 && u.octets > l.OwnerOctets:
			return &LimitError{Limit: "OwnerOctets", Max: l.OwnerOctets, Name: principal}
		}
	}
	return nil
}

// gains returns what the effect adds to the usage of owners, or takes from it.
func (e *effect) gains(s *Snapshot) map[string]usage {
	if len(e.owners) == 0 && s.owners.Len() == 0 {
		return nil
	}
	var gains map[string]usage
	gain := func(principal string, d usage) {
		if d == (usage{}) {
			return
		}
		if gains == nil {
			gains = make(map[string]usage)
		}
		g := gains[principal]
		g.add(d)
		gains[principal] = g
	}
	owners := e.owners // sorted by key, as the nodes are
	settle := func(key string, before, after *node) {
		for len(owners) > 0 && owners[0].key < key {
			owners = owners[1:]
		}
		old, owned := s.owners.Get(key)
		own := &old
		if len(owners) > 0 && owners[0].key == key {
			own = owners[0].own
		} else if !owned {
			return
		}
		if owned {
			gain(old.principal(), usageOf(key, before, old.deleted() != 0).negative())
		}
		if own != nil {
			gain(own.principal(), usageOf(key, after, own.deleted() != 0))
		}
	}
	nodes := e.nodes
	for i := range e.nodes {
		// Most updates replace a record by another.
		ne := &e.nodes[i]
		before, after := ne.before.tally(), ne.after.tally()
		if len(e.owners) > 0 || before.records != after.records || before.octets != after.octets {
			settle(ne.key, ne.before, ne.after)
		}
	}
	owners = e.owners
	for _, oe := range e.owners {
		for len(nodes) > 0 && nodes[0].key < oe.key {
			nodes = nodes[1:]
		}
		if len(nodes) == 0 || nodes[0].key != oe.key {
			n, _ := s.node(oe.key)
			settle(oe.key, n, n)
		}
	}
	return gains
}

// reservedOctets is how many octets the reserved tombstones may take.
func (l *Limits) reservedOctets() int { return max(1, l.ZoneOctets/16) }

// checkReserved holds the reserved tombstones that the effect adds against their limits. Those from
// expired or before, in seconds of Unix time, are in nobody's way.
func (l *Limits) checkReserved(s *Snapshot, e *effect, expired int64) error {
	count, octets, principal := 0, 0, ""
	for _, o := range e.owners {
		if old, ok := s.owners.Get(o.key); ok && old.reserved() {
			count--
			octets -= old.octets(o.key)
		}
		if o.own != nil && o.own.reserved() {
			count++
			octets += o.own.octets(o.key)
			principal = o.own.principal()
		}
	}
	if count <= 0 {
		return nil
	}
	count += s.reserved.Len() - l.OwnerTombstones
	octets += s.reservedOctets - l.reservedOctets()
	s.reserved.Scan(func(t string, _ struct{}) bool {
		key, deleted := splitTombstoneKey(t)
		if deleted > expired || count <= 0 && octets <= 0 {
			return false
		}
		own, _ := s.owners.Get(key)
		count--
		octets -= own.octets(key)
		return true
	})
	switch {
	case count > 0:
		return &LimitError{Limit: "OwnerTombstones", Max: l.OwnerTombstones, Name: principal}
	case octets > 0:
		return &LimitError{Limit: "ZoneOctets", Max: l.ZoneOctets, Name: principal}
	}
	return nil
}

// expireSteps bounds the tombstones that one update clears away, beyond those that it adds.
const expireSteps = 8

// tombstoneOctets is how many octets the tombstones may take.
func (l *Limits) tombstoneOctets() int { return max(1, l.ZoneOctets/4) }

// expire adds to the effect the end of some tombstones: of those from expired or before, in seconds of
// Unix time, and of others while there are too many.
func (e *effect) expire(s *Snapshot, expired int64, l *Limits) {
	x := expiry{effect: e, state: s, limits: l, count: s.tombstones.Len(), octets: s.tombstoneOctets, steps: expireSteps}
	for _, o := range e.owners {
		x.note(o)
	}
	s.reserved.Scan(func(t string, _ struct{}) bool {
		key, deleted := splitTombstoneKey(t)
		if x.steps <= 0 || deleted > expired {
			return false
		}
		x.remove(key)
		return true
	})
	if x.count == 0 {
		return
	}
	x.expireShares()
	s.tombstones.Scan(func(t string, _ struct{}) bool {
		key, deleted := splitTombstoneKey(t)
		if x.steps <= 0 || deleted > expired && !x.over(x.ahead) {
			return false
		}
		x.remove(key)
		return true
	})
}

// expiry is the state of expire.
type expiry struct {
	effect        *effect
	state         *Snapshot
	limits        *Limits
	count, octets int // of the tombstones after the effect, but the reserved ones
	steps         int // tombstones that may still be removed
	// changed are the names whose ownership the effect changes.
	changed map[string]struct{}
	// added is how many tombstones the effect adds to those of an owner.
	added map[ownerID]int
	// ahead is how many tombstones those who add some have beyond the average. No one else's are
	// removed for these: they are removed with the next updates.
	ahead int
}

// note counts a change of ownership that is in the effect already.
func (x *expiry) note(o ownerEffect) {
	if x.changed == nil {
		x.changed, x.added = make(map[string]struct{}, len(x.effect.owners)), make(map[ownerID]int)
	}
	x.changed[o.key] = struct{}{}
	if old, ok := x.state.owners.Get(o.key); ok && old.deleted() != 0 && !old.reserved() {
		x.count--
		x.octets -= old.octets(o.key)
		x.added[idOf(old.principal())]--
	}
	if o.own != nil && o.own.deleted() != 0 {
		octets := o.own.octets(o.key)
		if !o.own.reserved() {
			x.count++
			x.octets += octets
			x.added[idOf(o.own.principal())]++
		}
		// As many as may be needed to make room for it.
		x.steps += 1 + octets/64
	}
}

// over reports whether there are too many tombstones, apart from some.
func (x *expiry) over(apart int) bool {
	return x.count > x.limits.Tombstones+apart || apart == 0 && x.octets > x.limits.tombstoneOctets()
}

// remove removes the tombstone of a name, unless the effect changes it already.
func (x *expiry) remove(key string) {
	if _, ok := x.changed[key]; ok {
		return
	}
	if x.changed == nil {
		x.changed, x.added = make(map[string]struct{}), make(map[ownerID]int)
	}
	x.changed[key] = struct{}{}
	own, _ := x.state.owners.Get(key)
	x.effect.owners = append(x.effect.owners, ownerEffect{key: key})
	x.steps--
	if own.reserved() {
		return
	}
	x.added[idOf(own.principal())]--
	x.count--
	x.octets -= own.octets(key)
}

// has returns how many tombstones an owner has after the effect.
func (x *expiry) has(id ownerID) int {
	u := x.state.usage.get(id)
	return int(u.tombstones) + x.added[id]
}

// removeOf removes the oldest tombstones of an owner for as long as goesOn says.
func (x *expiry) removeOf(id ownerID, goesOn func(has int) bool) {
	prefix := ownerPrefix(id)
	x.state.ownerTombstones.Ascend(prefix, func(t string, _ struct{}) bool {
		if x.steps <= 0 || !strings.HasPrefix(t, prefix) || !goesOn(x.has(id)) {
			return false
		}
		key, _ := splitTombstoneKey(t[len(prefix):])
		x.remove(key)
		return true
	})
}

// expireShares removes the oldest tombstones of owners that have more than an owner may have. While
// there are too many in all, it removes those of the owners that have the most, down to the average
// before the effect.
func (x *expiry) expireShares() {
	owners := x.state.tombstoneOwners
	for id, added := range x.added {
		if added > 0 && x.has(id) == added {
			owners++ // it had none
		}
	}
	average := max(1, min(x.state.tombstones.Len(), x.limits.Tombstones)/max(1, owners))
	for _, id := range slices.Sorted(maps.Keys(x.added)) {
		if x.added[id] > 0 {
			x.removeOf(id, func(has int) bool { return has > x.limits.OwnerTombstones || has > average && x.over(0) })
			x.ahead += max(0, x.has(id)-average)
		}
	}
	if !x.over(0) {
		return
	}
	x.state.tombstoneRanks.Reverse(func(rank string, _ struct{}) bool {
		id, tombstones := splitRankKey(rank)
		if tombstones <= average {
			return false
		}
		x.removeOf(id, func(has int) bool { return has > average && x.over(0) })
		return x.steps > 0 && x.over(0)
	})
}
