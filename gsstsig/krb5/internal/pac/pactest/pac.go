// Package pactest makes PACs for tests (MS-PAC), good ones and bad ones.
package pactest

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// Group is a group of the client's domain, or of the resource domain.
type Group struct {
	RID        uint32
	Attributes uint32 // 7 in real life: mandatory, on by default, enabled
}

// ExtraSID is a further SID of the client.
type ExtraSID struct {
	SID        string
	Attributes uint32
}

// Logon is the logon information.
type Logon struct {
	Domain         string // SID of the client's domain; "" for none
	User, Primary  uint32
	Groups         []Group
	Flags          uint32 // 0x20: has extra SIDs, 0x200: has resource groups
	Extra          []ExtraSID
	ResourceDomain string
	Resources      []Group
	Name           string // the account's, which aligns what follows
}

// Buffer is one entry of a PAC.
type Buffer struct {
	Type uint32
	Data []byte
}

// Spec is a PAC to be made.
type Spec struct {
	Client   string
	AuthTime time.Time
	Logon    *Logon // nil: none, as in a MIT realm
	UPN      *UPN   // nil: none
	More     []Buffer
	// ChecksumType and Sign make the server signature, and the KDC's as well,
	// which the server does not verify.
	ChecksumType int32
	Sign         func(message []byte) []byte
}

// Encode makes the PAC and signs it.
func (s Spec) Encode() []byte {
	var list []Buffer
	if s.Logon != nil {
		list = append(list, Buffer{1, s.Logon.Encode()})
	}
	if s.UPN != nil {
		list = append(list, Buffer{12, s.UPN.Encode()})
	}
	list = append(list, Buffer{10, ClientInfo(s.Client, s.AuthTime)})
	list = append(list, s.More...)
	blank := binary.LittleEndian.AppendUint32(nil, uint32(s.ChecksumType))
	blank = append(blank, make([]byte, len(s.Sign(nil)))...)
	list = append(list, Buffer{6, blank}, Buffer{7, blank})
	b := Assemble(list)
	sum := s.Sign(b)
	list[len(list)-2].Data = append(blank[:4:4], sum...)
	list[len(list)-1].Data = append(blank[:4:4], s.Sign(sum)...)
	return Assemble(list)
}

// Assemble puts buffers into a PAC as they are.
func Assemble(list []Buffer) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(list)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	offset := 8 + 16*len(list)
	for _, e := range list {
		b = binary.LittleEndian.AppendUint32(b, e.Type)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(e.Data)))
		b = binary.LittleEndian.AppendUint64(b, uint64(offset))
		offset += (len(e.Data) + 7) / 8 * 8
	}
	for _, e := range list {
		b = append(b, e.Data...)
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
	}
	return b
}

// UPN is a UPN_DNS_INFO.
type UPN struct {
	Name, Domain string // the user principal name, and the domain's name
	// Account and SID are those of the account; the form is the basic one if
	// both are empty.
	Account, SID string
}

// Encode makes the UPN_DNS_INFO.
func (u *UPN) Encode() []byte {
	fields := [][]byte{units(u.Name), units(u.Domain)}
	flags, header := uint32(0), 12
	if u.Account != "" || u.SID != "" {
		fields = append(fields, units(u.Account), SID(u.SID)[4:])
		flags, header = 2, 20
	}
	b := make([]byte, 0, 64)
	offset := (header + 7) / 8 * 8
	place := func(f []byte) {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(f)))
		b = binary.LittleEndian.AppendUint16(b, uint16(offset))
		offset += (len(f) + 7) / 8 * 8
	}
	place(fields[0])
	place(fields[1])
	b = binary.LittleEndian.AppendUint32(b, flags)
	for _, f := range fields[2:] {
		place(f)
	}
	for _, f := range fields {
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
		b = append(b, f...)
	}
	return b
}

// units are the octets of a text in UTF-16.
func units(text string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// ClientInfo is a PAC_CLIENT_INFO.
func ClientInfo(name string, at time.Time) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(at.Unix()+11_644_473_600)*10_000_000)
	octets := units(name)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(octets)))
	return append(b, octets...)
}

// Encode makes the logon information: KERB_VALIDATION_INFO in NDR.
func (l *Logon) Encode() []byte {
	var b []byte
	u16 := func(v uint16) { b = binary.LittleEndian.AppendUint16(b, v) }
	u32 := func(v uint32) { b = binary.LittleEndian.AppendUint32(b, v) }
	referent := uint32(0x20000)
	pointer := func(present bool) {
		if !present {
			u32(0)
			return
		}
		referent += 4
		u32(referent)
	}
	name := utf16.Encode([]rune(l.Name))
	str := func(present bool) {
		n := uint16(0)
		if present {
			n = uint16(2 * len(name))
		}
		u16(n)
		u16(n)
		pointer(present)
	}
	strData := func(present bool) {
		if !present {
			return
		}
		u32(uint32(len(name)))
		u32(0)
		u32(uint32(len(name)))
		for _, u := range name {
			u16(u)
		}
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	groups := func(list []Group) {
		if len(list) == 0 {
			return
		}
		u32(uint32(len(list)))
		for _, g := range list {
			u32(g.RID)
			u32(g.Attributes)
		}
	}
	sid := func(s string) {
		if s != "" {
			b = append(b, SID(s)...)
		}
	}

	pointer(true)
	b = append(b, make([]byte, 48)...)
	for i := range 6 {
		str(i < 2 && l.Name != "")
	}
	u32(0)
	u32(l.User)
	u32(l.Primary)
	u32(uint32(len(l.Groups)))
	pointer(len(l.Groups) > 0)
	u32(l.Flags)
	b = append(b, make([]byte, 16)...)
	str(l.Name != "")
	str(false)
	pointer(l.Domain != "")
	b = append(b, make([]byte, 40)...)
	u32(uint32(len(l.Extra)))
	pointer(len(l.Extra) > 0)
	pointer(l.ResourceDomain != "")
	u32(uint32(len(l.Resources)))
	pointer(len(l.Resources) > 0)

	strData(l.Name != "")
	strData(l.Name != "")
	groups(l.Groups)
	strData(l.Name != "")
	sid(l.Domain)
	if len(l.Extra) > 0 {
		u32(uint32(len(l.Extra)))
		for _, e := range l.Extra {
			pointer(true)
			u32(e.Attributes)
		}
		for _, e := range l.Extra {
			sid(e.SID)
		}
	}
	sid(l.ResourceDomain)
	groups(l.Resources)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	header := []byte{1, 0x10, 8, 0, 0xCC, 0xCC, 0xCC, 0xCC}
	header = binary.LittleEndian.AppendUint32(header, uint32(len(b)))
	header = binary.LittleEndian.AppendUint32(header, 0)
	return append(header, b...)
}

// SID is an RPC_SID in NDR, made from "S-1-AUTHORITY-...".
func SID(s string) []byte {
	parts := strings.Split(s, "-")[2:]
	subs := parts[1:]
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(subs)))
	b = append(b, 1, byte(len(subs)))
	authority, err := strconv.ParseUint(parts[0], 0, 48)
	if err != nil {
		panic("pactest: " + err.Error())
	}
	var wide [8]byte
	binary.BigEndian.PutUint64(wide[:], authority)
	b = append(b, wide[2:]...)
	for _, p := range subs {
		v, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			panic("pactest: " + err.Error())
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return b
}
