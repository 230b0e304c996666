package listener

import (
	"runtime"
	"time"

	"golang.org/x/time/rate"

	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
)

// All sources of UDP messages together may have this many times the amount of one source. A sender can forge any number of
// source addresses.
const (
	allFailures = 20
	allErrors   = 50
)

// suspectsAtOnce and suspectsWaiting bound the unsigned updates of sources that were sent too many errors.
const (
	suspectsAtOnce  = 1
	suspectsWaiting = 32
)

// tlsShare is the part of the handshakes at a time that may be of TLS: one in so many. A handshake of TLS takes much longer than
// one of GSS-TSIG that comes to nothing, and clients of plain DNS do not wait for a slot: the other processors are theirs.
const tlsShare = 2

// knownTime is how long the handshakes of a source do not wait for those of others, after one that a message has followed. So a
// flood of handshakes from many addresses does not keep earlier clients from theirs.
const knownTime = 10 * time.Minute

// limiter keeps what unauthenticated clients cost within Limits. All servers of an instance share one. It is safe for
// concurrent use.
//
// Whether a handshake fails, or a MAC is wrong, is known when the work is done. A source may have much of that done at a time while
// it has one token left, so all of it is charged, and nothing more is done for the source until it has made up for that.
type limiter struct {
	limits     Limits
	handshakes *semaphore
	suspects   *semaphore
	tlsWork    *semaphore // of TLS handshakes of sources that are not known
	tlsKnown   *semaphore // of those that are
	work       *workTime
	turns      *turns
	unproven   accounts // of UDP sources, which can be forged
	proven     accounts // of TCP sources, which the TCP handshake has proven
	failures   *rate.Limiter
	errors     *rate.Limiter
	tls        *ratelimit.Accounts // TLS handshakes that failed, or were made for nothing
	known      *ratelimit.Accounts // empty for a source that a message came from by TLS within knownTime
}

// accounts are what sources are charged for.
type accounts struct {
	failures  *ratelimit.Accounts // failed handshakes
	errors    *ratelimit.Accounts // error replies
	forgeries *ratelimit.Accounts // wrong MACs, by source and key
}

func newLimiter(limits Limits) *limiter {
	limits = limits.orDefaults()
	perSecond := float64(limits.HandshakeFailures) / 60
	open := func() accounts {
		return accounts{
			failures:  ratelimit.New(ratelimit.Config{PerSecond: perSecond, Burst: limits.HandshakeFailures, Now: limits.now}),
			errors:    ratelimit.New(ratelimit.Config{PerSecond: float64(limits.SourceErrors), Burst: 2 * limits.SourceErrors, Now: limits.now}),
			forgeries: ratelimit.New(ratelimit.Config{PerSecond: float64(limits.SourceErrors), Burst: 2 * limits.SourceErrors, Now: limits.now}),
		}
	}
	return &limiter{
		limits:     limits,
		handshakes: newSemaphore(limits.Handshakes, limits.HandshakeQueue),
		suspects:   newSemaphore(suspectsAtOnce, suspectsWaiting),
		tlsWork:    newSemaphore(max(1, limits.Handshakes/tlsShare), limits.HandshakeQueue),
		tlsKnown:   newSemaphore(max(1, limits.Handshakes/tlsShare), limits.HandshakeQueue),
		work:       newWorkTime(limits.now),
		turns:      newTurns(runtime.GOMAXPROCS(0)),
		unproven:   open(),
		proven:     open(),
		failures:   rate.NewLimiter(rate.Limit(allFailures*perSecond), allFailures*limits.HandshakeFailures),
		errors:     rate.NewLimiter(rate.Limit(allErrors*limits.SourceErrors), 2*allErrors*limits.SourceErrors),
		known:      ratelimit.New(ratelimit.Config{PerSecond: 1 / knownTime.Seconds(), Burst: 1, Now: limits.now}),
		tls:        ratelimit.New(ratelimit.Config{PerSecond: perSecond, Burst: limits.HandshakeFailures, Now: limits.now}),
	}
}

func (l *limiter) accounts(proven bool) *accounts {
	if proven {
		return &l.proven
	}
	return &l.unproven
}

// allowErrorReply charges a source for an error reply, and reports false if it was sent too many.
func (l *limiter) allowErrorReply(from ratelimit.Key, proven bool) bool {
	return l.accounts(proven).errors.Take(from) && (proven || l.errors.AllowN(l.limits.now(), 1))
}

// errorsExhausted reports whether a source was sent too many errors.
func (l *limiter) errorsExhausted(from ratelimit.Key, proven bool) bool {
	return l.accounts(proven).errors.Empty(from)
}

// handshakesLimited reports whether too many handshakes from a source have failed. By UDP all sources together are one as well.
func (l *limiter) handshakesLimited(from ratelimit.Key, proven bool) bool {
	return l.accounts(proven).failures.Empty(from) || !proven && l.failures.TokensAt(l.limits.now()) < 1
}

// recordHandshake charges a source for a handshake that has not made a context. One that has made a context takes a
// charge back, so that a negotiation of two rounds costs nothing in the end.
func (l *limiter) recordHandshake(from ratelimit.Key, proven, established bool) {
	failures := l.accounts(proven).failures
	if established {
		failures.Return(from)
		return
	}
	failures.Charge(from)
	if !proven {
		l.failures.ReserveN(l.limits.now(), 1)
	}
}

// recordForgery charges the holder of a key, at that source, for a wrong MAC.
func (l *limiter) recordForgery(from ratelimit.Key, key []byte, proven bool) {
	l.accounts(proven).forgeries.Charge(from.With(key))
}

// forgeriesLimited reports whether there were too many wrong MACs from a source with a key: from is both. Neither others with
// that key nor others at that address pay for it.
func (l *limiter) forgeriesLimited(from ratelimit.Key, proven bool) bool {
	return l.accounts(proven).forgeries.Empty(from)
}

// recordTLSFailure charges a source for a TLS handshake that has failed, or that no message has followed.
func (l *limiter) recordTLSFailure(from ratelimit.Key) { l.tls.Charge(from) }

// recordTLSMessage notes that a TLS handshake of a source was made for a message.
func (l *limiter) recordTLSMessage(from ratelimit.Key) { l.known.Take(from) }

// tlsSlots returns the semaphore for a TLS handshake of a source.
func (l *limiter) tlsSlots(from ratelimit.Key) *semaphore {
	if l.known.Empty(from) {
		return l.tlsKnown
	}
	return l.tlsWork
}

// tlsLimited reports whether there were too many of these.
func (l *limiter) tlsLimited(from ratelimit.Key) bool { return l.tls.Empty(from) }
