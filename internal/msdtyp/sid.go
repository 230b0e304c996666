package msdtyp

import (
	"encoding/binary"
	"errors"
	"strconv"
)

// Errors of what is read.
var (
	// ErrSID means that octets are no SID.
	ErrSID = errors.New("malformed security identifier")
	// ErrDescriptor means that octets are no self-relative security descriptor.
	ErrDescriptor = errors.New("malformed security descriptor")
)

const (
	sidHead         = 8  // revision, count, authority
	maxAuthorities  = 15 // [MS-DTYP] 2.4.2.2
	descriptorHead  = 20 // [MS-DTYP] 2.4.6
	selfRelative    = 0x8000
	ownerAt         = 4
	descriptorTypes = 2
)

// sidLen returns the length of the SID that b begins with, 0 if there is none.
func sidLen(b []byte) int {
	if len(b) < sidHead || b[0] != 1 || b[1] == 0 || b[1] > maxAuthorities {
		return 0
	}
	n := sidHead + 4*int(b[1])
	if len(b) < n {
		return 0
	}
	return n
}

// SID returns the text of a SID in its binary form ([MS-DTYP] 2.4.2.2), such as S-1-5-18. The error is ErrSID.
func SID(b []byte) (string, error) {
	if n := sidLen(b); n == 0 || n != len(b) {
		return "", ErrSID
	}
	var authority uint64
	for _, octet := range b[2:sidHead] {
		authority = authority<<8 | uint64(octet)
	}
	text := []byte("S-1-")
	if authority>>32 == 0 {
		text = strconv.AppendUint(text, authority, 10)
	} else {
		text = append(text, "0x"...)
		text = strconv.AppendUint(text, authority, 16)
	}
	for b = b[sidHead:]; len(b) > 0; b = b[4:] {
		text = append(text, '-')
		text = strconv.AppendUint(text, uint64(binary.LittleEndian.Uint32(b)), 10)
	}
	return string(text), nil
}

// Owner returns the SID, in binary form, of the owner of a self-relative security descriptor ([MS-DTYP] 2.4.6), nil if it has
// none. What is returned is a part of descriptor. The error is ErrDescriptor or ErrSID.
func Owner(descriptor []byte) ([]byte, error) {
	if len(descriptor) < descriptorHead || descriptor[0] != 1 || binary.LittleEndian.Uint16(descriptor[descriptorTypes:])&selfRelative == 0 {
		return nil, ErrDescriptor
	}
	at := binary.LittleEndian.Uint32(descriptor[ownerAt:])
	if at == 0 {
		return nil, nil
	}
	if uint64(at) > uint64(len(descriptor)) || at < descriptorHead {
		return nil, ErrDescriptor
	}
	n := sidLen(descriptor[at:])
	if n == 0 {
		return nil, ErrSID
	}
	return descriptor[at : int(at)+n], nil
}
