package dnswire

// A typeInfo is what is known about a type.
type typeInfo struct {
	name string
	// fields are its rdata in order. A type without fields is opaque.
	fields []field
	// hasNames and hasFolded tell that there is a field that may hold a name, and
	// one whose names are folded. They are worked out from the fields.
	hasNames, hasFolded bool
}

// Field types without parameters of their own.
var (
	uint8Field  = number{octets: 1}
	uint16Field = number{octets: 2}
	uint32Field = number{octets: 4}
	algorithm   = number{octets: 1, words: algorithmWords}
	digestType  = number{octets: 1, words: digestWords}
	anyFlags    = keyFlags{number: uint16Field}
	seconds     = duration{uint32Field}
	charString  = characterString{}
	plainName   = domainName{}
	foldedName  = domainName{folded}
	hostName    = domainName{folded | additional}
)

func oneName(name string, kind fieldType) []field {
	return []field{{name: name, fieldType: kind}}
}

func preferenceAndName(preference, name string, kind fieldType) []field {
	return []field{{name: preference, fieldType: uint16Field}, {name: name, fieldType: kind}}
}

func twoNames(first, second string) []field {
	return []field{{name: first, fieldType: foldedName}, {name: second, fieldType: foldedName}}
}

var texts = []field{{name: "text", fieldType: charString, repeat: oneOrMore}}

// delegationDigest are the fields of DS (RFC 4034 section 5.1), CDS, DLV and
// TA. The sizes are those of RFC 4034, RFC 4509 and RFC 6605; BIND checks no
// other.
var delegationDigest = []field{
	{name: "key tag", fieldType: uint16Field},
	{name: "algorithm", fieldType: algorithm},
	{name: "digest type", fieldType: digestType},
	{name: "digest", fieldType: digest{hexData{least: 1, upper: true}, map[byte]int{1: 20, 2: 32, 4: 48}}},
}

// keyFields are the fields of KEY (RFC 2535 section 3.1), which may have no key,
// and of DNSKEY (RFC 4034 section 2.1), CDNSKEY and RKEY, which may not.
func keyFields(flags keyFlags, mayBeMissing bool) []field {
	return []field{
		{name: "flags", fieldType: flags},
		{name: "protocol", fieldType: number{octets: 1, words: protocolWords}},
		{name: "algorithm", fieldType: algorithm},
		{name: "private algorithm", fieldType: privateAlgorithm{mayBeMissing: mayBeMissing}},
		{name: "public key", fieldType: publicKey{mayBeMissing: mayBeMissing}},
	}
}

// signatureFields are the fields of SIG (RFC 2535 section 4.1) and RRSIG (RFC
// 4034 section 3.1). The type 0 is that of SIG(0) (RFC 2931), which signs
// messages and is in no zone.
var signatureFields = []field{
	{name: "type covered", fieldType: typeCode{}},
	{name: "algorithm", fieldType: algorithm},
	{name: "labels", fieldType: uint8Field},
	{name: "original TTL", fieldType: seconds},
	{name: "signature expiration", fieldType: timestamp{uint32Field}},
	{name: "signature inception", fieldType: timestamp{uint32Field}},
	{name: "key tag", fieldType: uint16Field},
	{name: "signer's name", fieldType: foldedName},
	{name: "signature", fieldType: base64Data{least: 1}},
}

var (
	tlsaFields = []field{
		{name: "certificate usage", fieldType: uint8Field},
		{name: "selector", fieldType: uint8Field},
		{name: "matching type", fieldType: uint8Field},
		{name: "certificate association data", fieldType: hexData{least: 1}},
	}
	svcbFields = []field{
		{name: "SvcPriority", fieldType: uint16Field},
		{name: "TargetName", fieldType: domainName{additional}},
		{name: "SvcParams", fieldType: serviceParameters{}},
	}
)

