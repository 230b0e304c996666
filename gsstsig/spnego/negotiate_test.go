package spnego

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"
	"testing"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// negotiate lets both sides talk until the initiator is silent. tamper may
// change the tokens on their way to the acceptor, by round from 1.
func negotiate(t *testing.T, initiator *InitiatorContext, acceptor *AcceptorContext, tamper func(round int, token []byte) []byte) (answers []*negTokenResp, err error) {
	t.Helper()
	token, err := initiator.Init(nil)
	if err != nil {
		t.Fatal(err)
	}
	for round := 1; token != nil; round++ {
		if round > 6 {
			t.Fatal("the negotiation does not end")
		}
		if tamper != nil {
			token = tamper(round, token)
		}
		reply, err := acceptor.Accept(token)
		if err != nil {
			return answers, fmt.Errorf("acceptor, round %d: %w", round, err)
		}
		if reply == nil {
			answers = append(answers, nil)
			break
		}
		resp, err := parseResp(reply)
		if err != nil {
			t.Fatalf("the acceptor's own answer in round %d: %v", round, err)
		}
		answers = append(answers, resp)
		if token, err = initiator.Init(reply); err != nil {
			return answers, fmt.Errorf("initiator, round %d: %w", round, err)
		}
	}
	return answers, nil
}

func TestNegotiation(t *testing.T) {
	standard.Requires(t, "RFC 4178", "3.2 choice", "3.2 optimistic token", "3.2 other's token", "4.1 encoding", "4.2.1 framing", "4.2.1 mechTypes", "4.2.2 negState", "4.2.2 request-mic", "4.2.2 supportedMech", "4.2.2 completed", "5 exchange", "5 optional", "5 what is covered")
	krb, ms, ntlm := OIDKerberos, OIDMSKerberos, OIDNTLM
	type list = []asn1.ObjectIdentifier
	tests := []struct {
		name   string
		config InitiatorConfig
		mutual bool
		rounds int
		states []negState
		mech   []byte
		mics   byte // sequence numbers that the acceptor used
	}{
		{"Kerberos", InitiatorConfig{}, true, 1, []negState{stateAcceptCompleted}, derKerberos, 0},
		{"Kerberos, not mutual", InitiatorConfig{}, false, 1, []negState{stateAcceptCompleted}, derKerberos, 0},
		{"Microsoft's Kerberos first", InitiatorConfig{MechTypes: list{ms, krb}}, true, 1, []negState{stateAcceptCompleted}, derMSKerberos, 0},
		{"Microsoft's Kerberos alone", InitiatorConfig{MechTypes: list{ms}}, true, 1, []negState{stateAcceptCompleted}, derMSKerberos, 0},
		{"Kerberos first of many", InitiatorConfig{MechTypes: list{krb, ms, ntlm}}, true, 1, []negState{stateAcceptCompleted}, derKerberos, 0},
		{"no optimistic token", InitiatorConfig{NoOptimisticToken: true}, true, 2, []negState{stateAcceptIncomplete, stateAcceptCompleted}, derKerberos, 0},
		{"no optimistic token, not mutual", InitiatorConfig{NoOptimisticToken: true}, false, 2, []negState{stateAcceptIncomplete, stateAcceptCompleted}, derKerberos, 0},
		{"NTLM first", InitiatorConfig{MechTypes: list{ntlm, krb}, OtherToken: []byte("NTLMSSP\x00")}, true, 3,
			[]negState{stateRequestMIC, stateAcceptIncomplete}, derKerberos, 1},
		{"NTLM first without token", InitiatorConfig{MechTypes: list{ntlm, ms, krb}}, true, 3,
			[]negState{stateRequestMIC, stateAcceptIncomplete}, derMSKerberos, 1},
		{"NTLM first, not mutual", InitiatorConfig{MechTypes: list{ntlm, krb}}, false, 2,
			[]negState{stateRequestMIC, stateAcceptCompleted}, derKerberos, 1},
		{"MIC unasked, not mutual", InitiatorConfig{SendMIC: true}, false, 1, []negState{stateAcceptCompleted}, derKerberos, 1},
		{"MIC unasked, two rounds, not mutual", InitiatorConfig{SendMIC: true, NoOptimisticToken: true}, false, 2,
			[]negState{stateAcceptIncomplete, stateAcceptCompleted}, derKerberos, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			own := &toyMechanism{mutual: test.mutual}
			test.config.Mechanism = own
			initiator, err := NewInitiator(test.config)
			if err != nil {
				t.Fatal(err)
			}
			theirs := &toyMechanism{acceptor: true}
			made := 0
			acceptor := NewAcceptor(func() Mechanism { made++; return theirs })
			answers, err := negotiate(t, initiator, acceptor, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !initiator.Established() || !acceptor.Established() {
				t.Fatalf("established: initiator %t, acceptor %t", initiator.Established(), acceptor.Established())
			}
			if len(answers) != test.rounds {
				t.Errorf("%d rounds, want %d", len(answers), test.rounds)
			}
			for i, state := range test.states {
				if answers[i].state != state {
					t.Errorf("round %d: negState %d, want %d", i+1, answers[i].state, state)
				}
				if named := answers[i].supportedMech != nil; named != (i == 0) {
					t.Errorf("round %d: names a mechanism: %t", i+1, named)
				}
			}
			if !bytes.Equal(answers[0].supportedMech, test.mech) {
				t.Errorf("named mechanism %x, want %x", answers[0].supportedMech, test.mech)
			}
			if theirs.sent != test.mics {
				t.Errorf("the acceptor made %d MICs, want %d", theirs.sent, test.mics)
			}
			if made != 1 || acceptor.Mechanism() != theirs {
				t.Errorf("%d mechanisms made", made)
			}
			if _, err := acceptor.Accept(toyToken("request")); !errors.Is(err, ErrFinished) {
				t.Errorf("a token after the end: %v", err)
			}
		})
	}
}

