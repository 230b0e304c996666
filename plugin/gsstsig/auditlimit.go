package gsstsig

import (
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// updateLines bounds the lines about updates: anyone with a ticket can cause as many as the server answers, and a log that
// fills the disk stops the database. Lines about updates that changed something are what an administrator looks for. Their
// bound is above what a busy DHCP server needs.
var updateLines = newLineLimit(lineLimitConfig{
	changes: ratelimit.Config{PerSecond: 1000, Burst: 5000},
	others:  ratelimit.Config{PerSecond: 20, Burst: 100},
	all:     rate.NewLimiter(200, 1000),
	after:   func(d time.Duration, f func()) { time.AfterFunc(d, f) },
})

const (
	// leftOutInterval is the time from the first line that is left out to the line that says how many were.
	leftOutInterval = 10 * time.Second
	// leftOutIdentities is how many identities such lines name at a time. The others are counted together.
	leftOutIdentities = 16
)

type lineLimitConfig struct {
	changes, others ratelimit.Config // by identity: updates that changed something, and others
	all             *rate.Limiter    // all others together
	after           func(time.Duration, func())
}

// lineLimit limits the lines about updates by identity, and counts those that it does not permit. It is safe for concurrent
// use.
type lineLimit struct {
	changes, others *ratelimit.Accounts
	all             *rate.Limiter
	after           func(time.Duration, func())

	mu      sync.Mutex
	leftOut map[string]int // by identity; not empty while a report is due
}

// otherIdentities stands for the identities beyond leftOutIdentities.
const otherIdentities = "others"

func newLineLimit(c lineLimitConfig) *lineLimit {
	return &lineLimit{
		changes: ratelimit.New(c.changes), others: ratelimit.New(c.others), all: c.all, after: c.after,
		leftOut: make(map[string]int),
	}
}

// allow reports whether a line about an update may be written. report is called later with the number of lines of an
// identity that were left out.
func (l *lineLimit) allow(id policy.Identity, changed bool, report func(identity string, lines int)) bool {
	var source [128]byte
	key := ratelimit.Key{}.With(appendSource(source[:0], &id))
	if changed && l.changes.Take(key) || !changed && l.others.Take(key) && l.all.Allow() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.leftOut) == 0 {
		l.after(leftOutInterval, func() { l.report(report) })
	}
	name := cut(id.String(), auditName)
	if _, ok := l.leftOut[name]; !ok && len(l.leftOut) >= leftOutIdentities {
		name = otherIdentities
	}
	l.leftOut[name]++
	return false
}

// report reports the identities in the order of their names, and sets the counts to zero.
func (l *lineLimit) report(report func(identity string, lines int)) {
	l.mu.Lock()
	leftOut := l.leftOut
	l.leftOut = make(map[string]int)
	l.mu.Unlock()
	names := make([]string, 0, len(leftOut))
	for name := range leftOut {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	for _, name := range names {
		report(name, leftOut[name])
	}
}
