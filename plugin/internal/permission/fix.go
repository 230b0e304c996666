package permission

import (
	"strings"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// causeRealm is the cause of a refusal at the handshake, which no update gets as far as.
const causeRealm = "realm"

// A Refusal is an update that is not permitted.
type Refusal struct {
	// Cause is that of the zone's decision.
	Cause string
	// Zone is the name of the zone, and Name the one that the refusal is about, if it is about one.
	Zone, Name string
	// Identity is who signed, as the log writes it, if Signed.
	Identity string
	Signed   bool
}

// Fix returns what an administrator can do about a refusal, or "".
func (r Refusal) Fix() string {
	switch r.Cause {
	case policy.CauseNone:
		return "if clients are to update the zone, write \"updates secure\" in its gsstsig block"
	case policy.CauseUnsigned:
		return "nothing, if a signed update of the client follows: most clients try without a signature first. " +
			"Else have the client sign, for example by nsupdate -g with a Kerberos ticket"
	case policy.CauseDenied:
		return "change the deny line if the client is right: the first rule that matches decides"
	case policy.CauseNoRule:
		return "if the client is right, add a grant line for it; \"coredns gsstsig may\" shows which rule decides"
	case policy.CauseOwned:
		return "nothing, if the name is the other client's. If it is to be this one's: " + r.ownCommand() + ". " +
			"If a name without records is to be free for everyone: coredns gsstsig release " + r.nameWord()
	case policy.CauseBelow:
		return "nothing, if the name above is rightly another's. If the client is to have the name: add a record there by coredns gsstsig edit " + r.Zone +
			", and give it away: " + r.ownCommand() + ". Or grant the client the name by a rule other than owner, such as name or subdomain"
	case policy.CauseAdministrator:
		return "if the client is to have the name: " + r.ownCommand() + ". If any client may create it: delete its records, by coredns gsstsig edit " + r.Zone
	case policy.CauseProtected:
		return "if the client is right, grant it the name by a rule other than owner, such as name or zonesub"
	case policy.CauseCount:
		return "raise the number of records in the rule's type list, or have the client delete its former records"
	case zone.CauseFrozen:
		return "thaw the zone when the work on it is done: coredns gsstsig thaw " + r.Zone
	case causeRealm:
		return "correct the realm, whose letters have the right case, or add it to the property realm"
	}
	return ""
}

// ownCommand is the command that gives the name to the client, as far as both can be written in a command line.
func (r Refusal) ownCommand() string {
	principal := "PRINCIPAL"
	if r.Signed {
		if word, ok := shellWord(strings.TrimPrefix(r.Identity, "key ")); ok {
			principal = word
		}
	}
	return "coredns gsstsig own " + r.nameWord() + " " + principal
}

// nameWord is the name as a word of a command line.
func (r Refusal) nameWord() string {
	if word, ok := shellWord(r.Name); ok {
		return word
	}
	return "NAME"
}

// maxWord is the longest text of a client that becomes a word of a command: longer ones may have been cut.
const maxWord = 128

// shellWord makes a text from a client a word of a command line. It is false for a text that was cut, and for one with characters
// that no name of a machine or user has: what an administrator copies must not be what a client wants.
func shellWord(text string) (word string, ok bool) {
	if len(text) > maxWord {
		return "", false
	}
	quoted := false
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("@._/:", c) >= 0, c == '-' && i > 0:
		case c == '$', c == '*', c == '#', c == '+', c == ',', c == '=', c == '~':
			quoted = true
		default:
			return "", false
		}
	}
	if quoted {
		text = "'" + text + "'"
	}
	return text, text != ""
}
