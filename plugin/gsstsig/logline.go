package gsstsig

import (
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/event"
)

// logLine is a line of the log that is made of fields. In CoreDNS's text format they are name=value pairs in the message, in its
// JSON format members of the object. Text is made without fmt, which BenchmarkAudit shows to take twice the time.
type logLine struct {
	event string
	json  bool
	text  []byte
	attrs []slog.Attr
}

// textLines has lines in text form that were written, whose buffers are used again.
var textLines = sync.Pool{New: func() any { return &logLine{text: make([]byte, 0, 512)} }}

// maxTextLine is the size of the largest buffer that is kept.
const maxTextLine = 4096

// newLogLine begins a line, which is to be written once.
func newLogLine(event string) *logLine {
	if clog.IsJSON() {
		attrs := append(make([]slog.Attr, 0, 16), slog.String("plugin", pluginName), slog.Attr{}) // the severity
		return &logLine{event: event, json: true, attrs: attrs}
	}
	l := textLines.Get().(*logLine)
	l.event, l.text = event, append(l.text[:0], event...)
	return l
}

// name begins a field of a text line.
func (l *logLine) name(name string) {
	l.text = append(append(append(l.text, ' '), name...), '=')
}

// word adds a field whose value needs no quotes.
func (l *logLine) word(name, value string) {
	if l.json {
		l.attrs = append(l.attrs, slog.String(name, value))
		return
	}
	l.name(name)
	l.text = append(l.text, value...)
}

// quoted adds a field whose value may contain any character.
func (l *logLine) quoted(name, value string) {
	if l.json {
		l.attrs = append(l.attrs, slog.String(name, value))
		return
	}
	l.name(name)
	l.text = appendQuoted(l.text, value)
}

// appendQuoted is strconv.AppendQuote, which takes many times as long for a text that needs no escapes, as most do.
func appendQuoted(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return strconv.AppendQuote(to, text)
		}
	}
	return append(append(append(to, '"'), text...), '"')
}

// zone adds a zone's name, which might look like other fields.
func (l *logLine) zone(name string) {
	if strings.ContainsAny(name, ` "\`) {
		l.quoted("zone", name)
		return
	}
	l.word("zone", name)
}

// quotedIfAny adds a field unless its value is empty.
func (l *logLine) quotedIfAny(name, value string) {
	if value != "" {
		l.quoted(name, value)
	}
}

func (l *logLine) number(name string, value uint64) {
	if l.json {
		l.attrs = append(l.attrs, slog.Uint64(name, value))
		return
	}
	l.name(name)
	l.text = strconv.AppendUint(l.text, value, 10)
}

func (l *logLine) client(address netip.AddrPort) {
	if l.json {
		l.attrs = append(l.attrs, slog.String("client", address.String()))
		return
	}
	l.name("client")
	l.text = address.AppendTo(l.text)
}

// serials adds the serials around an update.
func (l *logLine) serials(before, after uint32) {
	if l.json {
		l.attrs = append(l.attrs, slog.Uint64("serial_before", uint64(before)), slog.Uint64("serial_after", uint64(after)))
		return
	}
	l.number("serial", uint64(before))
	l.text = strconv.AppendUint(append(l.text, "->"...), uint64(after), 10)
}

// quotedEach adds several values of one field. In JSON they are an array with the plural of the name.
func (l *logLine) quotedEach(name string, values []string) {
	if len(values) == 0 {
		return
	}
	if l.json {
		l.attrs = append(l.attrs, slog.Any(name+"s", values))
		return
	}
	for _, v := range values {
		l.quoted(name, v)
	}
}

func (l *logLine) numbers(name string, values []uint32) {
	if l.json {
		l.attrs = append(l.attrs, slog.Any(name, values))
		return
	}
	l.name(name)
	for i, v := range values {
		if i > 0 {
			l.text = append(l.text, ',')
		}
		l.text = strconv.AppendUint(l.text, uint64(v), 10)
	}
}

// records adds a list of records, which is an array in JSON. Nothing is added if there are none, unless they are the update
// section, whose records have their signs. TTLs are those of the zone.
func (l *logLine) records(name string, records event.Records, section, data bool) {
	if len(records.List) == 0 && !section {
		return
	}
	if l.json {
		list := make([]string, len(records.List), len(records.List)+1)
		for i := range records.List {
			list[i] = string(appendRecord(nil, &records.List[i], section, data))
		}
		if records.More > 0 {
			list = append(list, strconv.Itoa(records.More)+" more")
		}
		l.attrs = append(l.attrs, slog.Any(name, list))
		return
	}
	var buffer [512]byte
	text := buffer[:0]
	for i := range records.List {
		if i > 0 {
			text = append(text, ", "...)
		}
		text = appendRecord(text, &records.List[i], section, data)
	}
	if records.More > 0 {
		text = append(strconv.AppendInt(append(text, " and "...), int64(records.More), 10), " more"...)
	}
	l.quoted(name, string(text))
}

// appendRecord appends a record, with its sign or its TTL.
func appendRecord(text []byte, r *event.Record, section, data bool) []byte {
	if section {
		text = append(text, r.Sign)
	}
	text = append(append(text, r.Name...), ' ')
	if !section {
		text = append(strconv.AppendUint(text, uint64(r.TTL), 10), ' ')
	}
	text = append(text, r.Type...)
	if data && r.Data != "" {
		text = append(append(text, ' '), r.Data...)
	}
	return text
}

// write writes the line, which must not be used any more. CoreDNS's JSON format has fields only in lines of the level INFO, so that each line has its level in
// the field severity too.
func (l *logLine) write(level corefile.LogLevel) {
	if l.json {
		l.attrs[1] = slog.String("severity", level.Severity())
		clog.InfoAttrs(l.event, l.attrs...)
		return
	}
	text := string(l.text)
	if cap(l.text) <= maxTextLine {
		textLines.Put(l)
	}
	switch level {
	case corefile.LogError:
		log.Error(text)
	case corefile.LogWarning:
		log.Warning(text)
	default:
		log.Info(text)
	}
}