// The list is what an attacker on the path would change; with the first choice
// gone, the MICs must tell.
func TestChangedListIsNoticed(t *testing.T) {
	standard.Requires(t, "RFC 4178", "5 exchange", "5 verified", "7 chosen by an attacker")
	for _, mutual := range []bool{false, true} {
		initiator, err := NewInitiator(InitiatorConfig{
			Mechanism: &toyMechanism{mutual: mutual},
			MechTypes: []asn1.ObjectIdentifier{OIDNTLM, OIDMSKerberos, OIDKerberos},
		})
		if err != nil {
			t.Fatal(err)
		}
		acceptor := NewAcceptor(func() Mechanism { return &toyMechanism{acceptor: true} })
		_, err = negotiate(t, initiator, acceptor, func(round int, token []byte) []byte {
			if round == 1 {
				return initToken(field(0, cbasn1.SEQUENCE, listOf(oidContents(OIDNTLM), derKerberos)))
			}
			return token
		})
		if !errors.Is(err, ErrMIC) {
			t.Errorf("mutual %t: %v, want ErrMIC", mutual, err)
		}
		if acceptor.Established() || initiator.Established() {
			t.Errorf("mutual %t: established all the same", mutual)
		}
	}
}

func TestInitiatorRefuses(t *testing.T) {
	standard.Requires(t, "RFC 4178", "4.2.2 reject", "5 verified", "5 completed too early")
	tests := []struct {
		name   string
		config InitiatorConfig
		mutual bool
		answer []byte
		want   error
	}{
		{"reject", InitiatorConfig{}, true, respToken(field(0, cbasn1.ENUM, []byte{2})), ErrRejected},
		{"reject, with the mechanism's reason", InitiatorConfig{}, true,
			respToken(field(0, cbasn1.ENUM, []byte{2}), field(2, cbasn1.OCTET_STRING, []byte("why"))), errToy},
		{"reject, with a reason for a mechanism that is done", InitiatorConfig{}, false,
			respToken(field(0, cbasn1.ENUM, []byte{2}), field(2, cbasn1.OCTET_STRING, []byte("why"))), ErrRejected},
		{"reject, with a token that is no reason", InitiatorConfig{}, true,
			respToken(field(0, cbasn1.ENUM, []byte{2}), field(2, cbasn1.OCTET_STRING, []byte("reply"))), ErrRejected},
		{"a mechanism that was not offered", InitiatorConfig{}, true,
			respToken(field(0, cbasn1.ENUM, []byte{0}), field(1, cbasn1.OBJECT_IDENTIFIER, derMSKerberos)), ErrMalformed},
		{"NTLM", InitiatorConfig{MechTypes: []asn1.ObjectIdentifier{OIDKerberos, OIDNTLM}}, true,
			respToken(field(0, cbasn1.ENUM, []byte{0}), field(1, cbasn1.OBJECT_IDENTIFIER, oidContents(OIDNTLM))), ErrMalformed},
		{"completed without the mechanism's token", InitiatorConfig{}, true,
			respToken(field(0, cbasn1.ENUM, []byte{0})), ErrMalformed},
		{"completed without the MIC that is owed", InitiatorConfig{SendMIC: true}, false,
			respToken(field(0, cbasn1.ENUM, []byte{0})), ErrMIC},
		{"a MIC that is wrong", InitiatorConfig{}, false,
			respToken(field(0, cbasn1.ENUM, []byte{0}), field(3, cbasn1.OCTET_STRING, []byte("x"))), ErrMIC},
		{"an incomplete that leaves nothing to say", InitiatorConfig{}, false,
			respToken(field(0, cbasn1.ENUM, []byte{1})), ErrMalformed},
		{"the mechanism's token is wrong", InitiatorConfig{}, true,
			respToken(field(0, cbasn1.ENUM, []byte{0}), field(2, cbasn1.OCTET_STRING, []byte("x"))), errToy},
		{"garbage", InitiatorConfig{}, true, []byte("garbage"), ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.config.Mechanism = &toyMechanism{mutual: test.mutual}
			c, err := NewInitiator(test.config)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Init(nil); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Init(test.answer); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if c.Established() {
				t.Error("established")
			}
			if _, err := c.Init(test.answer); !errors.Is(err, ErrFinished) {
				t.Errorf("after the failure: %v", err)
			}
		})
	}
}

