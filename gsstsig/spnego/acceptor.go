package spnego

import (
	"bytes"
	"errors"
	"fmt"
)

// Mechanism is the acceptor's side of the mechanism that is negotiated for:
// krb5.AcceptorContext in the server.
type Mechanism interface {
	// Accept takes one token of the initiator. A reply may come with an error.
	Accept(token []byte) (reply []byte, err error)
	// Established reports whether the context is complete.
	Established() bool
	// GetMIC and VerifyMIC work once the context is established.
	GetMIC(message []byte) ([]byte, error)
	VerifyMIC(message, mic []byte) error
}

// Errors that end a negotiation. Others are ErrMalformed and, wrapped, those of
// the mechanism.
var (
	// ErrNoMechanism: the initiator offers nothing that the acceptor speaks.
	ErrNoMechanism = errors.New("spnego: the initiator does not offer Kerberos")
	// ErrRejected: the peer sent negState reject.
	ErrRejected = errors.New("spnego: rejected by the peer")
	// ErrMIC: the MIC over the mechanism list is missing or wrong.
	ErrMIC = errors.New("spnego: mechListMIC missing or wrong")
	// ErrFinished: a token after the end, be it good or bad.
	ErrFinished = errors.New("spnego: negotiation is over")
)

// AcceptorContext is one negotiation on the acceptor's side. It is not safe
// for concurrent use before Established reports true; afterwards it does not
// change. A context that was never finished holds no resources but memory.
type AcceptorContext struct {
	newMechanism func() Mechanism
	mechanism    Mechanism // made when there is a first token for it
	selected     []byte    // contents of the object identifier chosen; nil before the first token
	named        bool      // selected was told to the initiator
	list         []byte    // DER of the initiator's list, as received
	micNeeded    bool
	micSent      bool
	micReceived  bool
	done, failed bool
}

// NewAcceptor returns a context that waits for an initiator's first token.
// newMechanism is called at most once, when there is a token to give to the
// mechanism: an initiator that only asks what is spoken here costs little.
func NewAcceptor(newMechanism func() Mechanism) *AcceptorContext {
	return &AcceptorContext{newMechanism: newMechanism}
}

// Established reports whether both the mechanism and the negotiation around it
// are finished, MICs included.
func (c *AcceptorContext) Established() bool { return c.done && !c.failed }

// Mechanism returns the mechanism's context, nil while none was made.
func (c *AcceptorContext) Mechanism() Mechanism { return c.mechanism }

// Accept takes one token of the initiator and returns the answer, which is nil
// when everything was said already. After an error the context is of no
// further use; the reply then tells the initiator so (negState reject) and may
// carry the mechanism's own error token.
func (c *AcceptorContext) Accept(token []byte) (reply []byte, err error) {
	if c.done || c.failed {
		return nil, ErrFinished
	}
	if c.selected == nil {
		reply, err = c.first(token)
	} else {
		reply, err = c.next(token)
	}
	if err != nil {
		c.failed = true
	}
	return reply, err
}

func (c *AcceptorContext) first(token []byte) ([]byte, error) {
	init, err := parseInit(token)
	if err != nil {
		return nil, err
	}
	for i, oid := range init.mechTypes {
		if !isKerberos(oid) {
			continue
		}
		c.selected = derKerberos
		if bytes.Equal(oid, derMSKerberos) {
			c.selected = derMSKerberos
		}
		c.list = bytes.Clone(init.list)
		if i == 0 && init.mechToken != nil {
			return c.step(init.mechToken, init.mechListMIC)
		}
		// Either the optimistic token is another mechanism's, and then section
		// 5 demands MICs, or there is none. Both ways the initiator has to
		// come again with a token for what is named here.
		c.named = true
		state := stateAcceptIncomplete
		if i > 0 {
			c.micNeeded = true
			state = stateRequestMIC
		}
		return (&negTokenResp{state: state, supportedMech: c.selected}).marshal()
	}
	return c.reject(nil, ErrNoMechanism)
}

func (c *AcceptorContext) next(token []byte) ([]byte, error) {
	resp, err := parseResp(token)
	if err != nil {
		return c.reject(nil, err)
	}
	if resp.state == stateReject {
		return nil, ErrRejected
	}
	return c.step(resp.responseToken, resp.mechListMIC)
}

// step gives the mechanism its token, if there is one, and then settles the
// MICs.
func (c *AcceptorContext) step(mechToken, mic []byte) ([]byte, error) {
	var response []byte
	if c.mechanism == nil {
		if mechToken == nil {
			return c.reject(nil, malformed("no token for the mechanism"))
		}
		c.mechanism = c.newMechanism()
	}
	if mechToken != nil {
		if c.mechanism.Established() {
			return c.reject(nil, malformed("a token for a mechanism that is finished"))
		}
		var err error
		if response, err = c.mechanism.Accept(mechToken); err != nil {
			return c.reject(response, fmt.Errorf("spnego: %w", err))
		}
	}
	// Windows 2000 copied the token into the field of the MIC (RFC 4178
	// appendix C tells peers to expect it). It says nothing, so it is nothing.
	if mic != nil && mechToken != nil && bytes.Equal(mic, mechToken) {
		mic = nil
	}
	return c.settle(response, mechToken != nil, mic)
}

// settle is RFC 4178 section 5: verify the initiator's MIC, add one's own when
// it is due, and say whether the negotiation is complete.
func (c *AcceptorContext) settle(response []byte, progressed bool, mic []byte) ([]byte, error) {
	if !c.mechanism.Established() {
		if mic != nil {
			return c.reject(nil, malformed("mechListMIC before the mechanism is finished"))
		}
		if !progressed {
			return c.reject(nil, malformed("no token for the mechanism"))
		}
		return c.respond(&negTokenResp{state: stateAcceptIncomplete, responseToken: response})
	}
	if mic != nil {
		if c.micReceived {
			return c.reject(nil, malformed("a second mechListMIC"))
		}
		if err := c.mechanism.VerifyMIC(c.list, mic); err != nil {
			return c.reject(nil, fmt.Errorf("%w: %w", ErrMIC, err))
		}
		c.micReceived = true
		// A MIC that came is answered with one, asked for or not.
		c.micNeeded = true
	}

	out := &negTokenResp{state: stateAcceptCompleted, responseToken: response}
	if c.micNeeded {
		if !c.micReceived && c.micSent {
			// The initiator had ours and said something else.
			return c.reject(nil, ErrMIC)
		}
		if !c.micSent {
			own, err := c.mechanism.GetMIC(c.list)
			if err != nil {
				return c.reject(nil, fmt.Errorf("spnego: %w", err))
			}
			out.mechListMIC = own
			c.micSent = true
		} else if response == nil {
			// Both MICs have been seen and the initiator said so first: the
			// negotiation ends here without another token.
			c.done = true
			return nil, nil
		}
		if !c.micReceived {
			out.state = stateAcceptIncomplete
			return c.respond(out)
		}
	}
	c.done = true
	return c.respond(out)
}

// respond names the mechanism in the first answer, as section 4.2.2 demands,
// and only there.
func (c *AcceptorContext) respond(resp *negTokenResp) ([]byte, error) {
	if !c.named {
		resp.supportedMech = c.selected
		c.named = true
	}
	return resp.marshal()
}

// reject makes the answer that ends the negotiation. A mechanism's error token
// rides along, so that the initiator can learn why.
func (c *AcceptorContext) reject(response []byte, cause error) ([]byte, error) {
	reply, err := (&negTokenResp{state: stateReject, responseToken: response}).marshal()
	if err != nil {
		return nil, cause
	}
	return reply, cause
}
