package krb5

import (
	"crypto/hmac"
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// Layout and flags of a MIC token (RFC 4121, sections 4.2.2 and 4.2.6.1).
const (
	tokenMIC           = 0x0404
	micHeaderSize      = 16
	micByAcceptor      = 0x01
	micSealed          = 0x02
	micAcceptorSubkey  = 0x04
	micFillerHigh      = 0xFF
	micFillerLow       = 0xFFFFFFFF
	micDirectionOrKeys = micByAcceptor | micSealed | micAcceptorSubkey
)

// session makes and verifies MICs once a context is established. It is safe
// for concurrent use.
type session struct {
	encryption *encryption
	flags      byte          // of the MICs made here
	peerFlags  byte          // of the MICs verified here
	own        uint64        // the first number of this side
	sequence   atomic.Uint64 // the next one
	window     window

	mu     sync.RWMutex // guards the keys against wipe
	sign   []byte       // Kc of our usage; nil once wiped
	verify []byte       // Kc of the peer's usage
	wrap   *wrapKeys    // of an initiator only; nil once wiped
	rc4    *rc4Keys     // instead of both, of a key of that type

	mechanism  []byte // named by RC4's tokens: that of the handshake
	remembered rc4Memory

	answers  sync.Mutex // guards what follows, and the choice of an answer's number
	counting bool       // answers are numbered by sequence, not by their requests
	answered uint64     // one above the highest number that followed from a request
}

// newSession derives the keys from the context's key. own and peer are the
// first sequence numbers of each side.
func newSession(k key, acceptor, acceptorSubkey bool, own, peer uint32) *session {
	s := &session{encryption: k.encryption, mechanism: mechanismKRB5, own: uint64(own)}
	signUsage, verifyUsage := uint32(usageInitiatorSign), uint32(usageAcceptorSign)
	if acceptor {
		signUsage, verifyUsage = verifyUsage, signUsage
		s.flags = micByAcceptor
	} else {
		s.peerFlags = micByAcceptor
	}
	if acceptorSubkey {
		s.flags |= micAcceptorSubkey
		s.peerFlags |= micAcceptorSubkey
	}
	s.sequence.Store(uint64(own))
	s.window.first = uint64(peer)
	if k.encryption.rc4 {
		keys := newRC4Keys(k)
		s.rc4, s.window.short = &keys, true
		return s
	}
	s.sign = k.encryption.derive(k.value, signUsage, forChecksum)
	s.verify = k.encryption.derive(k.value, verifyUsage, forChecksum)
	if !acceptor {
		s.wrap = newWrapKeys(k)
	}
	return s
}

// getMIC makes the token for message and takes a sequence number.
func (s *session) getMIC(message []byte) ([]byte, error) {
	return s.makeMIC(message, s.sequence.Add(1)-1)
}

// answerMIC makes the token for the first message of the answer to a request with
// that number. The number of the token follows from that of the request, so that
// every server that has the context gives it the same one, and no two answers have
// one number. It is one more than the request's, counted from the first numbers of
// both sides, because the first number of this side went to the TKEY answer. Where
// SPNEGO took one for its MIC, it took one of the client's too.
func (s *session) answerMIC(message []byte, request uint64) ([]byte, error) {
	return s.makeMIC(message, s.answerNumber(request))
}

func (s *session) answerNumber(request uint64) uint64 {
	s.answers.Lock()
	defer s.answers.Unlock()
	if s.counting || s.rc4 != nil {
		return s.sequence.Add(1) - 1
	}
	number := s.own + 1 + (request - s.window.first)
	s.answered = max(s.answered, number+1)
	return number
}

// count has all further answers numbered one after the other.
func (s *session) count() {
	s.answers.Lock()
	defer s.answers.Unlock()
	if !s.counting {
		s.counting = true
		s.sequence.Store(max(s.sequence.Load(), s.answered))
	}
}

// makeMIC makes the token for message with that number.
func (s *session) makeMIC(message []byte, number uint64) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.rc4 != nil {
		return s.rc4.token(s.mechanism, message, uint32(number), s.flags&micByAcceptor != 0), nil
	}
	if s.sign == nil {
		return nil, ErrNotEstablished
	}
	token := make([]byte, micHeaderSize, micHeaderSize+64) // 64: the largest untruncated hash
	binary.BigEndian.PutUint16(token, tokenMIC)
	token[2] = s.flags
	token[3] = micFillerHigh
	binary.BigEndian.PutUint32(token[4:], micFillerLow)
	binary.BigEndian.PutUint64(token[8:], number)
	mac := hmac.New(s.encryption.hash, s.sign)
	mac.Write(message)
	mac.Write(token)
	return mac.Sum(token)[:micHeaderSize+s.encryption.macSize], nil
}

// verifyMIC checks a token of the peer.
func (s *session) verifyMIC(message, token []byte) error {
	_, err := s.verifyNumbered(message, token)
	return err
}

// verifyNumbered checks a token of the peer. Its sequence number counts only once
// its checksum is right. It returns a number that no other message of the peer
// has: the sequence number or, with RC4, which does not protect that, the
// checksum.
func (s *session) verifyNumbered(message, token []byte) (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.rc4 != nil {
		number, sum, err := s.rc4.verify(message, token, s.peerFlags&micByAcceptor != 0)
		if err != nil {
			return 0, err
		}
		if !s.remembered.add(sum) || !s.window.add(uint64(number)) {
			return 0, ErrReplay
		}
		return binary.BigEndian.Uint64(sum[:]), nil
	}
	if s.verify == nil {
		return 0, ErrNotEstablished
	}
	// Flags that are not defined are ignored, as RFC 4121, section 4.2.2 says;
	// the checksum covers them.
	if len(token) != micHeaderSize+s.encryption.macSize ||
		binary.BigEndian.Uint16(token) != tokenMIC ||
		token[3] != micFillerHigh || binary.BigEndian.Uint32(token[4:]) != micFillerLow {
		return 0, ErrMalformed
	}
	if token[2]&micDirectionOrKeys != s.peerFlags {
		return 0, ErrIntegrity
	}
	var sum [64]byte
	mac := hmac.New(s.encryption.hash, s.verify)
	mac.Write(message)
	mac.Write(token[:micHeaderSize])
	if !hmac.Equal(mac.Sum(sum[:0])[:s.encryption.macSize], token[micHeaderSize:]) {
		return 0, ErrIntegrity
	}
	request := binary.BigEndian.Uint64(token[8:])
	if !s.window.add(request) {
		return 0, ErrReplay
	}
	return request, nil
}

// wipe overwrites the keys; later calls fail with ErrNotEstablished.
func (s *session) wipe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sign)
	clear(s.verify)
	if s.wrap != nil {
		s.wrap.wipe()
	}
	if s.rc4 != nil {
		s.rc4.wipe()
	}
	s.sign, s.verify, s.wrap, s.rc4 = nil, nil, nil, nil
}

func (s *session) alive() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sign != nil || s.rc4 != nil
}
