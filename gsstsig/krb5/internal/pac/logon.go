package pac

import (
	"encoding/binary"
	"strconv"
)

// Bits of UserFlags that announce the two later lists of SIDs (MS-PAC, section
// 2.5).
const (
	hasExtraSIDs      = 0x0020
	hasResourceGroups = 0x0200
)

// groupEnabled is the bit of a group's attributes without which it grants
// nothing (MS-PAC, section 2.2.1).
const groupEnabled = 0x0004

// maxSubAuthorities bounds a SID (MS-DTYP, section 2.4.2).
const maxSubAuthorities = 15

// RIDs of accounts (MS-DTYP, section 2.4.2.4). Those below firstOwnRID are well
// known and, but for the administrator's, belong to groups or to accounts that
// do not log on. FreeIPA gives 515 or 516, which are groups, to every host and
// service, with the host's name for the account's: such a PAC names no account.
const (
	administratorRID = 500
	firstOwnRID      = 1000
)

// sid is a security identifier in the form that people write, "S-1-5-21-...".
type sid string

// member is the SID of an account or group of the domain.
func (s sid) member(rid uint32) string {
	return string(s) + "-" + strconv.FormatUint(uint64(rid), 10)
}

// readLogon reads KERB_VALIDATION_INFO (MS-PAC, section 2.5): a flat structure
// with pointers, followed by what they point to, in the order of the pointers.
// A pointer is four octets that are zero or not.
func (p *PAC) readLogon(b []byte) error {
	r := ndr{b: b}
	// The headers of type serialization version 1 (MS-RPCE, section 2.2.6), and
	// the pointer to the structure.
	version, order, size := r.octet(), r.octet(), r.uint16()
	r.skip(4)
	length := r.uint32()
	r.skip(4)
	if !r.ok() || version != 1 || order != littleEndian || size != 8 || uint64(length) > uint64(len(b)-headers) {
		return malformed("the logon information has no NDR header")
	}
	r.b = b[:headers+int(length)]
	top := r.pointer()

	r.skip(6 * 8) // times of log-on, log-off, and of the password
	var strings [8]bool
	for i := range 6 { // names, profile, home directory
		strings[i] = r.stringHeader()
	}
	r.skip(2 + 2) // log-ons, bad passwords
	user, primary := r.uint32(), r.uint32()
	groupCount, groups := r.uint32(), r.pointer()
	flags := r.uint32()
	r.skip(16) // session key
	strings[6], strings[7] = r.stringHeader(), r.stringHeader()
	domain := r.pointer()
	r.skip(8 + 4 + 4 + 8 + 8 + 4 + 4) // reserved, account control, status, times and count of failures, reserved
	extraCount, extra := r.uint32(), r.pointer()
	resourceDomain := r.pointer()
	resourceCount, resources := r.uint32(), r.pointer()
	if !r.ok() || !top {
		return malformed("the logon information is cut off")
	}
	// Each is bounded by itself first: their sum cannot overflow then.
	if groupCount > MaxGroups || extraCount > MaxGroups || resourceCount > MaxGroups ||
		groupCount+extraCount+resourceCount > MaxGroups {
		return malformed("the client is in too many groups")
	}

	effectiveName := r.string(strings[0])
	for _, present := range strings[1:6] {
		r.skipString(present)
	}
	memberOf := r.memberships(groups, groupCount)
	r.skipString(strings[6])
	r.skipString(strings[7])
	domainSID := r.sid(domain)
	extraSIDs := r.extraSIDs(extra, extraCount)
	resourceSID := r.sid(resourceDomain)
	resourceOf := r.memberships(resources, resourceCount)
	if !r.ok() {
		return malformed("the logon information is cut off or contradicts itself")
	}

	p.Logon = true
	s := newSet(1 + len(memberOf) + len(extraSIDs) + len(resourceOf))
	if domainSID != "" {
		// An account without a RID has its SID among the extra ones.
		if user != 0 {
			p.User = domainSID.member(user)
		}
		if user >= firstOwnRID || user == administratorRID {
			p.Account, p.SID = effectiveName, p.User
		}
		if primary != 0 {
			s.add(domainSID.member(primary))
		}
		for _, rid := range memberOf {
			s.add(domainSID.member(rid))
		}
	}
	if flags&hasExtraSIDs != 0 {
		for _, x := range extraSIDs {
			s.add(string(x))
		}
	}
	if flags&hasResourceGroups != 0 && resourceSID != "" {
		for _, rid := range resourceOf {
			s.add(resourceSID.member(rid))
		}
	}
	p.Groups = s.list
	return nil
}

// set keeps each SID once, in the order of arrival.
type set struct {
	seen map[string]struct{}
	list []string
}

