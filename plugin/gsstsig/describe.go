package gsstsig

import (
	"strconv"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/administration"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/event"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// auditRecords and auditNotes are how many records and notes of one update an event has; the rest are counted.
const (
	auditRecords = 8
	auditNotes   = 8
)

// auditName, auditData and auditText are how many octets of a name, of a record's data and of a text from a message an event
// has.
const (
	auditName = 128
	auditData = 256
	auditText = 512
)

// cut returns the beginning of a text that is longer than most.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// asked describes an update section, with or without the values of its records.
func asked(update []dns.RR, values bool) event.Records {
	first := update[:min(auditRecords, len(update))]
	list := make([]event.Record, len(first))
	for i, rr := range first {
		h := rr.Header()
		r := event.Record{Sign: '+', Name: cut(h.Name, auditName), TTL: h.Ttl, Type: dnswire.TypeText(h.Rrtype)}
		if h.Class != dns.ClassINET {
			r.Sign = '-'
		}
		if values && h.Class != dns.ClassANY {
			if record, err := zone.RecordOf(rr); err == nil {
				r.Data = dataText(record.Type, record.Data)
			}
		}
		list[i] = r
	}
	return event.Records{List: list, More: len(update) - len(first)}
}

// changed describes the records that a zone lost and got. The SOA record is left out if its serial alone has changed: the event
// has the serials.
func changed(lost, got []store.Record) (removed, added event.Records) {
	lost, got = administration.WithoutSerial(lost, got)
	return signed('-', lost), signed('+', got)
}

func signed(sign byte, records []store.Record) event.Records {
	if len(records) == 0 {
		return event.Records{}
	}
	first := records[:min(auditRecords, len(records))]
	list := make([]event.Record, len(first))
	for i := range first {
		r := &first[i]
		list[i] = event.Record{Sign: sign, TTL: r.TTL, Type: dnswire.TypeText(r.Type), Data: dataText(r.Type, r.Data)}
		if i > 0 && first[i-1].Name == r.Name {
			list[i].Name = list[i-1].Name
		} else {
			list[i].Name = cut(dnswire.NameText([]byte(r.Name)), auditName)
		}
	}
	return event.Records{List: list, More: len(records) - len(first)}
}

// dataText returns the beginning of a record's data as text. It is for reading only: [dnswire.AppendTextOrGeneric] would read
// it back, which takes several times as long.
func dataText(rrtype uint16, data []byte) string {
	text, ok := dnswire.AppendText(make([]byte, 0, 64), rrtype, data)
	if !ok {
		text = dnswire.AppendGeneric(text[:0], data)
	}
	return cut(string(text), auditData)
}

func rcodeName(rcode int) string {
	if name, ok := dns.RcodeToString[rcode]; ok {
		return name
	}
	return "RCODE" + strconv.Itoa(rcode)
}
