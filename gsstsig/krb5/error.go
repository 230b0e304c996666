package krb5

import (
	"errors"
	"strings"
)

// Sentinels that errors of this package wrap; test with errors.Is.
var (
	// ErrMalformed: the token, MIC or message is not what its type demands.
	ErrMalformed = errors.New("malformed")
	// ErrNoKey: no key held fits the ticket: unknown service, encryption type
	// or key version.
	ErrNoKey = errors.New("no key")
	// ErrIntegrity: something does not decrypt or has a wrong checksum.
	ErrIntegrity = errors.New("integrity check failed")
	// ErrReplay: the authenticator or MIC has been seen before, or is too old
	// for that to be known.
	ErrReplay = errors.New("replayed")
	// ErrReplayCacheFull: the replay cache cannot take another authenticator,
	// or another one of the client, until some have expired.
	ErrReplayCacheFull = errors.New("replay cache full")
	// ErrSkew: the peer's clock differs by more than is allowed.
	ErrSkew = errors.New("clock skew too great")
	// ErrExpired: the ticket is past its end.
	ErrExpired = errors.New("expired")
	// ErrNotYetValid: the ticket is before its start, or postdated and never
	// validated.
	ErrNotYetValid = errors.New("not yet valid")
	// ErrMismatch: authenticator and ticket name different clients.
	ErrMismatch = errors.New("ticket and authenticator do not match")
	// ErrForeignRealm: the client's realm is not accepted.
	ErrForeignRealm = errors.New("foreign realm")
	// ErrNotAccepted: the ticket is good but for another service, an anonymous
	// client, or a path of realms that is not trusted.
	ErrNotAccepted = errors.New("not accepted")
	// ErrEnctype: an encryption type is not permitted.
	ErrEnctype = errors.New("encryption type not supported")
	// ErrNoIntegrity: the client did not ask for integrity, or asked for a kind
	// of context that cannot be given.
	ErrNoIntegrity = errors.New("the requested context flags are not supported")
	// ErrNotEstablished: the context has no keys: the handshake is not finished,
	// has failed, or the context was wiped.
	ErrNotEstablished = errors.New("context not established")
	// ErrRefused: the acceptor answered the initiator with an error.
	ErrRefused = errors.New("refused by the acceptor")
)

// Error codes of RFC 4120, section 7.5.9.
const (
	codePolicy         = 12
	codeEtypeNoSupport = 14
	codeBadIntegrity   = 31
	codeTicketExpired  = 32
	codeTicketNotYet   = 33
	codeRepeat         = 34
	codeNotUs          = 35
	codeBadMatch       = 36
	codeSkew           = 37
	codeModified       = 41
	codeBadKeyVersion  = 44
	codeNoKey          = 45
	codeMutualFailed   = 46
	codeBadChecksum    = 50
	codePathRefused    = 51
	codeGeneric        = 60
)

// Error tells why a handshake failed, in words for a log. It holds no key,
// ticket or token octets, and names from the network are escaped and cut.
type Error struct {
	Code        int32    // RFC 4120, section 7.5.9; 60 (generic) where none fits
	Reason      string   // what is wrong
	Fix         string   // what an administrator does about it; may be empty
	Service     string   // the service principal asked for; empty if unknown
	TicketKVNO  uint32   // key version that the ticket names; 0 if none
	KeytabKVNOs []uint32 // key versions in the keytab for service and encryption type, ascending
	Enctype     Enctype  // of the ticket; 0 if unknown
	err         error    // the sentinel
}

// Error returns the reason and, after "Fix:", the fix.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("kerberos: ")
	b.WriteString(e.Reason)
	if e.Fix != "" {
		b.WriteString(". Fix: ")
		b.WriteString(e.Fix)
	}
	return b.String()
}

// Unwrap returns the sentinel.
func (e *Error) Unwrap() error { return e.err }

func malformed(what string) *Error {
	return &Error{Code: codeGeneric, Reason: what, err: ErrMalformed}
}