func TestAcceptorRefuses(t *testing.T) {
	standard.Requires(t, "RFC 4178", "3.2 none", "4.1 encoding", "4.2.1 framing", "4.2.2 reject", "5 exchange", "5 verified", "5 afterwards")
	kerberos := field(0, cbasn1.SEQUENCE, listOf(derKerberos))
	token := field(2, cbasn1.OCTET_STRING, toyToken("request mutual"))
	many := make([][]byte, maxMechTypes+1)
	for i := range many {
		many[i] = oidContents(OIDNTLM)
	}
	bare := initToken(kerberos)
	wait := initToken(field(0, cbasn1.SEQUENCE, listOf(oidContents(OIDNTLM), derKerberos)))
	answer := field(0, cbasn1.ENUM, []byte{1})
	tests := []struct {
		name   string
		tokens [][]byte // all but the last are fine
		want   error
		reject bool // the last is answered with negState reject
	}{
		{"nothing", [][]byte{nil}, ErrMalformed, false},
		{"garbage", [][]byte{[]byte("garbage")}, ErrMalformed, false},
		{"bare Kerberos", [][]byte{toyToken("request")}, ErrMalformed, false},
		{"NTLM", [][]byte{[]byte("NTLMSSP\x00\x01\x00\x00\x00")}, ErrMalformed, false},
		{"NegTokenResp first", [][]byte{respToken(answer, token)}, ErrMalformed, false},
		{"no mechTypes", [][]byte{initToken(token)}, ErrMalformed, false},
		{"empty mechTypes", [][]byte{initToken(field(0, cbasn1.SEQUENCE, nil), token)}, ErrMalformed, false},
		{"too many mechTypes", [][]byte{initToken(field(0, cbasn1.SEQUENCE, listOf(many...)))}, ErrMalformed, false},
		{"mechTypes too long", [][]byte{initToken(field(0, cbasn1.SEQUENCE, listOf(bytes.Repeat([]byte{1}, maxMechTypesSize))))}, ErrMalformed, false},
		{"mechTypes of numbers", [][]byte{initToken(field(0, cbasn1.SEQUENCE, []byte{2, 1, 5}))}, ErrMalformed, false},
		{"mechToken is no octet string", [][]byte{initToken(kerberos, field(2, cbasn1.INTEGER, []byte{1}))}, ErrMalformed, false},
		{"octets behind the token", [][]byte{append(initToken(kerberos, token), 0)}, ErrMalformed, false},
		{"broken field behind the known ones", [][]byte{initToken(kerberos, token, []byte{0xA7, 5, 1})}, ErrMalformed, false},
		{"no Kerberos offered", [][]byte{initToken(field(0, cbasn1.SEQUENCE, listOf(oidContents(OIDNTLM))), token)}, ErrNoMechanism, true},
		{"the mechanism refuses", [][]byte{initToken(kerberos, field(2, cbasn1.OCTET_STRING, []byte("x")))}, errToy, true},
		{"empty mechToken", [][]byte{initToken(kerberos, field(2, cbasn1.OCTET_STRING, nil))}, errToy, true},
		{"MIC is wrong", [][]byte{initToken(kerberos, field(2, cbasn1.OCTET_STRING, toyToken("request")), field(3, cbasn1.OCTET_STRING, []byte("x")))}, ErrMIC, true},
		{"second round: nothing in it", [][]byte{bare, respToken()}, ErrMalformed, true},
		{"second round: a MIC alone", [][]byte{bare, respToken(field(3, cbasn1.OCTET_STRING, []byte("x")))}, ErrMalformed, true},
		{"second round: garbage", [][]byte{bare, []byte("garbage")}, ErrMalformed, true},
		{"second round: NegTokenInit", [][]byte{bare, initToken(kerberos, token)}, ErrMalformed, true},
		{"second round: unknown negState", [][]byte{bare, respToken(field(0, cbasn1.ENUM, []byte{4}))}, ErrMalformed, true},
		{"second round: reject", [][]byte{bare, respToken(field(0, cbasn1.ENUM, []byte{2}))}, ErrRejected, false},
		{"third round: no MIC", [][]byte{wait, respToken(answer, token), respToken(answer)}, ErrMIC, true},
		{"third round: wrong MIC", [][]byte{wait, respToken(answer, token), respToken(answer, field(3, cbasn1.OCTET_STRING, []byte("x")))}, ErrMIC, true},
		{"third round: a token again", [][]byte{wait, respToken(answer, token), respToken(answer, token)}, ErrMalformed, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := NewAcceptor(func() Mechanism { return &toyMechanism{acceptor: true} })
			for i, token := range test.tokens[:len(test.tokens)-1] {
				if _, err := c.Accept(token); err != nil {
					t.Fatalf("round %d: %v", i+1, err)
				}
				if c.Established() {
					t.Fatalf("established in round %d", i+1)
				}
			}
			reply, err := c.Accept(test.tokens[len(test.tokens)-1])
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if c.Established() {
				t.Error("established")
			}
			resp, parseErr := parseResp(reply)
			if rejected := parseErr == nil && resp.state == stateReject; rejected != test.reject {
				t.Errorf("rejected: %t, want %t", rejected, test.reject)
			}
			if _, err := c.Accept(bare); !errors.Is(err, ErrFinished) {
				t.Errorf("after the failure: %v", err)
			}
		})
	}
}

