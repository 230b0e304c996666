package gsstsig

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"

	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/miekg/dns"
	"golang.org/x/time/rate"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

var log = clog.NewWithPlugin(pluginName)

// auditRecords and auditNotes are how many records and notes of one update the log has; the rest are counted.
const (
	auditRecords = 8
	auditNotes   = 8
)

// failures bounds the lines about failed handshakes: any client can cause those, and a log that fills the disk stops the
// database. Suppressed lines are counted in the next one.
var failures = limitedLog{limiter: rate.NewLimiter(20, 200)}

// badSignatures bounds the lines about signatures that do not verify. They need no ticket and no handshake, so they have a
// limit of their own: they must not displace the lines about failed handshakes.
var badSignatures = limitedLog{limiter: rate.NewLimiter(5, 50)}

// limitedLog limits the rate of log lines.
type limitedLog struct {
	limiter    *rate.Limiter
	suppressed atomic.Uint64
}

// allow reports whether a line may be written, and what to append to it about those that were suppressed.
func (l *limitedLog) allow() (note string, ok bool) {
	if !l.limiter.Allow() {
		l.suppressed.Add(1)
		return "", false
	}
	if n := l.suppressed.Swap(0); n > 0 {
		note = fmt.Sprintf(" unlogged_failures=%d", n)
	}
	return note, true
}

// audit logs an update, applied or refused, in one line and counts it.
func (h *Handler) audit(z *zone.Zone, id policy.Identity, client netip.AddrPort, r *dns.Msg, result zone.Result) {
	rcode := rcodeName(result.Rcode)
	updates.WithLabelValues(z.Origin(), rcode).Inc()

	if !updateLines.allow(id, result.Changed, reportLeftOut) {
		return
	}
	line := appendUpdate(make([]byte, 0, 512), z.Origin(), client, id, rcode)
	line = append(line, " serial="...)
	line = strconv.AppendUint(line, uint64(result.Before), 10)
	line = append(line, "->"...)
	line = strconv.AppendUint(line, uint64(result.After), 10)
	line = appendQuoted(line, "records", describe(r.Ns))
	if result.Decision.Rule != "" {
		line = appendQuoted(line, "rule", cut(result.Decision.Rule, auditText))
	}
	if result.Decision.Reason != "" {
		line = appendQuoted(line, "reason", cut(result.Decision.Reason, auditText))
	}
	if result.Err != nil && (result.Decision.Allow || result.Decision.Reason == "") {
		line = appendQuoted(line, "error", cut(updateError(result.Err), auditText))
	}
	for i, n := range result.Decision.Notes {
		if i == auditNotes {
			line = appendQuoted(line, "note", fmt.Sprintf("%d more", len(result.Decision.Notes)-auditNotes))
			break
		}
		line = appendQuoted(line, "note", cut(n, auditText))
	}
	if result.Rcode == dns.RcodeNotAuth {
		line = appendQuoted(line, "fix", fixNotAuth)
	}

	switch result.Rcode {
	case dns.RcodeServerFailure:
		log.Error(string(line))
	default:
		log.Info(string(line))
	}
}

// reportLeftOut logs how many lines about updates of an identity were left out.
func reportLeftOut(identity string, lines int) {
	line := appendQuoted([]byte("update"), "identity", identity)
	log.Warning(string(strconv.AppendInt(append(line, " lines_left_out="...), int64(lines), 10)))
}

// appendUpdate adds the fields that all lines about updates begin with.
func appendUpdate(line []byte, zone string, client netip.AddrPort, id policy.Identity, rcode string) []byte {
	line = append(line, "update"...)
	line = appendField(line, "zone", zone)
	line = append(line, " client="...)
	line = client.AppendTo(line)
	line = appendField(line, "transport", transportName(id.TCP))
	line = appendQuoted(line, "identity", cut(id.String(), auditName))
	return appendField(line, "rcode", rcode)
}

// fixNotAuth is what to do where clients update a zone that this server does not have. Most often it is a reverse zone.
const fixNotAuth = "add the zone to a server block with gsstsig, or have the client update a zone that this server has"

// auditNotAuthoritative logs and counts an update of a zone that no server block has.
func auditNotAuthoritative(remote net.Addr, transaction *gsstsig.Transaction, r *dns.Msg) {
	rcode := rcodeName(dns.RcodeNotAuth)
	updates.WithLabelValues("", rcode).Inc() // clients choose the name of the zone
	id := identity(transaction, remote)
	if !updateLines.allow(id, false, reportLeftOut) {
		return
	}
	zone := cut(r.Question[0].Name, auditName)
	if strings.ContainsAny(zone, ` "\\`) {
		zone = strconv.Quote(zone) // it might look like other fields
	}
	line := appendUpdate(make([]byte, 0, 512), zone, source(remote), id, rcode)
	line = appendQuoted(line, "records", describe(r.Ns))
	line = appendQuoted(line, "reason", "no server block of this address has the zone")
	line = appendQuoted(line, "fix", fixNotAuth)
	log.Info(string(line))
}

