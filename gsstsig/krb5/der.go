package krb5

import (
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Readers and writers for the ASN.1 types that Kerberos messages are made of
// (RFC 4120, section 5.2). Readers check every length, keep nothing of what
// they do not need, and report false instead of guessing.

const generalString = asn1.Tag(27)

// application and field are the tags of a message and of a field in a
// SEQUENCE; all of them are explicit.
func application(n uint8) asn1.Tag { return asn1.Tag(n) | 0x60 }
func field(n uint8) asn1.Tag       { return asn1.Tag(n).ContextSpecific().Constructed() }

// readMessage reads an application-tagged SEQUENCE that fills s to its end.
func readMessage(s cryptobyte.String, n uint8) (fields cryptobyte.String, ok bool) {
	var outer cryptobyte.String
	ok = s.ReadASN1(&outer, application(n)) && s.Empty() &&
		outer.ReadASN1(&fields, asn1.SEQUENCE) && outer.Empty()
	return fields, ok
}

// readInteger reads the field [n] INTEGER of s.
func readInteger(s *cryptobyte.String, n uint8, out *int64) bool {
	var f cryptobyte.String
	return s.ReadASN1(&f, field(n)) && f.ReadASN1Integer(out) && f.Empty()
}

// readInt32 is readInteger for the type Int32.
func readInt32[T ~int32](s *cryptobyte.String, n uint8, out *T) bool {
	var v int64
	if !readInteger(s, n, &v) || int64(int32(v)) != v {
		return false
	}
	*out = T(v)
	return true
}

// readUint32 is readInteger for the type UInt32. Old implementations encode
// the upper half as negative numbers; those mean the same 32 bits.
func readUint32(s *cryptobyte.String, n uint8, out *uint32) bool {
	var v int64
	if !readInteger(s, n, &v) || v < -1<<31 || v > 1<<32-1 {
		return false
	}
	*out = uint32(v)
	return true
}

// readVersion reads the field [n] INTEGER and compares it.
func readVersion(s *cryptobyte.String, n uint8, want int64) bool {
	var v int64
	return readInteger(s, n, &v) && v == want
}

// readOctets reads the field [n] OCTET STRING. The octets are those of s.
func readOctets(s *cryptobyte.String, n uint8, out *[]byte) bool {
	var f, o cryptobyte.String
	if !s.ReadASN1(&f, field(n)) || !f.ReadASN1(&o, asn1.OCTET_STRING) || !f.Empty() {
		return false
	}
	*out = o
	return true
}

// readName reads the field [n] KerberosString, bounded.
func readName(s *cryptobyte.String, n uint8, out *string) bool {
	var f, o cryptobyte.String
	if !s.ReadASN1(&f, field(n)) || !f.ReadASN1(&o, generalString) || !f.Empty() || len(o) > maxNameOctets {
		return false
	}
	*out = string(o)
	return true
}

// readPrincipalName reads the field [n] PrincipalName: at least one component
// with at least one octet, and no more than the bounds.
func readPrincipalName(s *cryptobyte.String, n uint8, out *[]string) bool {
	var f, name, list, strings cryptobyte.String
	var nameType int32
	if !s.ReadASN1(&f, field(n)) || !f.ReadASN1(&name, asn1.SEQUENCE) || !f.Empty() ||
		!readInt32(&name, 0, &nameType) ||
		!name.ReadASN1(&list, field(1)) || !name.Empty() ||
		!list.ReadASN1(&strings, asn1.SEQUENCE) || !list.Empty() {
		return false
	}
	components := make([]string, 0, 2)
	for !strings.Empty() {
		var c cryptobyte.String
		if len(components) == maxComponents || !strings.ReadASN1(&c, generalString) {
			return false
		}
		components = append(components, string(c))
	}
	if !(Principal{Components: components}).bounded() {
		return false
	}
	*out = components
	return true
}

// readTime reads the field [n] KerberosTime.
func readTime(s *cryptobyte.String, n uint8, out *time.Time) bool {
	var f cryptobyte.String
	return s.ReadASN1(&f, field(n)) && f.ReadASN1GeneralizedTime(out) && f.Empty()
}

// readMicroseconds reads the field [n] Microseconds.
func readMicroseconds(s *cryptobyte.String, n uint8, out *int) bool {
	var v int64
	if !readInteger(s, n, &v) || v < 0 || v > 999_999 {
		return false
	}
	*out = int(v)
	return true
}

// bitFlags are KerberosFlags: bit 0 is the highest of the first octet. Bits
// that were not sent are zero.
type bitFlags uint32

func (f bitFlags) has(bit uint) bool { return f&(1<<(31-bit)) != 0 }

// readFlags reads the field [n] KerberosFlags, of which all defined bits are
// among the first 32.
func readFlags(s *cryptobyte.String, n uint8, out *bitFlags) bool {
	var f, b cryptobyte.String
	if !s.ReadASN1(&f, field(n)) || !f.ReadASN1(&b, asn1.BIT_STRING) || !f.Empty() {
		return false
	}
	if len(b) == 0 || b[0] > 7 || (len(b) == 1 && b[0] != 0) {
		return false
	}
	unused := b[0]
	b = b[1:]
	var v bitFlags
	for i := 0; i < 4 && i < len(b); i++ {
		octet := b[i]
		if i == len(b)-1 {
			octet &= 0xFF << unused
		}
		v |= bitFlags(octet) << (24 - 8*i)
	}
	*out = v
	return true
}

// encryptedData is the type EncryptedData (RFC 4120, section 5.2.9).
type encryptedData struct {
	enctype Enctype
	version uint32 // kvno; 0 when absent
	cipher  []byte
}

func readEncryptedData(s *cryptobyte.String, n uint8, out *encryptedData) bool {
	var f, seq cryptobyte.String
	if !s.ReadASN1(&f, field(n)) || !f.ReadASN1(&seq, asn1.SEQUENCE) || !f.Empty() ||
		!readInt32(&seq, 0, &out.enctype) {
		return false
	}
	if seq.PeekASN1Tag(field(1)) && !readUint32(&seq, 1, &out.version) {
		return false
	}
	return readOctets(&seq, 2, &out.cipher) && seq.Empty()
}

// typedOctets is the shape of EncryptionKey, Checksum and the like: a number
// and octets. The octets are those of s.
func readTypedOctets[T ~int32](s *cryptobyte.String, n uint8, number *T, octets *[]byte) bool {
	var f, seq cryptobyte.String
	return s.ReadASN1(&f, field(n)) && f.ReadASN1(&seq, asn1.SEQUENCE) && f.Empty() &&
		readInt32(&seq, 0, number) && readOctets(&seq, 1, octets) && seq.Empty()
}

func addMessage(b *cryptobyte.Builder, n uint8, fields func(*cryptobyte.Builder)) {
	b.AddASN1(application(n), func(b *cryptobyte.Builder) { b.AddASN1(asn1.SEQUENCE, fields) })
}

func addInteger(b *cryptobyte.Builder, n uint8, v int64) {
	b.AddASN1(field(n), func(b *cryptobyte.Builder) { b.AddASN1Int64(v) })
}

func addOctets(b *cryptobyte.Builder, n uint8, octets []byte) {
	b.AddASN1(field(n), func(b *cryptobyte.Builder) { b.AddASN1OctetString(octets) })
}

func addName(b *cryptobyte.Builder, n uint8, name string) {
	b.AddASN1(field(n), func(b *cryptobyte.Builder) { addGeneralString(b, name) })
}

func addGeneralString(b *cryptobyte.Builder, s string) {
	b.AddASN1(generalString, func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
}

func addPrincipalName(b *cryptobyte.Builder, n uint8, nameType int64, components []string) {
	b.AddASN1(field(n), func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addInteger(b, 0, nameType)
			b.AddASN1(field(1), func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					for _, c := range components {
						addGeneralString(b, c)
					}
				})
			})
		})
	})
}

func addTime(b *cryptobyte.Builder, n uint8, t time.Time) {
	b.AddASN1(field(n), func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(t.UTC()) })
}

// addFlags writes 32 bits; DER would allow fewer, but KerberosFlags have at
// least 32 (RFC 4120, section 5.2.8).
func addFlags(b *cryptobyte.Builder, n uint8, f bitFlags) {
	b.AddASN1(field(n), func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.BIT_STRING, func(b *cryptobyte.Builder) {
			b.AddUint8(0)
			b.AddUint32(uint32(f))
		})
	})
}

func addEncryptedData(b *cryptobyte.Builder, n uint8, d encryptedData) {
	b.AddASN1(field(n), func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addInteger(b, 0, int64(d.enctype))
			if d.version != 0 {
				addInteger(b, 1, int64(d.version))
			}
			addOctets(b, 2, d.cipher)
		})
	})
}

func addTypedOctets[T ~int32](b *cryptobyte.Builder, n uint8, number T, octets []byte) {
	b.AddASN1(field(n), func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addInteger(b, 0, int64(number))
			addOctets(b, 1, octets)
		})
	})
}
