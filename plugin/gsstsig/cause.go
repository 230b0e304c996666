package gsstsig

import (
	"errors"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/event"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// The causes of refusals beside those of the package policy.
const (
	causeLimit    = "limit"    // the update exceeds a limit
	causeQueue    = "queue"    // too many updates wait
	causeListener = "listener" // it came by DoH, DoQ or gRPC
	causeContext  = "context"  // this block would not have accepted the client
	causeNotAuth  = "not-authoritative"
)

// causes are all causes that the metric of refusals counts.
var causes = append(policy.Causes(), causeLimit, causeQueue, causeListener, causeContext, zone.CauseFrozen)

// causeOf returns why an update was refused, in a word. It is empty for an update that was not refused, and for a request of the
// administrator that does not fit the zone, such as the release of a name without an owner.
func causeOf(result zone.Result) string {
	if result.Rcode != dns.RcodeRefused {
		return ""
	}
	if result.Decision.Cause != "" {
		return result.Decision.Cause
	}
	var limit *zone.LimitError
	if !errors.As(result.Err, &limit) {
		return ""
	}
	if limit.Limit == "Queue" || limit.Limit == "QueueOctets" {
		return causeQueue
	}
	return causeLimit
}

// ownCommand is the command that gives the name that was refused to the client, as far as both can be written in a command line.
func ownCommand(e *event.Update) string {
	principal := "PRINCIPAL"
	if e.Signed {
		if word, ok := shellWord(strings.TrimPrefix(e.Identity, "key ")); ok {
			principal = word
		}
	}
	return "coredns gsstsig own " + commandName(e) + " " + principal
}

// commandName is the name that was refused, as a word of a command line.
func commandName(e *event.Update) string {
	if word, ok := shellWord(e.Name); ok {
		return word
	}
	return "NAME"
}

// shellWord makes a text from a client a word of a command line. It is false for a text that was cut, and for one with characters
// that no name of a machine or user has: what an administrator copies must not be what a client wants.
func shellWord(text string) (word string, ok bool) {
	if len(text) > auditName {
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

// fixNotAuth is what to do where clients update a zone that this server does not have. Most often it is a reverse zone.
const fixNotAuth = "add the zone to a server block with gsstsig, or have the client update a zone that this server has"

// fixFor returns what an administrator can do about a refusal, or "".
func fixFor(cause string, e *event.Update) string {
	switch cause {
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
		return "nothing, if the name is the other client's. If it is to be this one's: " + ownCommand(e) + ". " +
			"If a name without records is to be free for everyone: coredns gsstsig release " + commandName(e)
	case policy.CauseAdministrator:
		return "if the client is to have the name: " + ownCommand(e) + ". If any client may create it: delete its records, by coredns gsstsig edit " + e.Zone
	case policy.CauseProtected:
		return "if the client is right, grant it the name by a rule other than owner, such as name or zonesub"
	case policy.CauseCount:
		return "raise the number of records in the rule's type list, or have the client delete its former records"
	case causeLimit:
		return "if the update is right, raise the limit that the error names"
	case causeQueue:
		return "nothing, if it was a burst: clients try again. Else find out which client sends that many updates, or raise the limit"
	case causeListener:
		return "have the client send updates by plain DNS or by DNS over TLS"
	case zone.CauseFrozen:
		return "thaw the zone when the work on it is done: coredns gsstsig thaw " + e.Zone
	case causeContext:
		return "give both server blocks the same keytab and the same properties for accepting tickets"
	}
	if e.Rcode == dns.RcodeToString[dns.RcodeNotAuth] {
		return fixNotAuth
	}
	return ""
}