// The mechanism's error token reaches the initiator, whose log is where it is
// of use.
func TestRejectCarriesTheMechanismsToken(t *testing.T) {
	standard.Requires(t, "RFC 4178", "3.2 error token")
	c := NewAcceptor(func() Mechanism { return &toyMechanism{acceptor: true, refuse: errToy} })
	reply, err := c.Accept(initToken(field(0, cbasn1.SEQUENCE, listOf(derKerberos)), field(2, cbasn1.OCTET_STRING, toyToken("request"))))
	if !errors.Is(err, errToy) {
		t.Fatal(err)
	}
	resp, err := parseResp(reply)
	if err != nil || resp.state != stateReject || string(resp.responseToken) != "error token" {
		t.Errorf("%+v, %v", resp, err)
	}
}

// Tokens that real peers send although RFC 4178 does not quite have them.
func TestToleratedForms(t *testing.T) {
	standard.Requires(t, "RFC 4178", "4.2.1 reqFlags", "6 later fields")
	standard.Deviates(t, "RFC 4178", "5 verified", "A MIC that is the mechanism's token once more, as old Windows sends it, is taken for none.")
	kerberos := field(0, cbasn1.SEQUENCE, listOf(derKerberos))
	request := toyToken("request")
	token := field(2, cbasn1.OCTET_STRING, request)
	hints := field(3, cbasn1.SEQUENCE, field(0, cbasn1.Tag(27), []byte("not_defined_in_RFC4178@please_ignore")))
	list, err := marshalMechTypes([]asn1.ObjectIdentifier{OIDKerberos})
	if err != nil {
		t.Fatal(err)
	}
	mic, _ := (&toyMechanism{done: true}).GetMIC(list)
	tests := []struct {
		name string
		in   []byte
		mic  bool
	}{
		{"MIC that repeats the token", initToken(kerberos, token, field(3, cbasn1.OCTET_STRING, request)), false},
		{"reqFlags", initToken(kerberos, field(1, cbasn1.BIT_STRING, []byte{1, 0x7E}), token), false},
		{"hints", initToken(kerberos, token, hints), false},
		{"hints and MIC", initToken(kerberos, token, hints, field(4, cbasn1.OCTET_STRING, mic)), true},
		{"a field to come", initToken(kerberos, token, field(9, cbasn1.INTEGER, []byte{1})), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := NewAcceptor(func() Mechanism { return &toyMechanism{acceptor: true} })
			reply, err := c.Accept(test.in)
			if err != nil || !c.Established() {
				t.Fatalf("established %t, %v", c.Established(), err)
			}
			resp, err := parseResp(reply)
			if err != nil || resp.state != stateAcceptCompleted || (resp.mechListMIC != nil) != test.mic {
				t.Errorf("%+v, %v", resp, err)
			}
		})
	}
}

