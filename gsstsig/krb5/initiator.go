package krb5

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/crypto/cryptobyte"
)

// InitiatorConfig is what a client has after talking to its KDC, and how it
// wants to use it.
type InitiatorConfig struct {
	Ticket     messages.Ticket     // for the service
	SessionKey types.EncryptionKey // that came with it
	Client     Principal           // as in the ticket, with realm
	Expires    time.Time           // end of the ticket; only reported
	Mutual     bool                // ask the acceptor to authenticate itself
	Subkey     bool                // bring a subkey
	AllowRC4   bool                // let a session key or acceptor's subkey be of type 23

	// Enctypes are offered to the acceptor for its subkey, best first
	// (RFC 4537); none are if it is empty.
	Enctypes []Enctype
	Now      func() time.Time // nil means time.Now
}

// InitiatorContext is the client's side of one context. Init must not be
// called concurrently with anything else; once the context is established all
// methods are safe for concurrent use.
type InitiatorContext struct {
	config   InitiatorConfig
	ticket   []byte
	session  key // wiped once the context is established
	subkey   key
	sent     authenticator // whose time the AP-REP must repeat
	begun    bool
	finished *session
}

// NewInitiator checks the configuration.
func NewInitiator(c InitiatorConfig) (*InitiatorContext, error) {
	if !c.Client.bounded() || c.Client.Realm == "" {
		return nil, errors.New("kerberos: an initiator needs a client name with realm")
	}
	k, err := newKey(Enctype(c.SessionKey.KeyType), c.SessionKey.KeyValue)
	if err != nil {
		return nil, fmt.Errorf("kerberos: session key: %w", err)
	}
	if k.encryption.rc4 && !c.AllowRC4 {
		k.wipe()
		return nil, errors.New("kerberos: session key: " + RC4HMAC.String() + " must be allowed explicitly")
	}
	c.Ticket.DecryptedEncPart = messages.EncTicketPart{} // gokrb5 would encode it
	ticket, err := c.Ticket.Marshal()
	if err != nil {
		return nil, fmt.Errorf("kerberos: ticket: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.SessionKey = types.EncryptionKey{} // the copy is enough, and is wiped
	return &InitiatorContext{config: c, ticket: ticket, session: k}, nil
}

// Init makes the first token from a nil one: an AP-REQ in the framing of RFC
// 2743, section 3.1. Without mutual authentication the context is established
// with that. Otherwise the acceptor's answer is given to a second call, which
// returns no token. A KRB-ERROR in that answer becomes an *Error that wraps
// ErrRefused and carries the acceptor's code; it is not authenticated.
func (c *InitiatorContext) Init(token []byte) (out []byte, err error) {
	if !c.begun && token == nil {
		c.begun = true
		return c.begin()
	}
	if !c.begun || c.finished != nil || !c.session.valid() {
		return nil, malformed("a token came out of turn")
	}
	err = c.finish(token)
	c.wipeHandshake()
	return nil, err
}

func (c *InitiatorContext) begin() ([]byte, error) {
	now := c.config.Now().UTC()
	var random [4]byte
	rand.Read(random[:])
	flags := uint32(flagReplay | flagIntegrity)
	var options bitFlags
	if c.config.Mutual {
		flags |= flagMutual
		options = 1 << (31 - optionMutualRequired)
	}
	c.sent = authenticator{
		client:       c.config.Client,
		checksumType: checksumGSS,
		checksum:     gssChecksum{flags: flags}.marshal(),
		time:         now.Truncate(time.Second),
		microseconds: now.Nanosecond() / 1000,
		sequence:     binary.BigEndian.Uint32(random[:]) >> 2,
		encryptions:  c.config.Enctypes,
	}
	if c.config.Subkey {
		var err error
		if c.subkey, err = randomKey(rand.Reader, c.session.encryption); err != nil {
			return nil, err
		}
		c.sent.subkeyType, c.sent.subkey = c.subkey.encryption.id, c.subkey.value
	}
	plain, err := c.sent.marshal()
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	keys := c.session.cipherKeys(usageAuthenticator)
	defer keys.wipe()
	cipher, err := keys.encrypt(rand.Reader, plain)
	if err != nil {
		return nil, err
	}
	out, err := frame(mechanismKRB5, tokenAPReq, func(b *cryptobyte.Builder) {
		appendAPReq(b, options, c.ticket, encryptedData{enctype: c.session.encryption.id, cipher: cipher})
	})
	if err == nil && !c.config.Mutual {
		c.finished = newSession(c.base(), false, false, c.sent.sequence, c.sent.sequence)
		c.wipeHandshake()
	}
	return out, err
}

// base is the key of a context without an acceptor's subkey.
func (c *InitiatorContext) base() key {
	if c.subkey.valid() {
		return c.subkey
	}
	return c.session
}

// finish checks the acceptor's answer (RFC 4120, section 3.2.5).
func (c *InitiatorContext) finish(token []byte) error {
	t, ok := parseToken(token)
	if !ok {
		return malformed("the answer has no Kerberos framing")
	}
	switch t.id {
	case tokenAPRep:
	case tokenKRBError:
		e, ok := parseKRBError(t.body)
		if !ok {
			return malformed("the answer is a malformed KRB-ERROR")
		}
		err := &Error{Code: e.code, Reason: fmt.Sprintf("the acceptor refuses with error %d", e.code), Service: e.service.shown(), err: ErrRefused}
		if e.code == codeSkew {
			err.Reason += ": its clock says " + e.time.UTC().Format(time.RFC3339)
			err.Fix = "synchronise the clocks"
		}
		return err
	default:
		return malformed("the answer is not an AP-REP")
	}
	enc, ok := parseAPRep(t.body)
	if !ok || enc.enctype != c.session.encryption.id {
		return malformed("the AP-REP is malformed")
	}
	keys := c.session.cipherKeys(usageAPRep)
	defer keys.wipe()
	plain, err := keys.decrypt(enc.cipher)
	if err != nil {
		return &Error{Code: codeMutualFailed, Reason: "the AP-REP does not decrypt with the session key", err: ErrIntegrity}
	}
	defer clear(plain)
	part, ok := parseEncAPRepPart(plain)
	if !ok {
		return malformed("the decrypted AP-REP is malformed")
	}
	if !part.time.Equal(c.sent.time) || part.microseconds != c.sent.microseconds {
		return &Error{Code: codeMutualFailed, Reason: "the AP-REP answers another authenticator", err: ErrMismatch}
	}
	k := c.base()
	if part.subkeyType == RC4HMAC && (k.encryption.rc4 || !c.config.AllowRC4) {
		// In a context of RC4 such a key is not used, though old acceptors send
		// one; in any other it would be a step down.
		if !k.encryption.rc4 {
			return &Error{Code: codeMutualFailed, Reason: "the acceptor's subkey is of type " + RC4HMAC.String(), err: ErrEnctype}
		}
		part.subkey = nil
	}
	if part.subkey != nil {
		if k, err = newKey(part.subkeyType, part.subkey); err != nil {
			return &Error{Code: codeMutualFailed, Reason: "the acceptor's subkey cannot be used: " + err.Error(), err: ErrEnctype}
		}
		defer k.wipe()
	}
	c.finished = newSession(k, false, part.subkey != nil, c.sent.sequence, part.sequence)
	return nil
}

func (c *InitiatorContext) wipeHandshake() {
	c.session.wipe()
	c.subkey.wipe()
	c.sent = authenticator{}
}

// Established reports whether the context has keys.
func (c *InitiatorContext) Established() bool { return c.finished != nil && c.finished.alive() }

// Expires is the end of the ticket as the configuration gave it.
func (c *InitiatorContext) Expires() time.Time { return c.config.Expires }

// SessionEnctype is the type of the key that makes the MICs, 0 before
// the context is established.
func (c *InitiatorContext) SessionEnctype() Enctype {
	if c.finished == nil {
		return 0
	}
	return c.finished.encryption.id
}

// GetMIC makes a MIC over message; see [AcceptorContext.GetMIC].
func (c *InitiatorContext) GetMIC(message []byte) ([]byte, error) {
	if c.finished == nil {
		return nil, ErrNotEstablished
	}
	return c.finished.getMIC(message)
}

// VerifyMIC checks the acceptor's MIC over message; see
// [AcceptorContext.VerifyMIC].
func (c *InitiatorContext) VerifyMIC(message, mic []byte) error {
	if c.finished == nil {
		return ErrNotEstablished
	}
	return c.finished.verifyMIC(message, mic)
}

// Wipe overwrites the keys; what needs them fails from then on.
func (c *InitiatorContext) Wipe() {
	c.wipeHandshake()
	if c.finished != nil {
		c.finished.wipe()
	}
}