// types is the table of all types whose mnemonic is printed: those that BIND
// 9.18 reads.
var types = map[uint16]*typeInfo{
	TypeA:     {name: "A", fields: []field{{name: "address", fieldType: ipv4{}}}},
	TypeNS:    {name: "NS", fields: oneName("nsdname", hostName)},
	TypeMD:    {name: "MD", fields: oneName("madname", hostName)},
	TypeMF:    {name: "MF", fields: oneName("madname", hostName)},
	TypeCNAME: {name: "CNAME", fields: oneName("cname", foldedName)},
	TypeSOA: {name: "SOA", fields: []field{ // RFC 1035 section 3.3.13
		{name: "mname", fieldType: foldedName},
		{name: "rname", fieldType: foldedName},
		{name: "serial", fieldType: uint32Field},
		{name: "refresh", fieldType: seconds},
		{name: "retry", fieldType: seconds},
		{name: "expire", fieldType: seconds},
		{name: "minimum", fieldType: seconds},
	}},
	TypeMB:   {name: "MB", fields: oneName("madname", hostName)},
	TypeMG:   {name: "MG", fields: oneName("mgmname", foldedName)},
	TypeMR:   {name: "MR", fields: oneName("newname", foldedName)},
	TypeNULL: {name: "NULL"},
	TypeWKS: {name: "WKS", fields: []field{ // RFC 1035 section 3.4.2
		{name: "address", fieldType: ipv4{}},
		{name: "protocol", fieldType: number{octets: 1, words: wksProtocols}},
		{name: "bit map", fieldType: portBitmap{}},
	}},
	TypePTR: {name: "PTR", fields: oneName("ptrdname", foldedName)},
	TypeHINFO: {name: "HINFO", fields: []field{ // RFC 1035 section 3.3.2
		{name: "cpu", fieldType: charString},
		{name: "os", fieldType: charString},
	}},
	TypeMINFO: {name: "MINFO", fields: twoNames("rmailbx", "emailbx")},
	TypeMX:    {name: "MX", fields: preferenceAndName("preference", "exchange", hostName)},
	TypeTXT:   {name: "TXT", fields: texts},
	TypeRP:    {name: "RP", fields: twoNames("mbox-dname", "txt-dname")},                        // RFC 1183 section 2.2
	TypeAFSDB: {name: "AFSDB", fields: preferenceAndName("subtype", "hostname", hostName)},      // RFC 1183 section 1
	TypeX25:   {name: "X25", fields: []field{{name: "PSDN-address", fieldType: digitString{}}}}, // RFC 1183 section 3.1
	TypeISDN: {name: "ISDN", fields: []field{ // RFC 1183 section 3.2
		{name: "ISDN-address", fieldType: charString},
		{name: "sa", fieldType: charString, repeat: optional},
	}},
	TypeRT:      {name: "RT", fields: preferenceAndName("preference", "intermediate-host", hostName)},       // RFC 1183 section 3.3
	TypeNSAP:    {name: "NSAP", fields: []field{{name: "NSAP", fieldType: nsapAddress{hexData{least: 1}}}}}, // RFC 1706 section 5
	TypeNSAPPTR: {name: "NSAP-PTR", fields: oneName("owner", foldedName)},                                   // RFC 1348
	TypeSIG:     {name: "SIG", fields: signatureFields},
	TypeKEY:     {name: "KEY", fields: keyFields(anyFlags, true)},
	TypePX: {name: "PX", fields: []field{ // RFC 2163 section 4
		{name: "preference", fieldType: uint16Field},
		{name: "map822", fieldType: foldedName},
		{name: "mapx400", fieldType: foldedName},
	}},
	TypeGPOS: {name: "GPOS", fields: []field{ // RFC 1712 section 3
		{name: "longitude", fieldType: charString},
		{name: "latitude", fieldType: charString},
		{name: "altitude", fieldType: charString},
	}},
	TypeAAAA: {name: "AAAA", fields: []field{{name: "address", fieldType: ipv6{}}}},
	TypeLOC:  {name: "LOC", fields: []field{{name: "location", fieldType: location{}}}},
	TypeNXT: {name: "NXT", fields: []field{ // RFC 2535 section 5.2
		{name: "next domain name", fieldType: foldedName},
		{name: "type bit map", fieldType: nxtBitmap{}},
	}},
	TypeEID:    {name: "EID", fields: []field{{name: "endpoint", fieldType: hexData{least: 1, upper: true}}}},
	TypeNIMLOC: {name: "NIMLOC", fields: []field{{name: "locator", fieldType: hexData{least: 1, upper: true}}}},
	TypeSRV: {name: "SRV", fields: []field{ // RFC 2782
		{name: "priority", fieldType: uint16Field},
		{name: "weight", fieldType: uint16Field},
		{name: "port", fieldType: uint16Field},
		{name: "target", fieldType: hostName},
	}},
	TypeATMA: {name: "ATMA", fields: []field{{name: "address", fieldType: atmAddress{}}}},
	TypeNAPTR: {name: "NAPTR", fields: []field{ // RFC 3403 section 4.1
		{name: "order", fieldType: uint16Field},
		{name: "preference", fieldType: uint16Field},
		{name: "flags", fieldType: charString},
		{name: "services", fieldType: charString},
		{name: "regexp", fieldType: substitution{}},
		{name: "replacement", fieldType: hostName},
	}},
	TypeKX: {name: "KX", fields: preferenceAndName("preference", "exchanger", hostName)}, // RFC 2230 section 3.1
	TypeCERT: {name: "CERT", fields: []field{ // RFC 4398 section 2
		{name: "type", fieldType: number{octets: 2, words: certificateWords}},
		{name: "key tag", fieldType: uint16Field},
		{name: "algorithm", fieldType: algorithm},
		{name: "certificate", fieldType: base64Data{least: 1}},
	}},
	TypeA6: {name: "A6", fields: []field{ // RFC 2874 section 3.1
		{name: "prefix length", fieldType: prefixLength{uint8Field}},
		{name: "address suffix", fieldType: addressSuffix{}},
		{name: "prefix name", fieldType: prefixName{foldedName}},
	}},
	TypeDNAME: {name: "DNAME", fields: oneName("target", foldedName)},
	TypeSINK: {name: "SINK", fields: []field{ // draft-eastlake-kitchen-sink-02
		{name: "meaning", fieldType: uint8Field},
		{name: "coding", fieldType: uint8Field},
		{name: "subcoding", fieldType: uint8Field},
		{name: "data", fieldType: base64Data{}},
	}},
	TypeOPT: {name: "OPT", fields: []field{{name: "option", fieldType: ednsOption{}, repeat: anyNumber}}},
	TypeAPL: {name: "APL", fields: []field{{name: "prefix", fieldType: addressPrefix{}, repeat: anyNumber}}},
	TypeDS:  {name: "DS", fields: delegationDigest},
	TypeSSHFP: {name: "SSHFP", fields: []field{ // RFC 4255 section 3.1, RFC 6594
		{name: "algorithm", fieldType: uint8Field},
		{name: "fingerprint type", fieldType: uint8Field},
		{name: "fingerprint", fieldType: digest{hexData{upper: true}, map[byte]int{1: 20, 2: 32}}},
	}},
	TypeIPSECKEY: {name: "IPSECKEY", fields: []field{ // RFC 4025 section 2
		{name: "precedence", fieldType: uint8Field},
		{name: "gateway type", fieldType: uint8Field},
		{name: "algorithm", fieldType: uint8Field},
		{name: "gateway", fieldType: gateway{typeAt: 1}},
		{name: "public key", fieldType: base64Data{least: 1}},
	}},
	TypeRRSIG: {name: "RRSIG", fields: signatureFields},
	TypeNSEC: {name: "NSEC", fields: []field{ // RFC 4034 section 4.1
		{name: "next domain name", fieldType: plainName},
		{name: "type bit maps", fieldType: typeBitmap{}},
	}},
	TypeDNSKEY: {name: "DNSKEY", fields: keyFields(anyFlags, false)},
	TypeDHCID:  {name: "DHCID", fields: []field{{name: "digest", fieldType: base64Data{least: 1}}}}, // RFC 4701 section 3.1
	TypeNSEC3: {name: "NSEC3", fields: []field{ // RFC 5155 section 3.2
		{name: "hash algorithm", fieldType: uint8Field},
		{name: "flags", fieldType: uint8Field},
		{name: "iterations", fieldType: uint16Field},
		{name: "salt", fieldType: salt{}},
		{name: "next hashed owner name", fieldType: hashedOwner{}},
		{name: "type bit maps", fieldType: typeBitmap{emptyAllowed: true}},
	}},
	TypeNSEC3PARAM: {name: "NSEC3PARAM", fields: []field{ // RFC 5155 section 4.2
		{name: "hash algorithm", fieldType: uint8Field},
		{name: "flags", fieldType: uint8Field},
		{name: "iterations", fieldType: uint16Field},
		{name: "salt", fieldType: salt{}},
	}},
	TypeTLSA:   {name: "TLSA", fields: tlsaFields},   // RFC 6698 section 2.1
	TypeSMIMEA: {name: "SMIMEA", fields: tlsaFields}, // RFC 8162 section 2
	TypeHIP: {name: "HIP", fields: []field{
		{name: "host identity", fieldType: hostIdentity{}},
		{name: "rendezvous server", fieldType: plainName, repeat: anyNumber},
	}},
	TypeNINFO:      {name: "NINFO", fields: texts},
	TypeRKEY:       {name: "RKEY", fields: keyFields(keyFlags{uint16Field, true}, false)},
	TypeTALINK:     {name: "TALINK", fields: twoNames("previous", "next")},
	TypeCDS:        {name: "CDS", fields: delegationDigest},               // RFC 7344 section 3.1
	TypeCDNSKEY:    {name: "CDNSKEY", fields: keyFields(anyFlags, false)}, // RFC 7344 section 3.2
	TypeOPENPGPKEY: {name: "OPENPGPKEY", fields: []field{{name: "public key", fieldType: base64Data{least: 1}}}},
	TypeCSYNC: {name: "CSYNC", fields: []field{ // RFC 7477 section 2.1
		{name: "SOA serial", fieldType: uint32Field},
		{name: "flags", fieldType: uint16Field},
		{name: "type bit map", fieldType: typeBitmap{emptyAllowed: true}},
	}},
	TypeZONEMD: {name: "ZONEMD", fields: []field{ // RFC 8976 section 2.2
		{name: "serial", fieldType: uint32Field},
		{name: "scheme", fieldType: uint8Field},
		{name: "hash algorithm", fieldType: uint8Field},
		{name: "digest", fieldType: digest{hexData{least: 12}, map[byte]int{1: 48, 2: 64}}},
	}},
	TypeSVCB:  {name: "SVCB", fields: svcbFields},
	TypeHTTPS: {name: "HTTPS", fields: svcbFields},
	TypeDSYNC: {name: "DSYNC", fields: []field{ // RFC 9859 section 2.1
		{name: "RRtype", fieldType: typeCode{zero: true}},
		{name: "scheme", fieldType: number{octets: 1, words: schemeWords}},
		{name: "port", fieldType: uint16Field},
		{name: "target", fieldType: plainName},
	}},
	TypeHHIT:   {name: "HHIT", fields: []field{{name: "HHIT", fieldType: base64Data{least: 1}}}}, // RFC 9886 section 5.1
	TypeBRID:   {name: "BRID", fields: []field{{name: "BRID", fieldType: base64Data{least: 1}}}}, // RFC 9886 section 5.2
	TypeSPF:    {name: "SPF", fields: texts},
	TypeUINFO:  {name: "UINFO"},
	TypeUID:    {name: "UID"},
	TypeGID:    {name: "GID"},
	TypeUNSPEC: {name: "UNSPEC"},
	TypeNID:    {name: "NID", fields: preferenceAndName("preference", "NodeID", locator64{})}, // RFC 6742 section 2.1
	TypeL32:    {name: "L32", fields: preferenceAndName("preference", "Locator32", ipv4{})},   // RFC 6742 section 2.2
	TypeL64:    {name: "L64", fields: preferenceAndName("preference", "Locator64", locator64{})},
	TypeLP:     {name: "LP", fields: preferenceAndName("preference", "FQDN", domainName{additional})}, // RFC 6742 section 2.4
	TypeEUI48:  {name: "EUI48", fields: []field{{name: "address", fieldType: linkAddress{octets: 6}}}},
	TypeEUI64:  {name: "EUI64", fields: []field{{name: "address", fieldType: linkAddress{octets: 8}}}},
	TypeTKEY: {name: "TKEY", fields: []field{ // RFC 2930 section 2
		{name: "algorithm", fieldType: plainName},
		{name: "inception", fieldType: uint32Field},
		{name: "expiration", fieldType: uint32Field},
		{name: "mode", fieldType: uint16Field},
		{name: "error", fieldType: uint16Field},
		{name: "key data", fieldType: sizedData{}},
		{name: "other data", fieldType: sizedData{}},
	}},
	TypeTSIG: {name: "TSIG", fields: []field{ // RFC 8945 section 4.2
		{name: "algorithm name", fieldType: plainName},
		{name: "time signed", fieldType: octets{size: 6}},
		{name: "fudge", fieldType: uint16Field},
		{name: "MAC", fieldType: sizedData{}},
		{name: "original ID", fieldType: uint16Field},
		{name: "error", fieldType: uint16Field},
		{name: "other data", fieldType: sizedData{}},
	}},
	TypeIXFR:  {name: "IXFR"},
	TypeAXFR:  {name: "AXFR"},
	TypeMAILB: {name: "MAILB"},
	TypeMAILA: {name: "MAILA"},
	TypeANY:   {name: "ANY"},
	TypeURI: {name: "URI", fields: []field{ // RFC 7553 section 4
		{name: "priority", fieldType: uint16Field},
		{name: "weight", fieldType: uint16Field},
		{name: "target", fieldType: text{}},
	}},
	TypeCAA: {name: "CAA", fields: []field{ // RFC 8659 section 4.1
		{name: "flags", fieldType: uint8Field},
		{name: "tag", fieldType: propertyTag{}},
		{name: "value", fieldType: text{}},
	}},
	TypeAVC: {name: "AVC", fields: texts},
	TypeDOA: {name: "DOA", fields: []field{ // draft-durand-doa-over-dns-02
		{name: "enterprise", fieldType: uint32Field},
		{name: "type", fieldType: uint32Field},
		{name: "location", fieldType: uint8Field},
		{name: "media type", fieldType: charString},
		{name: "data", fieldType: noneOrBase64{}},
	}},
	TypeAMTRELAY: {name: "AMTRELAY", fields: []field{ // RFC 8777 section 4.2
		{name: "precedence", fieldType: uint8Field},
		{name: "type", fieldType: relayType{}},
		{name: "relay", fieldType: gateway{typeAt: 1, opaque: true}},
	}},
	TypeRESINFO: {name: "RESINFO", fields: texts}, // RFC 9606 section 4
	TypeWALLET:  {name: "WALLET", fields: texts},
	TypeTA:      {name: "TA", fields: delegationDigest},
	TypeDLV:     {name: "DLV", fields: delegationDigest}, // RFC 4431
}

// typeNumbers and byNumber find entries of the table, by their names and by
// their numbers.
var (
	typeNumbers = indexNames()
	byNumber    = indexNumbers()
)

func indexNames() map[string]uint16 {
	// Newer types, whose mnemonics are read, but printed as TYPEn.
	numbers := map[string]uint16{"NXNAME": TypeNXNAME, "CLA": TypeCLA, "IPN": TypeIPN}
	for rrtype, t := range types {
		numbers[t.name] = rrtype
	}
	return numbers
}

// denseTypes is above all types but TA and DLV.
const denseTypes = 263

func indexNumbers() (dense [denseTypes]*typeInfo) {
	for rrtype, t := range types {
		for i := range t.fields {
			if f, ok := t.fields[i].fieldType.(nameField); ok {
				t.hasNames = true
				t.hasFolded = t.hasFolded || f.use()&folded != 0
			}
		}
		if rrtype < denseTypes {
			dense[rrtype] = t
		}
	}
	return dense
}

// lookup returns what is known about a type, or nil.
func lookup(rrtype uint16) *typeInfo {
	if rrtype < denseTypes {
		return byNumber[rrtype]
	}
	return types[rrtype]
}
