package spnego

import (
	"bytes"
	"encoding/asn1"
	"fmt"
)

// InitiatorMechanism is the initiator's side of the mechanism that is
// negotiated for: krb5.InitiatorContext in the client.
type InitiatorMechanism interface {
	// Init makes the first token from nil, and later ones from the acceptor's.
	Init(token []byte) (out []byte, err error)
	// Established reports whether the context is complete.
	Established() bool
	// GetMIC and VerifyMIC work once it is.
	GetMIC(message []byte) ([]byte, error)
	VerifyMIC(message, mic []byte) error
}

// InitiatorConfig says how an initiator negotiates. Mechanism is required; of
// the rest the zero value is what MIT's library does when it has Kerberos only.
type InitiatorConfig struct {
	// Mechanism is Kerberos' context; it makes no token before one is wanted.
	Mechanism InitiatorMechanism
	// MechTypes is the list that is offered, in this order; empty is Kerberos
	// alone.
	MechTypes []asn1.ObjectIdentifier
	// NoOptimisticToken leaves mechToken out of the first token, which costs a
	// round more.
	NoOptimisticToken bool
	// OtherToken is the optimistic token when the first of MechTypes is not
	// Kerberos.
	OtherToken []byte
	// SendMIC sends a mechListMIC as soon as the mechanism allows, although
	// the choice of mechanism does not demand it.
	SendMIC bool
}

// InitiatorContext is one negotiation on the initiator's side, not safe for
// concurrent use.
type InitiatorContext struct {
	config      InitiatorConfig
	list        []byte
	preferred   []byte // contents of the first object identifier offered
	started     bool   // the first token was made
	mechStarted bool
	answered    bool // the acceptor's first answer was seen
	micNeeded   bool
	micSent     bool
	micReceived bool
	done        bool
	failed      bool
}

// NewInitiator checks the configuration and returns a context that has not
// spoken yet.
func NewInitiator(config InitiatorConfig) (*InitiatorContext, error) {
	if config.Mechanism == nil {
		return nil, fmt.Errorf("spnego: an initiator needs a mechanism")
	}
	if len(config.MechTypes) == 0 {
		config.MechTypes = []asn1.ObjectIdentifier{OIDKerberos}
	}
	list, err := marshalMechTypes(config.MechTypes)
	if err != nil {
		return nil, fmt.Errorf("spnego: mechanism list: %w", err)
	}
	return &InitiatorContext{
		config:    config,
		list:      list,
		preferred: oidContents(config.MechTypes[0]),
	}, nil
}

// Established reports whether the negotiation is finished on this side. The
// last token that Init returned, if any, must still reach the acceptor.
func (c *InitiatorContext) Established() bool { return c.done && !c.failed }

// Init makes the first token when token is nil, and takes the acceptor's
// answers afterwards. It returns nil when there is nothing left to say. After
// an error the context is of no further use.
func (c *InitiatorContext) Init(token []byte) (out []byte, err error) {
	switch {
	case c.failed:
		return nil, ErrFinished
	case !c.started:
		if token != nil {
			return nil, fmt.Errorf("spnego: the initiator speaks first")
		}
		c.started = true
		out, err = c.first()
	case c.done:
		return nil, ErrFinished
	default:
		out, err = c.next(token)
	}
	if err != nil {
		c.failed = true
		return nil, err
	}
	return out, nil
}

func (c *InitiatorContext) first() ([]byte, error) {
	init := &negTokenInit{list: c.list}
	switch {
	case !isKerberos(c.preferred):
		init.mechToken = c.config.OtherToken
	case !c.config.NoOptimisticToken:
		mechToken, err := c.config.Mechanism.Init(nil)
		if err != nil {
			return nil, fmt.Errorf("spnego: %w", err)
		}
		c.mechStarted = true
		init.mechToken = mechToken
		// A mechanism that is established by its first token, Kerberos without
		// mutual authentication, can vouch for the list at once.
		if c.config.SendMIC && c.config.Mechanism.Established() {
			if init.mechListMIC, err = c.mic(); err != nil {
				return nil, err
			}
		}
	}
	return init.marshal()
}

