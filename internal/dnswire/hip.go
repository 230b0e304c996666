package dnswire

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// hostIdentity is what HIP has before its rendezvous servers (RFC 8005 section
// 5): the lengths of the tag and of the key with the algorithm between them,
// the tag, and the key.
type hostIdentity struct{}

const hipHeader = 4

func (hostIdentity) check(rdata []byte, at int) (int, error) {
	if at+hipHeader > len(rdata) {
		return 0, errEndsEarly
	}
	tag, key := int(rdata[at]), int(binary.BigEndian.Uint16(rdata[at+2:]))
	switch {
	case tag == 0:
		return 0, reason("no host identity tag")
	case key == 0:
		return 0, reason("no public key")
	}
	return fixed(rdata, at, hipHeader+tag+key)
}

func (hostIdentity) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	key := at + hipHeader + int(rdata[at])
	dst = strconv.AppendUint(dst, uint64(rdata[at+1]), 10)
	dst = appendHex(append(dst, ' '), rdata[at+hipHeader:key], true)
	return base64.StdEncoding.AppendEncode(append(dst, ' '), rdata[key:end]), true
}

func (hostIdentity) read(r *reader, rdata []byte) ([]byte, error) {
	var words [3]string
	for i := range words {
		var err error
		if words[i], err = r.word(); err != nil {
			return rdata, err
		}
	}
	algorithm, err := parseUint(words[0], 255)
	if err != nil {
		return rdata, err
	}
	tag, err := hex.DecodeString(words[1])
	if err != nil || len(tag) > 255 {
		return rdata, reason("tag that is not hexadecimal of up to 255 octets")
	}
	key, err := appendBase64(nil, words[2])
	if err != nil || len(key) > maxRdata {
		return rdata, reason("key that is not base64")
	}
	rdata = append(rdata, byte(len(tag)), byte(algorithm))
	rdata = binary.BigEndian.AppendUint16(rdata, uint16(len(key)))
	return append(append(rdata, tag...), key...), nil
}
