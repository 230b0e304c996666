package dnswire

import (
	"strconv"
	"strings"
)

// Types of records and questions (IANA registry of RFC 6895 section 3.1).
const (
	TypeA          uint16 = 1
	TypeNS         uint16 = 2
	TypeMD         uint16 = 3
	TypeMF         uint16 = 4
	TypeCNAME      uint16 = 5
	TypeSOA        uint16 = 6
	TypeMB         uint16 = 7
	TypeMG         uint16 = 8
	TypeMR         uint16 = 9
	TypeNULL       uint16 = 10
	TypeWKS        uint16 = 11
	TypePTR        uint16 = 12
	TypeHINFO      uint16 = 13
	TypeMINFO      uint16 = 14
	TypeMX         uint16 = 15
	TypeTXT        uint16 = 16
	TypeRP         uint16 = 17
	TypeAFSDB      uint16 = 18
	TypeX25        uint16 = 19
	TypeISDN       uint16 = 20
	TypeRT         uint16 = 21
	TypeNSAP       uint16 = 22
	TypeNSAPPTR    uint16 = 23
	TypeSIG        uint16 = 24
	TypeKEY        uint16 = 25
	TypePX         uint16 = 26
	TypeGPOS       uint16 = 27
	TypeAAAA       uint16 = 28
	TypeLOC        uint16 = 29
	TypeNXT        uint16 = 30
	TypeEID        uint16 = 31
	TypeNIMLOC     uint16 = 32
	TypeSRV        uint16 = 33
	TypeATMA       uint16 = 34
	TypeNAPTR      uint16 = 35
	TypeKX         uint16 = 36
	TypeCERT       uint16 = 37
	TypeA6         uint16 = 38
	TypeDNAME      uint16 = 39
	TypeSINK       uint16 = 40
	TypeOPT        uint16 = 41
	TypeAPL        uint16 = 42
	TypeDS         uint16 = 43
	TypeSSHFP      uint16 = 44
	TypeIPSECKEY   uint16 = 45
	TypeRRSIG      uint16 = 46
	TypeNSEC       uint16 = 47
	TypeDNSKEY     uint16 = 48
	TypeDHCID      uint16 = 49
	TypeNSEC3      uint16 = 50
	TypeNSEC3PARAM uint16 = 51
	TypeTLSA       uint16 = 52
	TypeSMIMEA     uint16 = 53
	TypeHIP        uint16 = 55
	TypeNINFO      uint16 = 56
	TypeRKEY       uint16 = 57
	TypeTALINK     uint16 = 58
	TypeCDS        uint16 = 59
	TypeCDNSKEY    uint16 = 60
	TypeOPENPGPKEY uint16 = 61
	TypeCSYNC      uint16 = 62
	TypeZONEMD     uint16 = 63
	TypeSVCB       uint16 = 64
	TypeHTTPS      uint16 = 65
	TypeDSYNC      uint16 = 66
	TypeHHIT       uint16 = 67
	TypeBRID       uint16 = 68
	TypeSPF        uint16 = 99
	TypeUINFO      uint16 = 100
	TypeUID        uint16 = 101
	TypeGID        uint16 = 102
	TypeUNSPEC     uint16 = 103
	TypeNID        uint16 = 104
	TypeL32        uint16 = 105
	TypeL64        uint16 = 106
	TypeLP         uint16 = 107
	TypeEUI48      uint16 = 108
	TypeEUI64      uint16 = 109
	TypeNXNAME     uint16 = 128
	TypeTKEY       uint16 = 249
	TypeTSIG       uint16 = 250
	TypeIXFR       uint16 = 251
	TypeAXFR       uint16 = 252
	TypeMAILB      uint16 = 253
	TypeMAILA      uint16 = 254
	TypeANY        uint16 = 255
	TypeURI        uint16 = 256
	TypeCAA        uint16 = 257
	TypeAVC        uint16 = 258
	TypeDOA        uint16 = 259
	TypeAMTRELAY   uint16 = 260
	TypeRESINFO    uint16 = 261
	TypeWALLET     uint16 = 262
	TypeCLA        uint16 = 263
	TypeIPN        uint16 = 264
	TypeTA         uint16 = 32768
	TypeDLV        uint16 = 32769
)

// Classes of records and questions (RFC 6895 section 3.2).
const (
	ClassIN   uint16 = 1
	ClassCH   uint16 = 3
	ClassHS   uint16 = 4
	ClassNONE uint16 = 254
	ClassANY  uint16 = 255
)

// TypeText returns the mnemonic of a type, or TYPEn for one that has none, or
// one that BIND 9.18 does not read (RFC 3597 section 5).
func TypeText(rrtype uint16) string {
	if rrtype == TypeNXNAME {
		// It is in no zone whose text BIND could have to read.
		return "NXNAME"
	}
	if t := lookup(rrtype); t != nil {
		return t.name
	}
	return "TYPE" + strconv.Itoa(int(rrtype))
}

// appendType appends the type's text in rdata to dst. In a list of types, BIND
// 9.18 does not read NXNAME.
func appendType(dst []byte, rrtype uint16) []byte {
	if t := lookup(rrtype); t != nil {
		return append(dst, t.name...)
	}
	return strconv.AppendUint(append(dst, "TYPE"...), uint64(rrtype), 10)
}

// ParseType reads a type's mnemonic, in any case, or TYPEn (RFC 3597 section
// 5). It reports false for what is neither.
func ParseType(text string) (uint16, bool) {
	upper := strings.ToUpper(text)
	if rrtype, ok := typeNumbers[upper]; ok {
		return rrtype, true
	}
	if digits, ok := strings.CutPrefix(upper, "TYPE"); ok {
		n, err := parseUint(digits, 0xFFFF)
		return uint16(n), err == nil
	}
	return 0, false
}

// IsMeta reports whether no record of the type can be in a zone: the reserved
// type 0, OPT (RFC 6891 section 6.1.1), and the range of questions and
// meta-types, 128 to 255 (RFC 6895 section 3.1), among them NXNAME, TKEY, TSIG,
// IXFR, AXFR, MAILB, MAILA and ANY.
func IsMeta(rrtype uint16) bool {
	return rrtype == 0 || rrtype == TypeOPT || rrtype >= 128 && rrtype <= 255
}