func (c *InitiatorContext) mic() ([]byte, error) {
	mic, err := c.config.Mechanism.GetMIC(c.list)
	if err != nil {
		return nil, fmt.Errorf("spnego: %w", err)
	}
	c.micSent = true
	return mic, nil
}

func (c *InitiatorContext) next(token []byte) ([]byte, error) {
	resp, err := parseResp(token)
	if err != nil {
		return nil, err
	}
	if resp.state == stateReject {
		return nil, c.rejected(resp.responseToken)
	}
	if err := c.learn(resp); err != nil {
		return nil, err
	}

	mechanism := c.config.Mechanism
	out := &negTokenResp{state: stateAcceptIncomplete}
	switch {
	case !c.mechStarted:
		if resp.responseToken != nil {
			return nil, malformed("a token of a mechanism that has not begun")
		}
		if out.responseToken, err = mechanism.Init(nil); err != nil {
			return nil, fmt.Errorf("spnego: %w", err)
		}
		c.mechStarted = true
	case resp.responseToken != nil:
		if out.responseToken, err = mechanism.Init(resp.responseToken); err != nil {
			return nil, fmt.Errorf("spnego: %w", err)
		}
	}

	if !mechanism.Established() {
		if resp.state == stateAcceptCompleted {
			return nil, malformed("accept-completed before the mechanism is finished")
		}
		if out.responseToken == nil {
			return nil, malformed("no token for the mechanism")
		}
		return out.marshal()
	}

	if resp.mechListMIC != nil {
		if err := mechanism.VerifyMIC(c.list, resp.mechListMIC); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMIC, err)
		}
		c.micReceived = true
		c.micNeeded = true
	}
	if resp.state == stateAcceptCompleted {
		// The acceptor is content. It must have proved the list when its
		// choice was not ours, or when it had our MIC and owed us one.
		if (c.micNeeded || c.micSent) && !c.micReceived {
			return nil, ErrMIC
		}
		c.done = true
		if out.responseToken == nil {
			return nil, nil
		}
	}
	if (c.micNeeded || c.config.SendMIC) && !c.micSent && !c.done {
		if out.mechListMIC, err = c.mic(); err != nil {
			return nil, err
		}
	}
	if c.micSent && c.micReceived && !c.done {
		out.state = stateAcceptCompleted
		c.done = true
	}
	if out.responseToken == nil && out.mechListMIC == nil {
		if c.done {
			return nil, nil
		}
		return nil, malformed("an answer that leaves nothing to say")
	}
	return out.marshal()
}

// rejected is ErrRejected and, where the acceptor's mechanism said why, what
// that means.
func (c *InitiatorContext) rejected(why []byte) error {
	if why == nil || !c.mechStarted || c.config.Mechanism.Established() {
		return ErrRejected
	}
	if _, err := c.config.Mechanism.Init(why); err != nil {
		return fmt.Errorf("%w: %w", ErrRejected, err)
	}
	return ErrRejected
}

// learn takes in which mechanism the acceptor chose and whether it wants MICs.
func (c *InitiatorContext) learn(resp *negTokenResp) error {
	if resp.supportedMech != nil {
		offered := false
		for _, oid := range c.config.MechTypes {
			offered = offered || bytes.Equal(oidContents(oid), resp.supportedMech)
		}
		if !offered || !isKerberos(resp.supportedMech) {
			return fmt.Errorf("%w: the acceptor chose a mechanism that was not offered", ErrMalformed)
		}
		if c.answered {
			return malformed("supportedMech in a later answer")
		}
		if !bytes.Equal(resp.supportedMech, c.preferred) {
			c.micNeeded = true
		}
	}
	if resp.state == stateRequestMIC {
		if c.answered {
			return malformed("request-mic in a later answer")
		}
		c.micNeeded = true
	}
	c.answered = true
	return nil
}
