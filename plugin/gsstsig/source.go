package gsstsig

import (
	"hash/maphash"
	"strconv"

	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// anonymousSources is how many sources of updates all unsigned ones together are at most. Their
// addresses can be forged, so a source for each would be as many as the sender likes, and all who
// sign would wait behind them.
const anonymousSources = 16

var sourceSeed = maphash.MakeSeed()

// sourceOf returns who shares a place in a zone's queue: a principal, a key, or some of the networks
// that unsigned updates come from.
func sourceOf(id policy.Identity) string {
	switch id.Kind {
	case policy.Kerberos:
		return "principal " + id.Name
	case policy.Static:
		return "key " + id.Name
	}
	return "anonymous " + strconv.FormatUint(maphash.Comparable(sourceSeed, ratelimit.Of(id.Client))%anonymousSources, 10)
}
