package administration

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/masterfile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// text is a name in presentation form.
func text(wire []byte) string { return dnswire.NameText(wire) }

// parseName reads a name, which is absolute with or without its final dot, and returns it in lower case.
func parseName(word string) ([]byte, error) {
	wire, err := dnswire.ParseName(dns.Fqdn(word), nil)
	if err != nil {
		return nil, fmt.Errorf("name %q: %w", word, err)
	}
	return dnswire.AppendLower(nil, wire), nil
}

// ParseData reads rdata in the form of master files.
func ParseData(rrtype, data string) (uint16, []byte, error) {
	number, ok := dnswire.ParseType(rrtype)
	if !ok || dnswire.IsMeta(number) {
		return 0, nil, fmt.Errorf("%q is not the type of a record", rrtype)
	}
	r := masterfile.NewReader(strings.NewReader(". 0 IN "+rrtype+" "+data+"\n"), masterfile.Config{Origin: []byte{0}})
	record, err := r.Next()
	if err != nil {
		var at *masterfile.Error
		if errors.As(err, &at) {
			err = errors.New(at.Reason) // there is no file, and no line
		}
		return 0, nil, fmt.Errorf("%s %s: %w", rrtype, data, err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		return 0, nil, fmt.Errorf("%s %q: more than one record", rrtype, data)
	}
	return number, record.Data, nil
}

// Record makes the view of a record.
func Record(r *store.Record) view.Record {
	v := view.Record{TTL: r.TTL, Type: dnswire.TypeText(r.Type), Data: dnswire.TextOrGeneric(r.Type, r.Data), Static: r.Hours == 0}
	if !v.Static {
		refreshed := time.Unix(int64(r.Hours)*int64(time.Hour/time.Second), 0).UTC()
		v.Refreshed = &refreshed
	}
	return v
}

func namedRecord(r *store.Record) view.NamedRecord {
	return view.NamedRecord{Name: strings.ToLower(text([]byte(r.Name))), Record: Record(r)}
}
