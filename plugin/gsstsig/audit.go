package gsstsig

import (
	"cmp"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/miekg/dns"
	"golang.org/x/time/rate"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/administration"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/event"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/listener"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

var log = clog.NewWithPlugin(pluginName)

// failures bounds the lines about failed handshakes: any client can cause those, and a log that fills the disk stops the
// database. Suppressed lines are counted in the next one.
var failures = limitedLog{limiter: rate.NewLimiter(20, 200)}

// badSignatures bounds the lines about signatures that do not verify. They need no ticket and no handshake, so they have a
// limit of their own: they must not displace the lines about failed handshakes.
var badSignatures = limitedLog{limiter: rate.NewLimiter(5, 50)}

// unshared bounds the lines about contexts that the shared table did not take: while it is out of reach it takes none.
var unshared = limitedLog{limiter: rate.NewLimiter(1.0/60, 3)}

// tlsFailures bounds the lines about TLS handshakes that fail. Everyone can cause them.
var tlsFailures = limitedLog{limiter: rate.NewLimiter(1, 20)}

// limitedLog limits the rate of log lines.
type limitedLog struct {
	limiter    *rate.Limiter
	suppressed atomic.Uint64
}

// allow reports whether a line may be written, and how many were suppressed since the last one.
func (l *limitedLog) allow() (suppressed uint64, ok bool) {
	if !l.limiter.Allow() {
		l.suppressed.Add(1)
		return 0, false
	}
	return l.suppressed.Swap(0), true
}

// auditor counts what happens, logs it, and keeps it for those who want to see recent events. An event is described only if it
// is logged or kept.
type auditor struct {
	recent   *event.Recent
	watchers atomic.Int32 // blocks whose recent events can be seen
}

func newAuditor() *auditor { return &auditor{recent: event.NewRecent(event.Config{})} }

// keeps reports whether anyone can see recent events.
func (a *auditor) keeps() bool { return a.watchers.Load() > 0 }

// update counts, logs and keeps an update of a zone that a server block has. Lines about a refused one have the level of the
// block.
func (a *auditor) update(origin string, id policy.Identity, from sender, r *dns.Msg, result zone.Result, refused corefile.LogLevel) {
	rcode := rcodeName(result.Rcode)
	updates.WithLabelValues(origin, from.transport, rcode).Inc()
	if result.Refreshed > 0 {
		refreshes.WithLabelValues(origin).Add(float64(result.Refreshed))
	}
	cause := causeOf(result)
	if cause != "" {
		refusals.WithLabelValues(origin, cause).Inc()
	}

	// The administrator gets the error of a request that failed as the answer to it. It is not kept among those of clients.
	failed := id.Kind == policy.Administrator && result.Rcode != dns.RcodeSuccess
	logged, kept := updateLines.allow(id, result.Changed, reportLeftOut), a.keeps() && !failed
	if !logged && !kept {
		return
	}
	e := describeUpdate(id, from, r, result, kept || !result.Changed)
	e.Zone, e.Rcode, e.Cause = origin, rcode, cause
	e.Fix = cmp.Or(fixFor(cause, &e), e.Fix)
	if logged {
		level := corefile.LogInfo
		switch result.Rcode {
		case dns.RcodeServerFailure:
			level = corefile.LogError
		case dns.RcodeRefused:
			level = refused
		}
		updateLine(&e).write(level)
	}
	if kept {
		a.recent.AddUpdate(&e)
	}
}

// notAuthoritative counts, logs and keeps an update of a zone that no server block has.
func (a *auditor) notAuthoritative(server string, remote net.Addr, transaction *gsstsig.Transaction, r *dns.Msg) {
	rcode := rcodeName(dns.RcodeNotAuth)
	from := senderAt(server, remote)
	updates.WithLabelValues("", from.transport, rcode).Inc() // clients choose the name of the zone
	refusals.WithLabelValues("", causeNotAuth).Inc()
	id := identity(transaction, remote)
	logged, kept := updateLines.allow(id, false, reportLeftOut), a.keeps()
	if !logged && !kept {
		return
	}
	e := describeUpdate(id, from, r, zone.Result{Decision: zone.Decision{Reason: "no server block of this address has the zone"}}, true)
	e.Zone, e.Rcode, e.Cause, e.Fix = cut(r.Question[0].Name, auditName), rcode, causeNotAuth, fixNotAuth
	if logged {
		updateLine(&e).write(corefile.LogInfo)
	}
	if kept {
		a.recent.AddElsewhere(&e)
	}
}

// describeUpdate makes the event of an update, but for zone, rcode, cause and the fix of a refusal. Values in the update section
// are left out unless they are asked for: the line about a change has those that were removed and added.
func describeUpdate(id policy.Identity, from sender, r *dns.Msg, result zone.Result, values bool) event.Update {
	removed, added := changed(result.Removed, result.Added)
	e := event.Update{
		Time: time.Now(), Client: from.address, Transport: from.transport, Identity: cut(id.String(), auditName), Signed: id.Kind != policy.Anonymous,
		Before: result.Before, After: result.After,
		Asked: asked(r.Ns, values), Removed: removed, Added: added,
		Rule: cut(result.Decision.Rule, auditText), Reason: cut(result.Decision.Reason, auditText), Name: cut(result.Decision.Name, auditName),
	}
	if result.Err != nil && (result.Decision.Allow || result.Decision.Reason == "") {
		f := diagnose.FromError("", administration.Explain(result.Err))
		e.Error, e.Fix = cut(f.Problem, auditText), f.Fix
	}
	notes := result.Decision.Notes
	for _, n := range notes[:min(auditNotes, len(notes))] {
		e.Notes = append(e.Notes, cut(n, auditText))
	}
	if more := len(notes) - auditNotes; more > 0 {
		e.Notes = append(e.Notes, strconv.Itoa(more)+" more")
	}
	return e
}

// updateLine is the line about an update. Where it has the records that were removed and added with their values, the update section
// has names and types only.
func updateLine(e *event.Update) *logLine {
	l := newLogLine("update")
	l.zone(e.Zone)
	if e.Client.IsValid() {
		l.client(e.Client)
	}
	l.word("transport", e.Transport)
	l.quoted("identity", e.Identity)
	l.word("rcode", e.Rcode)
	if e.Cause != causeNotAuth {
		l.serials(e.Before, e.After)
	}
	l.records("records", e.Asked, true, !e.Changed())
	l.records("removed", e.Removed, false, true)
	l.records("added", e.Added, false, true)
	l.quotedIfAny("rule", e.Rule)
	l.quotedIfAny("reason", e.Reason)
	if e.Cause != "" {
		l.word("cause", e.Cause)
	}
	l.quotedIfAny("error", e.Error)
	l.quotedEach("note", e.Notes)
	l.quotedIfAny("fix", e.Fix)
	return l
}

// reportLeftOut logs how many lines about updates of an identity were left out.
func reportLeftOut(identity string, lines int) {
	l := newLogLine("update")
	l.quoted("identity", identity)
	l.number("lines_left_out", uint64(lines))
	l.write(corefile.LogWarning)
}

// handshake counts a TKEY exchange, and logs and keeps one that failed with the reason in Kerberos's terms and the fix.
func (a *auditor) handshake(e gsstsig.Event) {
	handshakes.WithLabelValues(string(e.Result)).Inc()
	if e.NotShared != nil {
		a.notShared(e)
	}
	switch e.Result {
	case gsstsig.ResultEstablished, gsstsig.ResultContinued, gsstsig.ResultDeleted:
		log.Debugf("handshake result=%s client=%s key=%q peer=%q service=%q algorithm=%s enctype=%s",
			e.Result, e.Client, e.KeyName, e.Peer, e.Service, e.Algorithm, e.Enctype)
		return
	}
	a.failure(&failures, e.Client, func() event.Failure { return describeHandshake(e) })
}

// notShared counts a context that is good at this server alone, and says so where the administrator can do something about it.
func (a *auditor) notShared(e gsstsig.Event) {
	if errors.Is(e.NotShared, krb5.ErrEnctype) {
		notShared.WithLabelValues("rc4").Inc()
		return
	}
	notShared.WithLabelValues("table").Inc()
	if suppressed, ok := unshared.allow(); ok {
		l := newLogLine("context not shared")
		l.client(e.Client)
		l.quoted("key", cut(e.KeyName, auditName))
		l.quoted("peer", cut(e.Peer, auditName))
		l.quoted("reason", cut(e.NotShared.Error(), auditText))
		l.quoted("fix", "see whether this server reaches etcd; the context is good here alone")
		if suppressed > 0 {
			l.number("unlogged_contexts", suppressed)
		}
		l.write(corefile.LogWarning)
	}
}

func describeHandshake(e gsstsig.Event) event.Failure {
	f := event.Failure{
		Kind: event.Handshake, Result: string(e.Result), Client: e.Client, Key: cut(e.KeyName, auditName), Peer: cut(e.Peer, auditName),
		Service: cut(e.Service, auditName), TicketKVNO: e.TicketKVNO, KeytabKVNOs: e.KeytabKVNOs,
		Reason: cut(e.Reason, auditText), Fix: e.Fix,
	}
	if e.Enctype != 0 {
		f.Enctype = e.Enctype.String()
	}
	return f
}

// signature counts, logs and keeps a message whose TSIG record did not verify. No plugin gets such a message, so that nothing
// else would log it.
func (a *auditor) signature(client netip.AddrPort, failure *gsstsig.VerifyError) {
	verificationFailures.WithLabelValues(failure.Kind.String()).Inc()
	a.failure(&badSignatures, client, func() event.Failure { return describeSignature(client, failure) })
}

// tlsFailed counts and logs a TLS handshake that has failed, and logs a transfer that is refused for what TLS lacks.
func (a *auditor) tlsFailed(client netip.AddrPort, err error) {
	if !errors.Is(err, listener.ErrTransfer) {
		tlsHandshakeFailures.Inc()
	}
	suppressed, logged := tlsFailures.allow()
	if !logged {
		return
	}
	l := newLogLine("tls")
	l.client(client)
	l.quoted("reason", cut(err.Error(), auditText))
	if suppressed > 0 {
		l.number("unlogged_failures", suppressed)
	}
	l.quotedIfAny("fix", tlsFix(err))
	l.write(corefile.LogWarning)
}

// tlsFix is what to do about a TLS handshake that has failed.
func tlsFix(err error) string {
	var alert tls.AlertError
	var verification *tls.CertificateVerificationError
	text := err.Error()
	switch {
	case errors.Is(err, listener.ErrTransfer):
		return "update the secondary server, or have it use TLS 1.3 and offer dot, which RFC 9103 demands"
	case errors.As(err, &alert), errors.Is(err, listener.ErrHandshakeClosed), strings.Contains(text, "remote error"),
		strings.Contains(text, "bad record MAC"): // OpenSSL's clients refuse a certificate by an alert without encryption
		return "if the client does not trust the server: give it the authority that has signed the certificate, and the name in the certificate"
	case strings.Contains(text, "application protocol"):
		return "have the client offer the protocol dot (ALPN), or none"
	case errors.As(err, &verification), strings.Contains(text, "client didn't provide a certificate"):
		return "give the client a certificate of the authority that the plugin tls names, or change client_auth there"
	case strings.Contains(text, "does not look like a TLS handshake"):
		return "have the client speak TLS, or send plain DNS to another port"
	case strings.Contains(text, "unsupported versions"):
		return "update the client: it does not know TLS 1.2 or later"
	}
	return ""
}

func describeSignature(client netip.AddrPort, failure *gsstsig.VerifyError) event.Failure {
	f := event.Failure{
		Kind: event.Signature, Result: failure.Kind.String(), Client: client, Key: cut(failure.KeyName, auditName),
		Algorithm: cut(failure.Algorithm, auditName), Fix: failure.Fix(),
	}
	if failure.Err != nil {
		f.Reason = cut(failure.Err.Error(), auditText)
	}
	return f
}

// failure logs and keeps a failure, if there is room for it in the log or among the recent ones of its source.
func (a *auditor) failure(limit *limitedLog, client netip.AddrPort, describe func() event.Failure) {
	suppressed, logged := limit.allow()
	kept := a.keeps() && a.recent.WouldAdd(client.Addr())
	if !logged && !kept {
		return
	}
	f := describe()
	f.Time = time.Now()
	if logged {
		l := failureLine(&f)
		if suppressed > 0 {
			l.number("unlogged_failures", suppressed)
		}
		l.write(corefile.LogWarning)
	}
	if kept {
		a.recent.AddFailure(&f)
	}
}

// failureLine is the line about a failed handshake or signature.
func failureLine(f *event.Failure) *logLine {
	l := newLogLine(string(f.Kind))
	l.word("result", f.Result)
	l.client(f.Client)
	if f.Kind == event.Handshake {
		l.quoted("key", f.Key)
		l.quotedIfAny("peer", f.Peer)
		l.quotedIfAny("service", f.Service)
		if f.Enctype != "" {
			l.word("enctype", f.Enctype)
		}
		if f.TicketKVNO != 0 {
			l.number("kvno", uint64(f.TicketKVNO))
		}
		if len(f.KeytabKVNOs) > 0 {
			l.numbers("keytab_kvno", f.KeytabKVNOs)
		}
		l.quoted("reason", f.Reason)
	} else {
		if f.Key != "" {
			l.quoted("key", f.Key)
			l.quoted("algorithm", f.Algorithm)
		}
		l.quotedIfAny("reason", f.Reason)
	}
	l.quotedIfAny("fix", f.Fix)
	return l
}
