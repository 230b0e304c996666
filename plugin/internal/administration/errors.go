package administration

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// failure returns the error of a transaction, nil if it was done.
func failure(z Zone, r zone.Result) error {
	if r.Rcode == dns.RcodeSuccess {
		return nil
	}
	switch r.Rcode {
	case dns.RcodeNameError, dns.RcodeYXDomain, dns.RcodeYXRrset, dns.RcodeNXRrset: // RFC 2136 section 3.2
		return fmt.Errorf("zone %s: a prerequisite is not met (%s)", z.Origin(), dns.RcodeToString[r.Rcode])
	}
	err := fmt.Errorf("zone %s: %s: %w", z.Origin(), dns.RcodeToString[r.Rcode], Explain(r.Err))
	switch r.Decision.Cause {
	case zone.CauseFrozen:
		return diagnose.WithFix(err, "wait until the zone has moved, and repeat this where it is then; or give the move up: coredns gsstsig thaw -all %s", z.Origin())
	case policy.CauseDenied:
		return diagnose.WithFix(fmt.Errorf("%w, by %s", err, r.Decision.Rule), "change the rule in the Corefile, if the administrator is to do this")
	}
	return err
}

// ExplainThaw adds to the error of thawing a zone what the administrator can do.
func ExplainThaw(origin string, err error) error {
	if errors.Is(err, zone.ErrSealed) {
		return diagnose.WithFix(fmt.Errorf("zone %s: %w", origin, err),
			"if it moves by \"coredns gsstsig migrate\", wait until it has; to give that up, or end \"freeze -all\": coredns gsstsig thaw -all %s", origin)
	}
	return err
}

// limitNames are the limits of a zone by the words of the Corefile.
var limitNames = map[string]string{
	"UpdateRecords": "update-records", "UpdateOctets": "update-octets", "RecordsPerSet": "rrset-records", "TypesPerName": "name-types",
	"ZoneRecords": "zone-records", "ZoneOctets": "zone-octets", "NonTerminals": "update-non-terminals",
	"OwnerNames": "owner-names", "OwnerRecords": "owner-records", "OwnerOctets": "owner-octets", "OwnerTombstones": "owner-tombstones",
	"Queue": "queue", "QueueOctets": "queue-octets",
}

// Explain adds what the administrator can do to the error of an update that exceeds a limit, or that the disk is in the way of. It
// names the limit by the word of the Corefile.
func Explain(err error) error {
	var limit *zone.LimitError
	if errors.As(err, &limit) {
		named := *limit
		named.Limit = limitNames[limit.Limit]
		return diagnose.WithFix(&named, "if the update is right, raise it in the gsstsig block: limit %s NUMBER", named.Limit)
	}
	for _, reason := range []struct {
		errno syscall.Errno
		fix   string
	}{
		{syscall.ENOSPC, "free space on the disk"},
		{syscall.EDQUOT, "raise the disk quota of the user that the server runs as, or free space"},
		{syscall.EROFS, "mount the file system for writing"},
		{syscall.EACCES, "let the user that the server runs as write to the directory and to the files in it"},
		{syscall.EIO, "look for errors of the disk in the system's log"},
	} {
		if errors.Is(err, reason.errno) {
			return diagnose.WithFix(err, "%s; updates continue by themselves then", reason.fix)
		}
	}
	return err
}
