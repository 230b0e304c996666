package gsstsigtest

import "github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"

// A Signature is the TSIG record of a message, for tests that look at it or
// change it. MAC shares memory with the message.
type Signature struct {
	KeyName   string // canonical
	Algorithm string // canonical
	Error     uint16 // dns.RcodeBadSig and the like
	MAC       []byte

	message tsig.Message
	record  tsig.Record
}

// FindSignature reads the TSIG record of a message, which may only be its last
// record (RFC 8945 section 5.1). It returns nil if there is none, and an error
// for a message that does not hold what its header counts.
func FindSignature(message []byte) (*Signature, error) {
	s := new(Signature)
	var err error
	if s.message, err = tsig.Parse(message, &s.record); err != nil || !s.message.Signed() {
		return nil, err
	}
	s.KeyName, s.Algorithm, s.Error, s.MAC = s.record.Name.String(), s.record.Algorithm.String(), s.record.Error, s.record.MAC
	return s, nil
}

// Digest returns what the MAC covers if the message is a request, or the only
// or first answer to a request with that MAC (RFC 8945 section 4.3).
func (s *Signature) Digest(requestMAC []byte) []byte {
	var t tsig.ServerTransaction
	t.Begin(requestMAC)
	return s.message.AppendRequestDigest(t.AppendPrior(nil), &s.record)
}
