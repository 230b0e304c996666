package dnswire

import "strconv"

// gateway is the gateway of IPSECKEY (RFC 4025 section 2.5) or the relay of
// AMTRELAY (RFC 8777 section 4.2.3): nothing, an address or a name, as the
// octet at typeAt says.
type gateway struct {
	typeAt int
	// opaque tells that what a type means that is not known goes on to the end
	// of the rdata. Otherwise there is no such type.
	opaque bool
}

// Types of gateways (RFC 4025 section 2.3).
const (
	gatewayNone = 0
	gatewayIPv4 = 1
	gatewayIPv6 = 2
	gatewayName = 3
)

// amtDiscovery is the D bit, which is beside the type of a relay (RFC 8777
// section 4.2.2).
const amtDiscovery = 0x80

// kind returns the fieldType that the type of gateway has, or nil.
func (f gateway) kind(rdata []byte) fieldType {
	kind := rdata[f.typeAt]
	if f.opaque {
		kind &^= amtDiscovery
	}
	switch kind {
	case gatewayNone:
		return noGateway{}
	case gatewayIPv4:
		return ipv4{}
	case gatewayIPv6:
		return ipv6{}
	case gatewayName:
		return domainName{}
	}
	if f.opaque {
		return opaque{}
	}
	return nil
}

var errGatewayType error = reason("type that is not assigned")

func (f gateway) check(rdata []byte, at int) (int, error) {
	if kind := f.kind(rdata); kind != nil {
		return kind.check(rdata, at)
	}
	return 0, errGatewayType
}

func (f gateway) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return f.kind(rdata).print(dst, rdata, at, end)
}

func (f gateway) read(r *reader, rdata []byte) ([]byte, error) {
	if kind := f.kind(rdata); kind != nil {
		return kind.read(r, rdata)
	}
	return rdata, errGatewayType
}

func (f gateway) present(rdata []byte, _ int) bool {
	_, ok := f.kind(rdata).(domainName)
	return ok
}

func (gateway) use() nameUse { return 0 }

// noGateway takes no octets and is printed as a dot.
type noGateway struct{}

func (noGateway) check(_ []byte, at int) (int, error) { return at, nil }

func (noGateway) print(dst, _ []byte, _, _ int) ([]byte, bool) { return append(dst, '.'), true }

func (noGateway) read(r *reader, rdata []byte) ([]byte, error) {
	text, err := r.word()
	if err == nil && text != "." {
		err = reason(`not "." where there is none`)
	}
	return rdata, err
}

// relayType is the D bit and the type of an AMTRELAY's relay in one octet, which
// are two numbers in text.
type relayType struct{}

func (relayType) check(rdata []byte, at int) (int, error) { return fixed(rdata, at, 1) }

func (relayType) print(dst, rdata []byte, at, _ int) ([]byte, bool) {
	dst = append(dst, '0'+rdata[at]>>7, ' ')
	return strconv.AppendUint(dst, uint64(rdata[at]&^amtDiscovery), 10), true
}

func (relayType) read(r *reader, rdata []byte) ([]byte, error) {
	var values [2]uint64
	for i, most := range [2]uint64{1, amtDiscovery - 1} {
		text, err := r.word()
		if err != nil {
			return rdata, err
		}
		if values[i], err = parseUint(text, most); err != nil {
			return rdata, err
		}
	}
	return append(rdata, byte(values[0]<<7|values[1])), nil
}
