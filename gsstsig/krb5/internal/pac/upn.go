package pac

import (
	"encoding/binary"
	"strings"
)

// hasAccount is the bit of UPN_DNS_INFO's flags that announces the account's
// name and SID (MS-PAC, section 2.10).
const hasAccount = 0x2

// Octets of UPN_DNS_INFO before the strings: a length and an offset for each of
// the user principal name and the domain's name, and the flags; in the extended
// form also a length and an offset for each of the account's name and its SID.
const (
	upnHeader         = 12
	upnExtendedHeader = 20
)

// readUPN reads UPN_DNS_INFO (MS-PAC, section 2.10). Of the basic form it takes
// nothing: the user principal name is an attribute of the account, to which others
// than the administrator can be allowed to write any name.
func (p *PAC) readUPN(b []byte) error {
	if len(b) < upnHeader {
		return malformed("the user principal name is cut off")
	}
	if _, ok := field(b, 0); !ok {
		return malformed("the user principal name is cut off")
	}
	if _, ok := field(b, 4); !ok {
		return malformed("the domain's name is cut off")
	}
	if binary.LittleEndian.Uint32(b[8:])&hasAccount == 0 {
		return nil
	}
	if len(b) < upnExtendedHeader {
		return malformed("the account's name is cut off")
	}
	name, ok := field(b, upnHeader)
	if !ok || len(name)%2 != 0 || len(name) == 0 || len(name) > maxName {
		return malformed("the account's name is cut off or too long")
	}
	octets, ok := field(b, upnHeader+4)
	r := ndr{b: octets}
	id := r.packedSID()
	if !ok || !r.ok() || r.at != len(octets) {
		return malformed("the account's SID is cut off or contradicts itself")
	}
	account := utf16Text(name)
	// Both come from one account, so a difference means that something is wrong
	// with the KDC, and that the ticket's client is unknown.
	if p.Account != "" && !strings.EqualFold(account, p.Account) || p.User != "" && string(id) != p.User {
		return malformed("it names two accounts")
	}
	rid := binary.LittleEndian.Uint32(octets[len(octets)-4:])
	if rid >= firstOwnRID || rid == administratorRID {
		p.Account, p.SID = account, string(id)
	}
	return nil
}

// field returns the octets that the length and the offset at the given place
// announce.
func field(b []byte, at int) ([]byte, bool) {
	size, offset := int(binary.LittleEndian.Uint16(b[at:])), int(binary.LittleEndian.Uint16(b[at+2:]))
	if offset > len(b) || size > len(b)-offset {
		return nil, false
	}
	return b[offset : offset+size], true
}