// limitNames are the limits of a zone by the words of the Corefile.
var limitNames = map[string]string{
	"UpdateRecords": "update-records", "UpdateOctets": "update-octets", "RecordsPerSet": "rrset-records", "TypesPerName": "name-types",
	"ZoneRecords": "zone-records", "ZoneOctets": "zone-octets", "NonTerminals": "update-non-terminals",
	"OwnerNames": "owner-names", "OwnerRecords": "owner-records", "OwnerOctets": "owner-octets",
	"Queue": "queue", "QueueOctets": "queue-octets",
}

// updateError is the text of an update's error. It names an exceeded limit by the word of the Corefile.
func updateError(err error) string {
	var limit *zone.LimitError
	if !errors.As(err, &limit) {
		return err.Error()
	}
	named := *limit
	named.Limit = limitNames[limit.Limit]
	return named.Error()
}

// appendField adds a field whose value needs no quotes. Lines about updates are made without fmt, which BenchmarkAudit
// shows to take twice the time.
func appendField(line []byte, name, value string) []byte {
	line = append(line, ' ')
	line = append(line, name...)
	line = append(line, '=')
	return append(line, value...)
}

// appendQuoted adds a field whose value may contain any character.
func appendQuoted(line []byte, name, value string) []byte {
	return strconv.AppendQuote(appendField(line, name, ""), value)
}

// auditHandshake counts a TKEY exchange, and logs one that failed with the reason in Kerberos's terms and the fix.
func auditHandshake(e gsstsig.Event) {
	handshakes.WithLabelValues(string(e.Result)).Inc()
	switch e.Result {
	case gsstsig.ResultEstablished, gsstsig.ResultContinued, gsstsig.ResultDeleted:
		log.Debugf("handshake result=%s client=%s key=%q peer=%q service=%q algorithm=%s enctype=%s",
			e.Result, e.Client, e.KeyName, e.Peer, e.Service, e.Algorithm, e.Enctype)
		return
	}
	note, ok := failures.allow()
	if !ok {
		return
	}
	log.Warning(describeFailure(e) + note)
}

// describeFailure is the line about a handshake that failed.
func describeFailure(e gsstsig.Event) string {
	line := fmt.Sprintf("handshake result=%s client=%s key=%q", e.Result, e.Client, cut(e.KeyName, auditName))
	if e.Service != "" {
		line += fmt.Sprintf(" service=%q", cut(e.Service, auditName))
	}
	if e.Enctype != 0 {
		line += " enctype=" + e.Enctype.String()
	}
	if e.TicketKVNO != 0 {
		line += fmt.Sprintf(" kvno=%d", e.TicketKVNO)
	}
	if len(e.KeytabKVNOs) > 0 {
		line += " keytab_kvno=" + strings.Trim(strings.ReplaceAll(fmt.Sprint(e.KeytabKVNOs), " ", ","), "[]")
	}
	line += fmt.Sprintf(" reason=%q", cut(e.Reason, auditText))
	if e.Fix != "" {
		line += fmt.Sprintf(" fix=%q", e.Fix)
	}
	return line
}

// auditSignature counts and logs a message whose TSIG record did not verify. No plugin gets such a message, so that nothing
// else would log it.
func auditSignature(client netip.AddrPort, failure *gsstsig.VerifyError) {
	verificationFailures.WithLabelValues(failure.Kind.String()).Inc()
	if note, ok := badSignatures.allow(); ok {
		log.Warning(describeSignature(client, failure) + note)
	}
}

// describeSignature is the line about a message that did not verify.
func describeSignature(client netip.AddrPort, failure *gsstsig.VerifyError) string {
	line := fmt.Sprintf("signature result=%s client=%s", failure.Kind, client)
	if failure.KeyName != "" {
		line += fmt.Sprintf(" key=%q algorithm=%q", cut(failure.KeyName, auditName), cut(failure.Algorithm, auditName))
	}
	if failure.Err != nil {
		line += fmt.Sprintf(" reason=%q", cut(failure.Err.Error(), auditText))
	}
	if fix := failure.Fix(); fix != "" {
		line += fmt.Sprintf(" fix=%q", fix)
	}
	return line
}

// describe lists an update's records by sign, name and type, without their data: + adds, - deletes. Long names are cut.
func describe(updates []dns.RR) string {
	var s strings.Builder
	for i, rr := range updates {
		if i == auditRecords {
			fmt.Fprintf(&s, " and %d more", len(updates)-auditRecords)
			break
		}
		if i > 0 {
			s.WriteString(", ")
		}
		sign := "+"
		if rr.Header().Class != dns.ClassINET {
			sign = "-"
		}
		s.WriteString(sign)
		s.WriteString(cut(rr.Header().Name, auditName))
		s.WriteByte(' ')
		s.WriteString(dns.Type(rr.Header().Rrtype).String())
	}
	return s.String()
}

func rcodeName(rcode int) string {
	if name, ok := dns.RcodeToString[rcode]; ok {
		return name
	}
	return fmt.Sprintf("RCODE%d", rcode)
}

func transportName(tcp bool) string {
	if tcp {
		return "tcp"
	}
	return "udp"
}