func TestWhatKindOfToken(t *testing.T) {
	request := toyToken("request")
	kerberos := field(0, cbasn1.SEQUENCE, listOf(derMSKerberos, derKerberos))
	ntlm := field(0, cbasn1.SEQUENCE, listOf(oidContents(OIDNTLM), derKerberos))
	with := field(2, cbasn1.OCTET_STRING, request)
	tests := []struct {
		name         string
		in           []byte
		spnego, bare bool
		continuation bool
		peek         []byte
	}{
		{"empty", nil, false, false, false, nil},
		{"bare Kerberos", request, false, true, false, request},
		{"SPNEGO", initToken(kerberos, with), true, false, false, request},
		{"SPNEGO without token", initToken(kerberos), true, false, false, nil},
		{"SPNEGO with another's token", initToken(ntlm, with), true, false, false, nil},
		{"SPNEGO, broken inside", initToken([]byte{1}), true, false, false, nil},
		{"later token", respToken(), false, false, true, nil},
		{"later token with Kerberos'", respToken(with), false, false, true, request},
		{"later token with another's", respToken(field(2, cbasn1.OCTET_STRING, []byte("NTLMSSP\x00"))), false, false, true, nil},
		{"cut short", request[:len(request)-1], false, false, false, nil},
		{"NTLM", []byte("NTLMSSP\x00"), false, false, false, nil},
	}
	for _, test := range tests {
		if got := IsToken(test.in); got != test.spnego {
			t.Errorf("%s: IsToken %t", test.name, got)
		}
		if got := IsKerberosToken(test.in); got != test.bare {
			t.Errorf("%s: IsKerberosToken %t", test.name, got)
		}
		if got := IsContinuation(test.in); got != test.continuation {
			t.Errorf("%s: IsContinuation %t", test.name, got)
		}
		first, later := test.peek, []byte(nil)
		if test.continuation {
			first, later = later, first
		}
		if got := PeekMechToken(test.in); !bytes.Equal(got, first) {
			t.Errorf("%s: PeekMechToken %x", test.name, got)
		}
		if got := PeekResponseToken(test.in); !bytes.Equal(got, later) {
			t.Errorf("%s: PeekResponseToken %x", test.name, got)
		}
	}
}

