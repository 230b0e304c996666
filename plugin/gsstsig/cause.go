package gsstsig

import (
	"errors"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/event"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/permission"
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

// fixNotAuth is what to do where clients update a zone that this server does not have. Most often it is a reverse zone.
const fixNotAuth = "add the zone to a server block with gsstsig, or have the client update a zone that this server has"

// fixFor returns what an administrator can do about a refusal, or "".
func fixFor(cause string, e *event.Update) string {
	switch cause {
	case causeLimit:
		return "if the update is right, raise the limit that the error names"
	case causeQueue:
		return "nothing, if it was a burst: clients try again. Else find out which client sends that many updates, or raise the limit"
	case causeListener:
		return "have the client send updates by plain DNS or by DNS over TLS"
	case causeContext:
		return "give both server blocks the same keytab and the same properties for accepting tickets"
	}
	if e.Rcode == dns.RcodeToString[dns.RcodeNotAuth] {
		return fixNotAuth
	}
	return permission.Refusal{Cause: cause, Zone: e.Zone, Name: e.Name, Identity: e.Identity, Signed: e.Signed}.Fix()
}
