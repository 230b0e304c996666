package krb5

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// A record is an exported context:
//
//	version     1 octet
//	service     principal: realm, number of components, components
//	KVNO        4 octets, of the service's key that decrypted the ticket
//	enctype     4 octets, of that key
//	nonce       32 octets, random
//	ciphertext  AES-256-GCM of the context's state and the caller's data
//
// The key of the cipher is HKDF-SHA256 (RFC 5869) of the service's key, with
// the nonce as info: every record has a key of its own, so that the nonce of
// GCM can be zero. What precedes the ciphertext, and the caller's place, are
// authenticated with it.
const (
	recordVersion   = 1
	recordNonceSize = 32
	// maxRecord bounds a record: a ticket with the most groups that fit into a
	// token is far below it.
	maxRecord = 1 << 20
)

// recordSalt tells these keys from others that may be derived from a service's
// key one day.
const recordSalt = "gsstsig context record 1"

// recordSecret is what the keys of records are expanded from. It is nil for a
// key that protects none: RC4 has no strength to rely on.
func (k key) recordSecret() []byte {
	if k.encryption.rc4 {
		return nil
	}
	secret, err := hkdf.Extract(sha256.New, k.value, []byte(recordSalt))
	if err != nil {
		return nil // nothing is exported, then
	}
	return secret
}

// recordCipher returns the cipher of one record.
func recordCipher(secret, nonce []byte) (cipher.AEAD, error) {
	value, err := hkdf.Expand(sha256.New, secret, string(nonce), 32)
	if err != nil {
		return nil, err
	}
	defer clear(value)
	block, err := aes.NewCipher(value)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Export moves the context into a record, from which [Acceptor.Import] makes it
// again: after a restart of the server, or where else there is the service's
// key. It is GSS_Export_sec_context (RFC 2743, section 2.2.8): the context is
// wiped, so that no MIC is made or accepted by both. The numbers of the MICs that
// came are part of the record: what was accepted before is a replay after.
//
// The record is sealed with the service's key that decrypted the ticket: who has
// that key can read it, and could have read the handshake. It is good for this
// place only, which the caller names. data is the caller's own; it is sealed with
// the context. A record has no key of the keytab in it, and of the context the
// keys of its MICs only.
//
// Contexts of RC4, and of tickets in RC4, are not exported: that is ErrEnctype.
// With an error the context is wiped too.
func (c *AcceptorContext) Export(place string, data []byte) ([]byte, error) {
	if c.session == nil {
		return nil, ErrNotEstablished
	}
	state, ok := c.session.take()
	if !ok {
		return nil, ErrNotEstablished
	}
	defer state.wipe()
	return c.seal(state, place, data)
}

// Share returns a record like that of Export, and the context goes on: servers
// with the same key make a context of their own from it by [Acceptor.Import], each
// once. All of them can verify what the client signs, each message once. That no
// other server has accepted a message is for the caller to find out, by the number
// that [AcceptorContext.VerifyRequest] returns. Answers are to be signed by
// [AcceptorContext.AnswerMIC], here too, so that no two have one sequence number.
//
// It is for a context of which no message was verified yet.
func (c *AcceptorContext) Share(place string, data []byte) ([]byte, error) {
	if c.session == nil {
		return nil, ErrNotEstablished
	}
	state, ok := c.session.copy()
	if !ok {
		return nil, ErrNotEstablished
	}
	defer state.wipe()
	return c.seal(state, place, data)
}

// seal makes the record of a state.
func (c *AcceptorContext) seal(session sessionState, place string, data []byte) ([]byte, error) {
	if c.session.encryption.rc4 || c.key.record == nil {
		return nil, fmt.Errorf("a context of RC4 cannot be exported: %w", ErrEnctype)
	}
	plain, err := c.state(session, data).marshal()
	if err != nil {
		return nil, err
	}
	defer clear(plain)

	header := appendPrincipal([]byte{recordVersion}, c.service)
	header = binary.BigEndian.AppendUint32(header, c.key.version)
	header = binary.BigEndian.AppendUint32(header, uint32(c.key.ticket.encryption.id))
	var nonce [recordNonceSize]byte
	rand.Read(nonce[:]) // never fails, as its documentation promises
	header = append(header, nonce[:]...)
	aead, err := recordCipher(c.key.record, nonce[:])
	if err != nil {
		return nil, err
	}
	record := aead.Seal(header, make([]byte, aead.NonceSize()), plain, recordAssociated(place, header))
	if len(record) > maxRecord {
		return nil, fmt.Errorf("the context takes %d octets, %d are allowed", len(record), maxRecord)
	}
	return record, nil
}

// recordAssociated is the associated data of a record.
func recordAssociated(place string, header []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(place)))
	b = append(b, place...)
	return append(b, header...)
}

