package dnswire

import (
	"strconv"
	"strings"
)

// Words of WKS (RFC 1035 section 3.4.2) that are read: the protocols and
// services of RFC 1010 that are still known.
var (
	wksProtocols = map[string]uint32{"ICMP": 1, "TCP": 6, "UDP": 17}
	wksServices  = map[string]uint64{
		"echo": 7, "discard": 9, "systat": 11, "daytime": 13, "netstat": 15, "qotd": 17, "chargen": 19, "ftp-data": 20,
		"ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "time": 37, "nameserver": 42, "whois": 43, "domain": 53,
		"bootps": 67, "bootpc": 68, "tftp": 69, "gopher": 70, "finger": 79, "http": 80, "kerberos": 88, "hostname": 101,
		"pop3": 110, "sunrpc": 111, "auth": 113, "nntp": 119, "ntp": 123, "imap": 143, "snmp": 161, "https": 443,
	}
)

// portBitmap is the set of ports of WKS, to the end of the rdata.
type portBitmap struct{}

const ports = 1 << 16

func (portBitmap) check(rdata []byte, at int) (int, error) {
	bitmap := rdata[at:]
	switch {
	case len(bitmap) > ports/8:
		return 0, reason("more than 8192 octets")
	case len(bitmap) > 0 && bitmap[len(bitmap)-1] == 0:
		return 0, reason("ends with a zero octet")
	}
	return len(rdata), nil
}

func (portBitmap) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	start := len(dst)
	for i, b := range rdata[at:end] {
		for bit := range 8 {
			if b&(0x80>>bit) == 0 {
				continue
			}
			if len(dst) != start {
				dst = append(dst, ' ')
			}
			dst = strconv.AppendUint(dst, uint64(8*i+bit), 10)
		}
	}
	return dst, true
}

func (portBitmap) read(r *reader, rdata []byte) ([]byte, error) {
	start := len(rdata)
	for r.left() {
		text, err := r.word()
		if err != nil {
			return rdata, err
		}
		port, ok := wksServices[strings.ToLower(text)]
		if !ok {
			if port, err = parseUint(text, ports-1); err != nil {
				return rdata, reason("word that is not a port or a known service")
			}
		}
		for len(rdata)-start <= int(port/8) {
			rdata = append(rdata, 0)
		}
		rdata[start+int(port/8)] |= 0x80 >> (port % 8)
	}
	return rdata, nil
}
