package gsstsig

import (
	"encoding/binary"
	"fmt"
)

// The client's half of TSIG, for package client: the octets only. Which
// signatures it believes is that package's matter.

// ReplySignature is the TSIG record of a message that a client received. Its
// slices share memory with the message.
type ReplySignature struct {
	KeyName    string // canonical
	Algorithm  string // canonical
	TimeSigned uint64 // seconds since 1970
	Fudge      uint16 // seconds
	MAC        []byte
	Error      uint16
	Other      []byte

	record tsigRecord
}

// FindSignature reads the TSIG record of a message, which may only be its last
// record (RFC 8945 section 5.1). It returns nil when there is none, and an error
// for a message that does not hold what its header says.
func FindSignature(message []byte) (*ReplySignature, error) {
	s := new(ReplySignature)
	found, err := s.record.findTSIG(message)
	if err != nil || !found {
		return nil, err
	}
	r := &s.record
	s.KeyName, s.Algorithm = r.name.text(), r.algorithm.text()
	s.TimeSigned, s.Fudge, s.MAC, s.Error, s.Other = r.timeSigned, r.fudge, r.mac, r.tsigError, r.other
	return s, nil
}

// AppendCovered appends what the MAC covers (RFC 8945 section 4.3): prior, the
// MAC of the request or of the message before, if there was one; between, the
// unsigned messages since then; and message, which the signature was found in.
// In the later messages of an answer only the timers of the record are covered
// (section 5.3.1).
func (s *ReplySignature) AppendCovered(b, prior, between, message []byte, later bool) []byte {
	if len(prior) > 0 {
		b = appendMAC(b, prior)
	}
	b = append(b, between...)
	if !later {
		return s.record.appendRequest(b, message)
	}
	return appendTimers(s.record.appendMessage(b, message), s.TimeSigned, s.Fudge)
}

// SignRequest adds a TSIG record to a packed message that has none. sign makes
// the MAC, which is returned too: replies cover it. timeSigned is in seconds
// since 1970, fudge in seconds.
func SignRequest(message []byte, keyName, algorithm string, timeSigned uint64, fudge uint16, sign func([]byte) ([]byte, error)) (wire, mac []byte, err error) {
	name, ok := nameFromText(keyName)
	if !ok {
		return nil, nil, fmt.Errorf("gsstsig: key name %q is no domain name", keyName)
	}
	algorithmName, ok := nameFromText(algorithm)
	if !ok {
		return nil, nil, fmt.Errorf("gsstsig: algorithm %q is no domain name", algorithm)
	}
	if len(message) < headerSize {
		return nil, nil, fmt.Errorf("gsstsig: %d octets are no message", len(message))
	}
	additional := binary.BigEndian.Uint16(message[10:])
	if additional == 0xFFFF {
		return nil, nil, fmt.Errorf("gsstsig: no room for a TSIG record in a message of %d records", additional)
	}

	covered := lend()
	defer giveBack(covered)
	*covered = append((*covered)[:0], message...)
	*covered = appendVariables(*covered, []byte(name), []byte(algorithmName), timeSigned, fudge, 0, nil)
	if mac, err = sign(*covered); err != nil {
		return nil, nil, fmt.Errorf("gsstsig: sign with key %s: %w", keyName, err)
	}
	wire = make([]byte, 0, len(message)+tsigSize(name, algorithmName, len(mac), 0))
	wire = append(wire, message...)
	binary.BigEndian.PutUint16(wire[10:], additional+1)
	wire = appendTSIG(wire, []byte(name), []byte(algorithmName), timeSigned, fudge, mac, binary.BigEndian.Uint16(message), 0, nil)
	return wire, mac, nil
}
