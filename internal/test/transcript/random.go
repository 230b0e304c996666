package transcript

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/crypto/common"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"github.com/miekg/dns"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/spnego"
)

// Key usage numbers, RFC 4120 section 7.5.1.
const (
	usageTicket = 2
	usageAPRep  = 12
)

// Time is what the server's clock said when it made the reply, to the second, as far as the reply tells: the time signed
// of its TSIG record or the inception of its TKEY record.
func Time(reply *dns.Msg) (time.Time, bool) {
	if tsig := reply.IsTsig(); tsig != nil {
		return time.Unix(int64(tsig.TimeSigned), 0), true
	}
	if tkey := tkeyOf(reply); tkey != nil {
		return time.Unix(int64(tkey.Inception), 0), true
	}
	return time.Time{}, false
}

func tkeyOf(m *dns.Msg) *dns.TKEY {
	for _, rr := range slices.Concat(m.Answer, m.Extra) {
		if tkey, ok := rr.(*dns.TKEY); ok {
			return tkey
		}
	}
	return nil
}

// Random is what the server drew at random in the handshake that a TKEY query and its reply are, in the order in which it
// draws: the octets of its subkey, of its sequence number, and the confounder of the AP-REP. It is empty where the
// messages have no handshake, or one without AP-REP. Only AES is supported, for the session key.
func Random(keys []byte, request, reply *dns.Msg) ([]byte, error) {
	asked, answered := tkeyOf(request), tkeyOf(reply)
	if asked == nil || answered == nil || answered.Error != 0 || answered.Key == "" {
		return nil, nil
	}
	session, err := sessionKey(keys, asked.Key)
	if err != nil {
		return nil, fmt.Errorf("transcript: the client's token: %w", err)
	}
	sealed, err := apRep(answered.Key)
	if err != nil {
		return nil, fmt.Errorf("transcript: the server's token: %w", err)
	}
	etype, err := crypto.GetEtype(session.KeyType)
	if err != nil {
		return nil, fmt.Errorf("transcript: %w", err)
	}
	encrypting, err := etype.DeriveKey(session.KeyValue, common.GetUsageKe(usageAPRep))
	if err != nil {
		return nil, fmt.Errorf("transcript: %w", err)
	}
	opened, err := etype.DecryptData(encrypting, sealed.Cipher[:len(sealed.Cipher)-etype.GetHMACBitLength()/8])
	if err != nil {
		return nil, fmt.Errorf("transcript: the AP-REP does not decrypt: %w", err)
	}
	confounder := opened[:etype.GetConfounderByteSize()]
	var part messages.EncAPRepPart
	if err := part.Unmarshal(opened[len(confounder):]); err != nil {
		return nil, fmt.Errorf("transcript: the decrypted AP-REP: %w", err)
	}
	random := slices.Clone(part.Subkey.KeyValue)
	// The server leaves out the lowest two bits of what it drew.
	random = binary.BigEndian.AppendUint32(random, uint32(part.SequenceNumber)<<2)
	return append(random, confounder...), nil
}

// sessionKey opens the ticket in a client's token.
func sessionKey(keys []byte, token string) (types.EncryptionKey, error) {
	octets, err := hex.DecodeString(token)
	if err != nil {
		return types.EncryptionKey{}, err
	}
	inner, ok := unframed(spnego.PeekMechToken(octets))
	if !ok {
		return types.EncryptionKey{}, errors.New("no Kerberos token in it")
	}
	var request messages.APReq
	if err := request.Unmarshal(inner); err != nil {
		return types.EncryptionKey{}, err
	}
	held := keytab.New()
	if err := held.Unmarshal(keys); err != nil {
		return types.EncryptionKey{}, err
	}
	sealed := request.Ticket.EncPart
	for _, entry := range held.Entries {
		if entry.Key.KeyType != sealed.EType {
			continue
		}
		opened, err := crypto.DecryptEncPart(sealed, entry.Key, usageTicket)
		if err != nil {
			continue // another version's or principal's
		}
		var part messages.EncTicketPart
		err = part.Unmarshal(opened)
		return part.Key, err
	}
	return types.EncryptionKey{}, errors.New("no key fits the ticket")
}

// apRep finds the AP-REP in a server's token, which is Kerberos' or SPNEGO's.
func apRep(token string) (types.EncryptedData, error) {
	octets, err := hex.DecodeString(token)
	if err != nil {
		return types.EncryptedData{}, err
	}
	if spnego.IsContinuation(octets) {
		octets = responseToken(octets)
	}
	inner, ok := unframed(octets)
	if !ok {
		return types.EncryptedData{}, errors.New("no Kerberos token in it")
	}
	var reply messages.APRep
	err = reply.Unmarshal(inner)
	return reply.EncPart, err
}

// unframed takes a Kerberos message out of its GSS-API frame (RFC 4121 section 4.1): an object identifier and two octets
// of token type come before it.
func unframed(token []byte) ([]byte, bool) {
	in := cryptobyte.String(token)
	var body, mechanism cryptobyte.String
	ok := in.ReadASN1(&body, asn1.Tag(0x60)) && body.ReadASN1(&mechanism, asn1.OBJECT_IDENTIFIER) && body.Skip(2)
	return body, ok
}

// responseToken is that field of a NegTokenResp (RFC 4178 section 4.2.2), nil if there is none.
func responseToken(token []byte) (field []byte) {
	in := cryptobyte.String(token)
	context := func(n uint8) asn1.Tag { return asn1.Tag(n).ContextSpecific().Constructed() }
	var choice, sequence, explicit, octets cryptobyte.String
	if in.ReadASN1(&choice, context(1)) && choice.ReadASN1(&sequence, asn1.SEQUENCE) &&
		sequence.SkipOptionalASN1(context(0)) && sequence.SkipOptionalASN1(context(1)) &&
		sequence.ReadASN1(&explicit, context(2)) && explicit.ReadASN1(&octets, asn1.OCTET_STRING) {
		field = octets
	}
	return field
}