// BIND CVE-2020-8625 and CVE-2021-25216: lengths inside SPNEGO tokens that were
// believed. Tokens of both kinds are cut at every place, and every octet of
// them is made to lie: none gets past the mechanism.
func TestLessonLengthsInTokensAreChecked(t *testing.T) {
	initiator, err := NewInitiator(InitiatorConfig{Mechanism: &toyMechanism{}, SendMIC: true})
	if err != nil {
		t.Fatal(err)
	}
	first, err := initiator.Init(nil)
	if err != nil {
		t.Fatal(err)
	}
	next := respToken(field(0, cbasn1.ENUM, []byte{1}), field(2, cbasn1.OCTET_STRING, toyToken("request")), field(3, cbasn1.OCTET_STRING, []byte("mic")))
	bare := initToken(field(0, cbasn1.SEQUENCE, listOf(derKerberos)))
	for name, c := range map[string]struct {
		before, token []byte
	}{"NegTokenInit": {nil, first}, "NegTokenResp": {bare, next}} {
		accept := func(token []byte) (*AcceptorContext, error) {
			a := NewAcceptor(func() Mechanism { return &toyMechanism{acceptor: true} })
			if c.before != nil {
				if _, err := a.Accept(c.before); err != nil {
					t.Fatal(err)
				}
			}
			PeekMechToken(token)
			_, err := a.Accept(token)
			return a, err
		}
		for n := range c.token {
			if a, err := accept(c.token[:n]); err == nil || a.Established() {
				t.Errorf("%s, cut off after %d octets: %v", name, n, err)
			}
		}
		for at := range c.token {
			for _, v := range []byte{0x00, 0x7F, 0x80, 0x81, 0x84, 0xFF} {
				token := bytes.Clone(c.token)
				token[at] = v
				a, err := accept(token)
				if a.Established() && (err != nil || a.Mechanism() == nil || !a.Mechanism().Established()) {
					t.Errorf("%s, octet %d made %#x: %v", name, at, v, err)
				}
			}
		}
	}
}

func TestNewInitiatorChecks(t *testing.T) {
	if _, err := NewInitiator(InitiatorConfig{}); err == nil {
		t.Error("no mechanism: no error")
	}
	if _, err := NewInitiator(InitiatorConfig{Mechanism: &toyMechanism{}, MechTypes: []asn1.ObjectIdentifier{{9, 9}}}); err == nil {
		t.Error("no object identifier: no error")
	}
	c, err := NewInitiator(InitiatorConfig{Mechanism: &toyMechanism{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Init([]byte("x")); err == nil {
		t.Error("the acceptor spoke first: no error")
	}
}

// What the acceptor keeps between rounds must not be the caller's buffer.
func TestAcceptorKeepsNoReference(t *testing.T) {
	initiator, err := NewInitiator(InitiatorConfig{
		Mechanism: &toyMechanism{},
		MechTypes: []asn1.ObjectIdentifier{OIDNTLM, OIDKerberos},
	})
	if err != nil {
		t.Fatal(err)
	}
	acceptor := NewAcceptor(func() Mechanism { return &toyMechanism{acceptor: true} })
	token, err := initiator.Init(nil)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := acceptor.Accept(token)
	if err != nil {
		t.Fatal(err)
	}
	clear(token)
	if token, err = initiator.Init(reply); err != nil {
		t.Fatal(err)
	}
	if _, err = acceptor.Accept(token); err != nil || !acceptor.Established() {
		t.Errorf("established %t, %v", acceptor.Established(), err)
	}
}
