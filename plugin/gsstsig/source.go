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
	var buffer [128]byte
	return string(appendSource(buffer[:0], &id))
}

// appendSource appends what sourceOf returns.
func appendSource(to []byte, id *policy.Identity) []byte {
	switch id.Kind {
	case policy.Kerberos:
		return append(append(to, "principal "...), id.Name...)
	case policy.Static:
		return append(append(to, "key "...), id.Name...)
	case policy.Administrator:
		return append(to, policy.AdministratorName...)
	}
	return strconv.AppendUint(append(to, "anonymous "...), maphash.Comparable(sourceSeed, ratelimit.Of(id.Client))%anonymousSources, 10)
}
