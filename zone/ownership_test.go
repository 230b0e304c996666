package zone

import (
	"fmt"
	"math"
	"strconv"
	"testing"
)

// TestOwnershipForm packs owners with and without realm, and gets them back. Two of one owner are the same, also when no more
// realms are noted.
func TestOwnershipForm(t *testing.T) {
	former := knownRealms.Load()
	defer knownRealms.Store(former)
	check := func(principal string, deleted int64) ownership {
		t.Helper()
		o := newOwnership(principal, deleted)
		if o.principal() != principal || o.deleted() != deleted {
			t.Fatalf("%q %d came back as %q %d", principal, deleted, o.principal(), o.deleted())
		}
		if again := newOwnership(principal, deleted); again != o {
			t.Fatalf("%q %d: %q, then %q", principal, deleted, o.packed, again.packed)
		}
		if live := o.withDeleted(0); live != newOwnership(principal, 0) || live.withDeleted(deleted) != o {
			t.Fatalf("%q %d: another time changes the owner", principal, deleted)
		}
		octets := len("key") + len(principal)
		if deleted != 0 {
			octets += 8 + len("key")
			if !isReserved(principal) {
				octets += 16 + len("key")
			}
		}
		if got := o.octets("key"); got != octets {
			t.Fatalf("%q %d counts %d octets, want %d", principal, deleted, got, octets)
		}
		return o
	}
	for _, principal := range []string{"", "@", "a", "key.", AdministratorOwner, SignedOwner, FirstComeOwner, "a@", "@A", "a@b@A",
		"host/a.example.test@EXAMPLE.TEST", "A$@EXAMPLE.TEST S-1-5-21-1-2-3-1105", "\x80@EXAMPLE.TEST", "\xff\x00@\xff\x00"} {
		for _, deleted := range []int64{0, 1, 1 << 31, 1 << 40} {
			check(principal, deleted)
		}
	}
	if o := check("host/a.example.test@EXAMPLE.TEST", 0); len(o.packed) != 1+len("host/a.example.test") {
		t.Errorf("%q repeats the realm", o.packed)
	}
	for i := range 2 * maxRealms {
		check(fmt.Sprintf("a@R%d", i), int64(i))
	}
	if got := len(knownRealms.Load().names); got != 1+maxRealms {
		t.Errorf("%d realms are known, want %d", got-1, maxRealms)
	}
	if (ownership{}).principal() != "" || (ownership{}).deleted() != 0 {
		t.Error("the zero value is an ownership")
	}
}

// TestSingleUsage keeps what owners of one name have apart from the others, whatever it was before.
func TestSingleUsage(t *testing.T) {
	type step struct {
		usage  usage
		single bool
	}
	steps := []step{
		{usage{names: 1, records: 1, octets: 20}, true},
		{usage{tombstones: 1}, true},
		{usage{names: 1, tombstones: 1}, false},
		{usage{names: 2, records: 3, octets: 40}, false},
		{usage{names: 1, records: 65535, octets: math.MaxInt32}, true},
		{usage{names: 1, records: 65536, octets: 1}, false},
		{usage{}, false},
	}
	if most := uint64(math.MaxUint32); strconv.IntSize == 64 {
		steps = append(steps, step{usage{names: 1, records: 1, octets: int(most)}, true}, step{usage{names: 1, records: 1, octets: int(most + 1)}, false})
	}
	for _, from := range steps {
		for _, to := range steps {
			all := newUsages()
			all.set(1, usage{}, from.usage)
			if got := all.get(1); got != from.usage || (all.single.Len() == 1) != from.single {
				t.Fatalf("%+v: %+v", from.usage, got)
			}
			before := all.copy()
			all.set(1, from.usage, to.usage)
			want := 1
			if to.usage == (usage{}) {
				want = 0
			}
			if got := all.get(1); got != to.usage || all.len() != want || (all.single.Len() == 1) != to.single {
				t.Fatalf("%+v, then %+v: %+v, %d owners", from.usage, to.usage, got, all.len())
			}
			if got := before.get(1); got != from.usage {
				t.Fatalf("the copy of %+v has %+v", from.usage, got)
			}
		}
	}
}
