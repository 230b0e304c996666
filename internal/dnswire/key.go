package dnswire

import (
	"encoding/binary"
	"strings"
	"time"
)

// Words that are read for numbers in the records of DNSSEC, as BIND has them.
var (
	algorithmWords = map[string]uint32{ // RFC 8624, RFC 4034 appendix A.1
		"RSAMD5": 1, "DH": 2, "DSA": 3, "ECC": 4, "RSASHA1": 5, "NSEC3DSA": 6, "DSA-NSEC3-SHA1": 6, "NSEC3RSASHA1": 7,
		"RSASHA1-NSEC3-SHA1": 7, "RSASHA256": 8, "RSASHA512": 10, "ECC-GOST": 12, "ECCGOST": 12, "ECDSAP256SHA256": 13,
		"ECDSA256": 13, "ECDSAP384SHA384": 14, "ECDSA384": 14, "ED25519": 15, "ED448": 16, "INDIRECT": 252,
		"PRIVATEDNS": 253, "PRIVATEOID": 254,
	}
	digestWords = map[string]uint32{ // RFC 4034 section 5.1.3, RFC 4509, RFC 6605
		"SHA1": 1, "SHA-1": 1, "SHA256": 2, "SHA-256": 2, "GOST": 3, "SHA384": 4, "SHA-384": 4,
	}
	certificateWords = map[string]uint32{ // RFC 4398 section 2.1
		"PKIX": 1, "SPKI": 2, "PGP": 3, "IPKIX": 4, "ISPKI": 5, "IPGP": 6, "ACPKIX": 7, "IACPKIX": 8, "URI": 253, "OID": 254,
	}
	protocolWords = map[string]uint32{ // RFC 2535 section 3.1.3
		"NONE": 0, "TLS": 1, "EMAIL": 2, "DNSSEC": 3, "IPSEC": 4, "ALL": 255,
	}
	flagWords = map[string]uint32{ // RFC 2535 section 3.1.2, RFC 4034 section 2.1.1, RFC 5011 section 3
		"NOCONF": 0x4000, "NOAUTH": 0x8000, "NOKEY": 0xC000, "FLAG2": 0x2000, "EXTEND": 0x1000, "FLAG4": 0x0800,
		"FLAG5": 0x0400, "USER": 0x0000, "ZONE": 0x0100, "HOST": 0x0200, "NTYP3": 0x0300, "FLAG8": 0x0080,
		"FLAG9": 0x0040, "FLAG10": 0x0020, "FLAG11": 0x0010, "SIG0": 0, "SIG1": 1, "SIG2": 2, "SIG3": 3, "SIG4": 4,
		"SIG5": 5, "SIG6": 6, "SIG7": 7, "SIG8": 8, "SIG9": 9, "SIG10": 10, "SIG11": 11, "SIG12": 12, "SIG13": 13,
		"SIG14": 14, "SIG15": 15, "KSK": 0x0001, "REVOKE": 0x0080,
	}
	schemeWords = map[string]uint32{"NOTIFY": 1} // RFC 9859 section 2.1
)

// keyFlags are the flags of a key: a number, or words with "|" between them.
type keyFlags struct {
	number
	reserved bool // they must be zero
}

func (f keyFlags) check(rdata []byte, at int) (int, error) {
	end, err := f.number.check(rdata, at)
	if err == nil && f.reserved && beUint(rdata[at:end]) != 0 {
		return 0, reason("not zero")
	}
	return end, err
}

func (f keyFlags) read(r *reader, rdata []byte) ([]byte, error) {
	text, err := r.word()
	if err != nil {
		return rdata, err
	}
	if isDigit(text[0]) {
		return appendNumber(rdata, text, 2)
	}
	var flags uint32
	for word := range strings.SplitSeq(text, "|") {
		bits, ok := flagWords[strings.ToUpper(word)]
		if !ok {
			return rdata, reason("not a number and not flags of a key")
		}
		flags |= bits
	}
	return binary.BigEndian.AppendUint16(rdata, uint16(flags)), nil
}

// Where flags and algorithm of a key are in its rdata.
const (
	keyAlgorithm = 3
	keyPublicKey = 4
)

const algorithmPrivateDNS = 253 // RFC 4034 appendix A.1.1

// noKey reports whether the flags of a KEY say that it has no key (RFC 2535
// section 3.1.2).
func noKey(rdata []byte) bool { return rdata[0]&0xC0 == 0xC0 }

// privateAlgorithm is the name that a key of algorithm 253 begins with (RFC 4034
// appendix A.1.1). It is printed as part of the key.
type privateAlgorithm struct {
	domainName
	mayBeMissing bool // as noKey says
}

func (f privateAlgorithm) check(rdata []byte, at int) (int, error) {
	if !f.present(rdata, at) {
		return at, nil
	}
	return f.domainName.check(rdata, at)
}

func (privateAlgorithm) print(dst, _ []byte, _, _ int) ([]byte, bool) { return dst, true }

func (privateAlgorithm) read(_ *reader, rdata []byte) ([]byte, error) { return rdata, nil }

func (f privateAlgorithm) present(rdata []byte, _ int) bool {
	return rdata[keyAlgorithm] == algorithmPrivateDNS && !(f.mayBeMissing && noKey(rdata))
}

// publicKey is a key to the end of the rdata.
type publicKey struct {
	base64Data
	mayBeMissing bool // as noKey says
}

func (f publicKey) check(rdata []byte, at int) (int, error) {
	if f.mayBeMissing && noKey(rdata) {
		return at, nil
	}
	if len(rdata) == keyPublicKey {
		return 0, errEndsEarly
	}
	return len(rdata), nil
}

func (f publicKey) print(dst, rdata []byte, _, end int) ([]byte, bool) {
	return f.base64Data.print(dst, rdata, keyPublicKey, end)
}

func (f publicKey) read(r *reader, rdata []byte) ([]byte, error) {
	if f.mayBeMissing && noKey(rdata) {
		return rdata, nil
	}
	return f.base64Data.read(r, rdata)
}

// timestamp is a time in seconds since 1970 (RFC 4034 section 3.2). It is
// printed as YYYYMMDDHHMMSS, in the 136 years from 1970 on.
type timestamp struct{ number }

const timestampForm = "20060102150405"

func (timestamp) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return time.Unix(int64(beUint(rdata[at:end])), 0).UTC().AppendFormat(dst, timestampForm), true
}

func (f timestamp) read(r *reader, rdata []byte) ([]byte, error) {
	text, err := r.word()
	if err != nil {
		return rdata, err
	}
	if len(text) != len(timestampForm) {
		return appendNumber(rdata, text, 4)
	}
	t, err := time.Parse(timestampForm, text)
	if err != nil {
		return rdata, reason("not a time of the form YYYYMMDDHHMMSS")
	}
	// Times are meant modulo 2^32 (RFC 4034 section 3.1.5): BIND prints those
	// after 2038 as if they were before 1970, while that is nearer.
	return binary.BigEndian.AppendUint32(rdata, uint32(t.Unix())), nil
}
