package gsstsig

import (
	"log/slog"
	"net/netip"
	"strconv"
	"strings"

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

func newLogLine(event string) *logLine {
	l := &logLine{event: event, json: clog.IsJSON()}
	if l.json {
		l.attrs = append(make([]slog.Attr, 0, 16), slog.String("plugin", pluginName), slog.Attr{}) // the severity
	} else {
		l.text = append(make([]byte, 0, 512), event...)
	}
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
	l.text = strconv.AppendQuote(l.text, value)
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
	text, list := make([]byte, 0, 256), make([]string, 0, len(records.List)+1)
	for i := range records.List {
		r := &records.List[i]
		start := len(text)
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
		if l.json {
			list = append(list, string(text[start:]))
		} else if i < len(records.List)-1 {
			text = append(text, ", "...)
		}
	}
	if l.json {
		if records.More > 0 {
			list = append(list, strconv.Itoa(records.More)+" more")
		}
		l.attrs = append(l.attrs, slog.Any(name, list))
		return
	}
	if records.More > 0 {
		text = append(strconv.AppendInt(append(text, " and "...), int64(records.More), 10), " more"...)
	}
	l.quoted(name, string(text))
}

// write writes the line. CoreDNS's JSON format has fields only in lines of the level INFO, so that each line has its level in
// the field severity too.
func (l *logLine) write(level corefile.LogLevel) {
	if l.json {
		l.attrs[1] = slog.String("severity", level.Severity())
		clog.InfoAttrs(l.event, l.attrs...)
		return
	}
	switch level {
	case corefile.LogError:
		log.Error(string(l.text))
	case corefile.LogWarning:
		log.Warning(string(l.text))
	default:
		log.Info(string(l.text))
	}
}
