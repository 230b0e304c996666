package axfr

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const (
	defaultTimeout = 30 * time.Second
	// maxOctets bounds the messages of a transfer together.
	maxOctets = 1 << 30
)

// Config says what to fetch, and from where.
type Config struct {
	// Address is the server's IP address and port.
	Address string
	// Zone is the zone's name.
	Zone string
	// Sign signs the request, as client.Context and client.HMACKey do. With nil neither request nor answer are signed.
	Sign func(*dns.Msg) ([]byte, *client.Transaction, error)
	// Timeout is for the connection and for each message. Zero is 30 s.
	Timeout time.Duration
	// Progress is called with the number of records of each message. It may be nil.
	Progress func(records int)
}

// Refused is an answer with an RCODE other than NOERROR.
type Refused struct{ Rcode int }

func (e *Refused) Error() string {
	if text, ok := dns.RcodeToString[e.Rcode]; ok {
		return "the server answers " + text
	}
	return fmt.Sprintf("the server answers RCODE %d", e.Rcode)
}

var (
	errQuestion = errors.New("the answer is about something else")
	errNoSOA    = errors.New("the zone does not begin with its SOA record")
	errAfterEnd = errors.New("records follow the SOA record that ends the zone")
	errSerial   = errors.New("the zone was changed during the transfer: its first and last SOA record differ")
	errUnsigned = errors.New("the last message is not signed")
	errTooLarge = fmt.Errorf("the zone has more than %d MiB", maxOctets>>20)
)

// Fetch returns all records of a zone; the SOA record, which the transfer has at both ends, comes once, at the beginning.
func Fetch(ctx context.Context, config Config) ([]store.Record, error) {
	if config.Timeout == 0 {
		config.Timeout = defaultTimeout
	}
	origin, err := dnswire.ParseName(dns.Fqdn(config.Zone), nil)
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", config.Zone, err)
	}
	request := new(dns.Msg).SetAxfr(dns.Fqdn(config.Zone))
	t := transfer{origin: origin, id: request.Id}
	var wire []byte
	if config.Sign == nil {
		wire, err = request.Pack()
	} else {
		wire, t.transaction, err = config.Sign(request)
	}
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: config.Timeout}
	conn, err := dialer.DialContext(ctx, "tcp", config.Address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := t.run(conn, wire, &config); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return t.records, nil
}

// transfer is the state of one answer.
type transfer struct {
	origin      []byte
	id          uint16
	transaction *client.Transaction // nil without signatures

	records  []store.Record
	octets   int
	complete bool // the last SOA record was there
	signed   bool // the last message was signed
}

// run sends the request and reads messages up to the last.
func (t *transfer) run(conn net.Conn, request []byte, config *Config) error {
	message := append(binary.BigEndian.AppendUint16(nil, uint16(len(request))), request...)
	if err := conn.SetDeadline(time.Now().Add(config.Timeout)); err != nil {
		return err
	}
	if _, err := conn.Write(message); err != nil {
		return err
	}
	for !t.complete {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return ended(err)
		}
		message := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, message); err != nil {
			return ended(err)
		}
		before := len(t.records)
		if err := t.take(message); err != nil {
			return err
		}
		if config.Progress != nil {
			config.Progress(len(t.records) - before)
		}
		if err := conn.SetDeadline(time.Now().Add(config.Timeout)); err != nil {
			return err
		}
	}
	if t.transaction != nil && !t.signed {
		return errUnsigned
	}
	return nil
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the server closed the connection before the end of the zone")
	}
	return err
}

// take takes one message in.
func (t *transfer) take(message []byte) (err error) {
	if t.octets += len(message); t.octets > maxOctets {
		return errTooLarge
	}
	if t.transaction != nil {
		if t.signed, err = t.transaction.Next(message); err != nil {
			return err
		}
	}
	w, err := dnswire.NewWalker(message)
	if err != nil {
		return err
	}
	h := w.Header()
	switch {
	case h.ID != t.id || !h.Response() || h.Opcode() != dns.OpcodeQuery:
		return errQuestion
	case h.Rcode() != dns.RcodeSuccess:
		return &Refused{h.Rcode()}
	case h.Counts[dnswire.Questions] > 1:
		return errQuestion
	}
	var r dnswire.Record
	for w.Next(&r) {
		switch {
		case r.Section == dnswire.Questions:
			// RFC 5936 section 2.2.1: the first message has it, and later ones may.
			name, err := w.AppendOwner(nil, &r)
			if err != nil || !dnswire.EqualNames(name, t.origin) || r.Type != dns.TypeAXFR {
				return errQuestion
			}
		case r.Section == dnswire.Additional && t.transaction == nil && r.Type == dns.TypeTSIG:
			return errors.New("the answer is signed, though the request is not")
		case r.Section == dnswire.Answers:
			if err := t.record(&w, &r); err != nil {
				return err
			}
		}
	}
	return w.Err()
}

// record takes one record in. What it keeps does not refer to the message.
func (t *transfer) record(w *dnswire.Walker, r *dnswire.Record) error {
	if t.complete {
		return errAfterEnd
	}
	name, err := w.AppendOwner(nil, r)
	if err != nil {
		return err
	}
	data, err := w.AppendRdata(nil, r)
	if err != nil {
		return fmt.Errorf("%s %s: %w", dnswire.NameText(name), dnswire.TypeText(r.Type), err)
	}
	apex := r.Type == dns.TypeSOA && dnswire.EqualNames(name, t.origin)
	switch {
	case len(t.records) == 0 && !apex:
		return errNoSOA
	case len(t.records) > 0 && apex:
		if !dnswire.Equal(dns.TypeSOA, data, t.records[0].Data) {
			return errSerial
		}
		t.complete = true
		return nil
	}
	// Names come together: neighbours share one string.
	text := ""
	if last := len(t.records) - 1; last >= 0 && t.records[last].Name == string(name) {
		text = t.records[last].Name
	} else {
		text = string(name)
	}
	t.records = append(t.records, store.Record{Name: text, Type: r.Type, Class: r.Class, TTL: r.TTL, Data: data})
	return nil
}
