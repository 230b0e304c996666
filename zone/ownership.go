package zone

import (
	"encoding/binary"
	"maps"
	"strings"
	"sync/atomic"
	"time"
)

// An ownership is a compact Ownership. It never changes. In a zone of many machines each name has another
// owner, so its octets are kept few: they are
//
//   - the number of the realm in knownRealms, 0 if it is not there, plus isDeleted for a tombstone (1),
//   - for a tombstone, when it was made, in seconds of Unix time (8),
//   - the owner, but for its realm if that is known.
//
// Two ownerships are the same if their octets are equal. The zero value is no ownership.
type ownership struct {
	packed string
}

const (
	isDeleted = 0x80
	maxRealms = isDeleted - 1
)

// realms are the ends of owners, from the last "@" on, which are the same in many.
type realms struct {
	numbers map[string]byte
	names   []string // by number
}

// knownRealms only grow, up to maxRealms. A realm that finds no place stays without one, so that an owner always has the same
// form.
var knownRealms atomic.Pointer[realms]

func init() { knownRealms.Store(&realms{numbers: map[string]byte{}, names: []string{""}}) }

// cutRealm splits an owner into what is before its realm and the realm's number. If the realm is not known
// and finds no place, all is before it.
func cutRealm(principal string) (local string, number byte) {
	at := strings.LastIndexByte(principal, '@')
	if at < 0 {
		return principal, 0
	}
	realm := principal[at:]
	for {
		known := knownRealms.Load()
		if number, found := known.numbers[realm]; found {
			return principal[:at], number
		}
		if len(known.names) > maxRealms {
			return principal, 0
		}
		realm = strings.Clone(realm)
		more := &realms{numbers: maps.Clone(known.numbers), names: append(known.names[:len(known.names):len(known.names)], realm)}
		more.numbers[realm] = byte(len(known.names))
		knownRealms.CompareAndSwap(known, more)
	}
}

// newOwnership returns the ownership of an owner. deleted is in seconds of Unix time, 0 for a name with records.
func newOwnership(principal string, deleted int64) ownership {
	local, number := cutRealm(principal)
	var b strings.Builder
	if deleted == 0 {
		b.Grow(1 + len(local))
		b.WriteByte(number)
	} else {
		b.Grow(9 + len(local))
		b.WriteByte(number | isDeleted)
		var at [8]byte
		binary.BigEndian.PutUint64(at[:], uint64(deleted))
		b.Write(at[:])
	}
	b.WriteString(local)
	return ownership{b.String()}
}

// deleted returns when a tombstone was made, in seconds of Unix time, and 0 for a name with records.
func (o ownership) deleted() int64 {
	if o.packed == "" || o.packed[0]&isDeleted == 0 {
		return 0
	}
	var at uint64
	for i := 1; i <= 8; i++ {
		at = at<<8 | uint64(o.packed[i])
	}
	return int64(at)
}

// withDeleted returns the ownership of the same owner with another time.
func (o ownership) withDeleted(deleted int64) ownership {
	if o.deleted() == deleted {
		return o
	}
	return newOwnership(o.principal(), deleted)
}

// parts returns the owner in two parts, the second of which is the realm or nothing.
func (o ownership) parts() (local, realm string) {
	if o.packed == "" {
		return "", ""
	}
	number, local := o.packed[0], o.packed[1:]
	if number&isDeleted != 0 {
		local = local[8:]
	}
	return local, knownRealms.Load().names[number&^isDeleted]
}

func (o ownership) principal() string {
	local, realm := o.parts()
	return local + realm
}

// octets is what the ownership of a name counts for Limits.ZoneOctets: the name and the owner, and for a tombstone its
// tombstoneKey and ownerTombstoneKey too.
func (o ownership) octets(key string) int {
	local, realm := o.parts()
	octets := len(key) + len(local) + len(realm)
	if o.deleted() != 0 {
		octets += 8 + len(key)
		if !o.reserved() {
			octets += 8 + 8 + len(key)
		}
	}
	return octets
}

// reserved reports whether this is a tombstone that stays until it expires.
func (o ownership) reserved() bool { return o.deleted() != 0 && isReserved(o.principal()) }

func (o ownership) export() Ownership {
	e := Ownership{Principal: o.principal()}
	if deleted := o.deleted(); deleted != 0 {
		e.Deleted = time.Unix(deleted, 0).UTC()
	}
	return e
}
