package pac

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf16"
)

// Bounds. Real PACs have some ten buffers; Windows refuses a log-on with more
// than 1,015 groups.
const (
	MaxSize    = 1 << 16 // octets of a PAC; a TKEY record holds no more
	MaxBuffers = 64
	MaxGroups  = 1500
)

// Errors of Open; test with errors.Is.
var (
	// ErrMalformed: the PAC is not built as MS-PAC says, or exceeds a bound.
	ErrMalformed = errors.New("malformed PAC")
	// ErrSignature: the server signature is not right.
	ErrSignature = errors.New("PAC with a wrong signature")
)

// Buffer types (MS-PAC, section 2.4).
const (
	typeLogonInfo       = 1
	typeServerSignature = 6
	typeKDCSignature    = 7
	typeClientInfo      = 10
	typeUPNInfo         = 12
)

const (
	listHeader  = 8  // count of buffers, version
	bufferEntry = 16 // type, size, offset
	maxName     = 2048
)

// PAC is what a verified PAC says.
type PAC struct {
	// Client is the client's name without its realm, as the KDC wrote it.
	Client string
	// AuthTime is when the client authenticated, to the second. It must be the
	// ticket's authtime.
	AuthTime time.Time
	// User is the SID of the client, Groups are those of its primary group, its
	// groups, and further SIDs that it has (of universal groups, from its
	// history, well-known ones), each once. Both are empty if the PAC has no
	// logon information.
	User   string
	Groups []string
	// Logon tells whether there is logon information.
	Logon bool
	// Account is the name of the client's account (sAMAccountName) and SID its
	// security identifier: what the KDC looked up, whatever name the client
	// asked for. They come from UPN_DNS_INFO in its extended form, and from the
	// logon information where that is missing. Both are empty if the PAC names
	// no account of a domain, as those of MIT realms and of FreeIPA's hosts.
	Account, SID string
}

// A Verifier reports whether checksum, of a Kerberos checksum type, is right
// for message with the service's key and key usage 17.
type Verifier func(checksumType int32, message, checksum []byte) bool

// Open verifies a PAC with the service's key and reads it. It does not keep or
// change b. Errors wrap ErrMalformed or ErrSignature. Whether Client and
// AuthTime are those of the ticket is for the caller to check.
func Open(b []byte, verify Verifier) (*PAC, error) {
	buffers, err := list(b)
	if err != nil {
		return nil, err
	}
	if err := verifyServer(b, buffers, verify); err != nil {
		return nil, err
	}
	info, ok := buffers[typeClientInfo]
	if !ok {
		return nil, malformed("it does not name the client")
	}
	p := new(PAC)
	if err := p.readClient(b[info.start:info.end]); err != nil {
		return nil, err
	}
	if logon, ok := buffers[typeLogonInfo]; ok {
		if err := p.readLogon(b[logon.start:logon.end]); err != nil {
			return nil, err
		}
	}
	if upn, ok := buffers[typeUPNInfo]; ok {
		if err := p.readUPN(b[upn.start:upn.end]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// span is where a buffer lies in the PAC.
type span struct{ start, end int }

// list reads the list of buffers (MS-PAC, section 2.3 and 2.4). None may come
// twice: readers that differ in which one they take could be played off
// against each other.
func list(b []byte) (map[uint32]span, error) {
	if len(b) > MaxSize {
		return nil, malformed("it is too large")
	}
	if len(b) < listHeader {
		return nil, malformed("it is cut off")
	}
	count := binary.LittleEndian.Uint32(b)
	if binary.LittleEndian.Uint32(b[4:]) != 0 {
		return nil, malformed("its version is unknown")
	}
	if count > MaxBuffers {
		return nil, malformed("it has too many buffers")
	}
	header := listHeader + int(count)*bufferEntry
	if len(b) < header {
		return nil, malformed("it is cut off")
	}
	buffers := make(map[uint32]span, count)
	for i := range int(count) {
		entry := b[listHeader+i*bufferEntry:]
		kind := binary.LittleEndian.Uint32(entry)
		size := uint64(binary.LittleEndian.Uint32(entry[4:]))
		offset := binary.LittleEndian.Uint64(entry[8:])
		if offset < uint64(header) || offset > uint64(len(b)) || size > uint64(len(b))-offset {
			return nil, malformed("a buffer lies outside it")
		}
		if _, ok := buffers[kind]; ok {
			return nil, malformed("a buffer comes twice")
		}
		buffers[kind] = span{int(offset), int(offset + size)}
	}
	return buffers, nil
}

// signatureSizes are the octets of the checksums that sign PACs: HMAC-MD5, and
// those of AES with SHA-1 and SHA-2.
var signatureSizes = map[int32]int{-138: 16, 15: 12, 16: 12, 19: 16, 20: 24}

// signature is the place of the signature itself in its buffer: behind the
// checksum type, and before the identifier that read-only KDCs add (MS-PAC,
// section 2.8).
func signature(b []byte, at span) (checksumType int32, sum span, err error) {
	if at.end-at.start < 4 {
		return 0, span{}, malformed("a signature is cut off")
	}
	checksumType = int32(binary.LittleEndian.Uint32(b[at.start:]))
	size, ok := signatureSizes[checksumType]
	if !ok {
		return 0, span{}, fmt.Errorf("%w: its checksum type %d is not known", ErrSignature, checksumType)
	}
	sum = span{at.start + 4, at.start + 4 + size}
	if sum.end > at.end {
		return 0, span{}, malformed("a signature is cut off")
	}
	return checksumType, sum, nil
}

// verifyServer checks the server signature, which covers the PAC with this
// and the KDC's signature set to zero (MS-PAC, section 2.8.1).
func verifyServer(b []byte, buffers map[uint32]span, verify Verifier) error {
	server, ok := buffers[typeServerSignature]
	if !ok {
		return fmt.Errorf("%w: there is none", ErrSignature)
	}
	kdc, ok := buffers[typeKDCSignature]
	if !ok {
		return fmt.Errorf("%w: there is none of the KDC", ErrSignature)
	}
	checksumType, sum, err := signature(b, server)
	if err != nil {
		return err
	}
	_, kdcSum, err := signature(b, kdc)
	if err != nil {
		return err
	}
	blanked := append([]byte(nil), b...)
	clear(blanked[sum.start:sum.end])
	clear(blanked[kdcSum.start:kdcSum.end])
	if !verify(checksumType, blanked, b[sum.start:sum.end]) {
		return ErrSignature
	}
	return nil
}

// readClient reads PAC_CLIENT_INFO: a time, and a name in UTF-16 with its
// length in octets.
func (p *PAC) readClient(b []byte) error {
	if len(b) < 10 {
		return malformed("the client's name is cut off")
	}
	size := int(binary.LittleEndian.Uint16(b[8:]))
	name := b[10:]
	if size > len(name) || size%2 != 0 || size > maxName {
		return malformed("the client's name is cut off or too long")
	}
	p.Client = utf16Text(name[:size])
	p.AuthTime = fileTime(binary.LittleEndian.Uint64(b))
	return nil
}

// utf16Text decodes UTF-16 in little endian.
func utf16Text(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// fileTime converts a FILETIME, which counts tenths of microseconds since
// 1601 (MS-DTYP, section 2.3.3).
func fileTime(t uint64) time.Time {
	const perSecond, to1970 = 10_000_000, 11_644_473_600
	return time.Unix(int64(t/perSecond)-to1970, 0).UTC()
}