func newSet(n int) *set { return &set{seen: make(map[string]struct{}, n), list: make([]string, 0, n)} }

func (s *set) add(x string) {
	if _, ok := s.seen[x]; !ok {
		s.seen[x] = struct{}{}
		s.list = append(s.list, x)
	}
}

const (
	headers      = 16 // octets of the serialization's headers
	littleEndian = 0x10
)

// ndr reads NDR in order. A read beyond the end, or a contradiction, makes it
// fail for good; until that is asked for, reads return zeros.
type ndr struct {
	b      []byte
	at     int
	failed bool
}

func (r *ndr) ok() bool { return !r.failed }

func (r *ndr) take(n int) []byte {
	if r.failed || n > len(r.b)-r.at {
		r.failed = true
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

func (r *ndr) skip(n int) { r.take(n) }

func (r *ndr) octet() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *ndr) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *ndr) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *ndr) pointer() bool { return r.uint32() != 0 }

// stringHeader reads an RPC_UNICODE_STRING: two lengths that the string
// repeats, and a pointer.
func (r *ndr) stringHeader() (present bool) {
	r.skip(4)
	return r.pointer()
}

// skipString passes over a string: its room, offset and count in units of two
// octets, the units, and what aligns the next to four octets.
func (r *ndr) skipString(present bool) { r.units(present) }

// string reads a string.
func (r *ndr) string(present bool) string {
	units := r.units(present)
	if len(units) > maxName {
		r.failed = true
		return ""
	}
	return utf16Text(units)
}

// units returns the octets of a string, which are UTF-16 in little endian.
func (r *ndr) units(present bool) []byte {
	if !present {
		return nil
	}
	r.skip(8)
	n := r.uint32()
	if n > uint32(len(r.b)) {
		r.failed = true
		return nil
	}
	units := r.take(2 * int(n))
	if r.at%4 != 0 {
		r.skip(4 - r.at%4)
	}
	return units
}

// arrayHeader reads the count before an array, which repeats that of the
// structure, and checks that as many elements of the size can follow.
func (r *ndr) arrayHeader(present bool, count uint32, size int) bool {
	if !present {
		r.failed = r.failed || count != 0
		return false
	}
	if r.uint32() != count || int(count)*size > len(r.b)-r.at {
		r.failed = true
	}
	return r.ok()
}

// memberships reads GROUP_MEMBERSHIPs: the RIDs of enabled groups.
func (r *ndr) memberships(present bool, count uint32) []uint32 {
	if !r.arrayHeader(present, count, 8) {
		return nil
	}
	rids := make([]uint32, 0, count)
	for range count {
		rid, attributes := r.uint32(), r.uint32()
		if attributes&groupEnabled != 0 {
			rids = append(rids, rid)
		}
	}
	return rids
}

// extraSIDs reads KERB_SID_AND_ATTRIBUTES: pointers with attributes, and then
// the SIDs.
func (r *ndr) extraSIDs(present bool, count uint32) []sid {
	if !r.arrayHeader(present, count, 8) {
		return nil
	}
	enabled := make([]bool, count)
	for i := range enabled {
		if !r.pointer() {
			r.failed = true
		}
		enabled[i] = r.uint32()&groupEnabled != 0
	}
	sids := make([]sid, 0, count)
	for _, on := range enabled {
		if s := r.sid(true); on && r.ok() {
			sids = append(sids, s)
		}
	}
	return sids
}

// sid reads an RPC_SID (MS-DTYP, section 2.4.2.3): the count of its
// subauthorities, and the SID, which repeats it.
func (r *ndr) sid(present bool) sid {
	if !present {
		return ""
	}
	count := r.uint32()
	if r.at+1 < len(r.b) && uint32(r.b[r.at+1]) != count {
		r.failed = true
		return ""
	}
	return r.packedSID()
}

// packedSID reads a SID in its packet form (MS-DTYP, section 2.4.2.2).
func (r *ndr) packedSID() sid {
	revision, count := r.octet(), r.octet()
	authority := r.take(6)
	if !r.ok() || revision != 1 || count == 0 || count > maxSubAuthorities {
		r.failed = true
		return ""
	}
	b := make([]byte, 0, 64)
	b = append(b, "S-1-"...)
	var wide [8]byte
	copy(wide[2:], authority)
	if n := binary.BigEndian.Uint64(wide[:]); n < 1<<32 {
		b = strconv.AppendUint(b, n, 10)
	} else {
		const hex = "0123456789abcdef"
		b = append(b, "0x"...)
		for _, c := range authority {
			b = append(b, hex[c>>4], hex[c&15])
		}
	}
	for range count {
		b = append(b, '-')
		b = strconv.AppendUint(b, uint64(r.uint32()), 10)
	}
	if !r.ok() {
		return ""
	}
	return sid(b)
}