// Import makes the context of a record again, and returns the data that the
// caller of [AcceptorContext.Export] or [AcceptorContext.Share] gave with it. place
// must be the same. The caller makes sure that a record of Export is imported once:
// contexts made from two copies would each accept the same message. One of Share is
// imported once by each server.
//
// The acceptor decides on the client as in a handshake: the service, its realm, the
// way from there and the encryption types. Errors wrap ErrNoKey if no key of the
// keytab opens the record, ErrIntegrity if it was changed or is of another place,
// ErrMalformed, ErrExpired, and ErrNotAccepted. The authenticator that the context
// was made with counts as seen.
func (a *Acceptor) Import(place string, record []byte) (c *AcceptorContext, data []byte, err error) {
	s := cryptobyte.String(record)
	var (
		version       uint8
		service       Principal
		kvno, enctype uint32
		nonce         []byte
	)
	if len(record) > maxRecord || !s.ReadUint8(&version) || version != recordVersion || !readPrincipal(&s, &service) ||
		!s.ReadUint32(&kvno) || !s.ReadUint32(&enctype) || !s.ReadBytes(&nonce, recordNonceSize) {
		return nil, nil, fmt.Errorf("context record: %w", ErrMalformed)
	}
	header := record[:len(record)-len(s)]
	plain, k, err := a.openRecord(service, kvno, Enctype(enctype), nonce, s, recordAssociated(place, header))
	if err != nil {
		return nil, nil, err
	}
	defer clear(plain)
	var state contextState
	if !state.unmarshal(plain) {
		return nil, nil, fmt.Errorf("context record: its contents: %w", ErrMalformed)
	}
	c = state.context(a, k)
	now := a.now()
	switch {
	case !a.accepts(c):
		err = ErrNotAccepted
	case now.Sub(c.expires) > a.skew:
		err = ErrExpired
	default:
		if now.Sub(c.authenticator.at) <= a.skew {
			// It may be there already, or the cache may be full: the context is as good.
			_ = a.replays.add(c.authenticator.replayKey(c.peer), c.authenticator.at, now)
		}
		return c, state.data, nil
	}
	c.Wipe()
	return nil, nil, fmt.Errorf("context of %s: %w", c.peer.shown(), err)
}

// openRecord decrypts a record by the service's key that has the version and
// the type. Several can: the files of a keytab may differ. If none does, it reads
// the files again, as a handshake does.
func (a *Acceptor) openRecord(service Principal, kvno uint32, enctype Enctype, nonce, sealed, associated []byte) ([]byte, *serviceKey, error) {
	set := a.keytabs.set.Load()
	plain, k, err := a.openRecordBy(set, service, kvno, enctype, nonce, sealed, associated)
	if err != nil && a.keytabs.refresh(set) {
		plain, k, err = a.openRecordBy(a.keytabs.set.Load(), service, kvno, enctype, nonce, sealed, associated)
	}
	return plain, k, err
}

// openRecordBy is openRecord with the keys of the set.
func (a *Acceptor) openRecordBy(set *keySet, service Principal, kvno uint32, enctype Enctype, nonce, sealed, associated []byte) ([]byte, *serviceKey, error) {
	failure := fmt.Errorf("context record: %s, key version %d (%s): %w", service.shown(), kvno, enctype, ErrNoKey)
	tries := 0
	for _, k := range set.services[service.folded()] {
		if k.version != kvno || k.ticket.encryption.id != enctype || k.record == nil || !k.usable(a.now()) {
			continue
		}
		if tries++; tries > maxTries {
			break
		}
		aead, err := recordCipher(k.record, nonce)
		if err != nil {
			return nil, nil, err
		}
		plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), sealed, associated)
		if err == nil {
			return plain, k, nil
		}
		failure = fmt.Errorf("context record: %w", ErrIntegrity)
	}
	return nil, nil, failure
}
