package listener

import (
	"golang.org/x/time/rate"

	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
)

// All sources of UDP messages together may have this many times of what one may: the number of sources that a sender can
// write into messages has no end.
const (
	allFailures = 20
	allErrors   = 50
)

// suspectsAtOnce and suspectsWaiting bound the unsigned updates of sources that have been told too many errors.
const (
	suspectsAtOnce  = 1
	suspectsWaiting = 32
)

// limiter keeps what unauthenticated clients cost within Limits. All servers of an instance share one. It is safe for concurrent use.
type limiter struct {
	limits     Limits
	handshakes *semaphore
	suspects   *semaphore
	unproven   accounts // of addresses that anybody can write into a UDP message
	proven     accounts // of addresses that the handshake of TCP has proven
	failures   *rate.Limiter
	errors     *rate.Limiter
}

// accounts are what sources are charged for.
type accounts struct {
	failures  *ratelimit.Accounts // failed handshakes
	errors    *ratelimit.Accounts // errors told
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
		unproven:   open(),
		proven:     open(),
		failures:   rate.NewLimiter(rate.Limit(allFailures*perSecond), allFailures*limits.HandshakeFailures),
		errors:     rate.NewLimiter(rate.Limit(allErrors*limits.SourceErrors), 2*allErrors*limits.SourceErrors),
	}
}

func (g *limiter) accounts(proven bool) *accounts {
	if proven {
		return &g.proven
	}
	return &g.unproven
}

// allowErrorReply charges a source for an error that it is told, and reports false when it has been told too many.
func (g *limiter) allowErrorReply(from ratelimit.Key, proven bool) bool {
	return g.accounts(proven).errors.Take(from) && (proven || g.errors.AllowN(g.limits.now(), 1))
}

// errorsExhausted reports whether a source has been told too many errors.
func (g *limiter) errorsExhausted(from ratelimit.Key, proven bool) bool {
	return g.accounts(proven).errors.Empty(from)
}

// handshakesLimited reports whether too many handshakes from a source have failed. By UDP all sources together are one as well.
func (g *limiter) handshakesLimited(from ratelimit.Key, proven bool) bool {
	return g.accounts(proven).failures.Empty(from) || !proven && g.failures.TokensAt(g.limits.now()) < 1
}

// recordHandshake charges a source for a handshake that has not made a context. One that has makes up for another that has not, so
// that a negotiation of two rounds costs nothing in the end.
func (g *limiter) recordHandshake(from ratelimit.Key, proven, established bool) {
	failures := g.accounts(proven).failures
	if established {
		failures.Return(from)
		return
	}
	failures.Take(from)
	if !proven {
		g.failures.AllowN(g.limits.now(), 1)
	}
}

// recordForgery charges the holder of a key, at that source, for a wrong MAC.
func (g *limiter) recordForgery(from ratelimit.Key, key []byte, proven bool) {
	g.accounts(proven).forgeries.Take(from.With(key))
}

// forgeriesLimited reports whether there were too many wrong MACs of that key from that source. Neither others with that key nor
// others at that address pay for it.
func (g *limiter) forgeriesLimited(from ratelimit.Key, key []byte, proven bool) bool {
	return g.accounts(proven).forgeries.Empty(from.With(key))
}
