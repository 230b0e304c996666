package tsig

import (
	"encoding/binary"
	"errors"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// HeaderSize is the size of a DNS header (RFC 1035 section 4.1.1).
const HeaderSize = 12

// What makes a message malformed before any key is looked at.
var (
	ErrHeader       = errors.New("the message ends within its header")
	ErrRecords      = errors.New("the message has fewer records than its header counts")
	ErrTrailing     = errors.New("there are octets after the last record")
	ErrRecordPlace  = errors.New("the TSIG record is not the last of the additional section")
	ErrRecordClass  = errors.New("the TSIG record has a class other than ANY or a TTL other than 0")
	ErrRecordFields = errors.New("the TSIG record has malformed data")
)

// Message is what one walk over a received message found. It shares memory
// with the message. Where Parse failed it holds what came before the failure.
type Message struct {
	Octets      []byte
	HasOPT      bool // there is an OPT record (RFC 6891 section 6.1.1)
	questionEnd int  // offset after the first question; 0 if there is none, or one that is compressed
	record      int  // offset of the TSIG record; 0 if there is none
	data        int  // offset of its RDATA
}

// Parse walks over a message to its end. A TSIG record may only be the last
// record (RFC 8945 section 5.1). Parse looks at the octets and not at another
// parser's result: verifiers that checked the first TSIG record while others
// believed the last have let clients choose their identity. The record is read
// into r, which holds nothing of use if the message is not [Message.Signed].
func Parse(octets []byte, r *Record) (Message, error) {
	m := Message{Octets: octets}
	err := m.walk(r)
	if err != nil {
		m.record = 0
	}
	return m, err
}

func (m *Message) walk(r *Record) (err error) {
	octets := m.Octets
	walker, err := dnswire.NewWalker(octets)
	if err != nil {
		return ErrHeader
	}
	counts := walker.Header().Counts
	if end := HeaderSize + dnswire.NameLen(octets[HeaderSize:]) + 4; counts[dnswire.Questions] > 0 && end > HeaderSize+4 && end <= len(octets) {
		m.questionEnd = end
	}
	// After a misplaced or broken TSIG record the walk goes on to look for OPT:
	// the answer repeats it. The first failure stays the result.
	var record dnswire.Record
	for additional := 0; walker.Next(&record); {
		if record.Section == dnswire.Questions {
			continue
		}
		if record.Section == dnswire.Additional {
			additional++
		}
		if record.Type == dns.TypeOPT {
			m.HasOPT = true
		}
		if record.Type != dns.TypeTSIG || err != nil {
			continue
		}
		switch {
		case additional == 0 || additional != int(counts[dnswire.Additional]):
			err = ErrRecordPlace
		case record.End != len(octets):
			err = ErrTrailing
		case record.Class != dns.ClassANY || record.TTL != 0:
			err = ErrRecordClass
		default:
			m.record, m.data = record.Start, record.RdataStart
			if !m.Record(r) {
				err = ErrRecordFields
			}
		}
	}
	switch walker.Err() {
	case nil:
		return err
	case dnswire.ErrTrailing:
		return first(err, ErrTrailing)
	default:
		return first(err, ErrRecords)
	}
}

func first(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// Signed reports whether the message has a TSIG record.
func (m *Message) Signed() bool { return m.record != 0 }

// Header returns the header, padded with zeros where the message is shorter.
func (m *Message) Header() (header [HeaderSize]byte) {
	copy(header[:], m.Octets)
	return header
}

// Question returns the octets of the only question. It returns nil if there is
// none or several, or if its name is compressed.
func (m *Message) Question() []byte {
	if m.questionEnd == 0 || binary.BigEndian.Uint16(m.Octets[4:]) != 1 {
		return nil
	}
	return m.Octets[HeaderSize:m.questionEnd]
}

// QuestionType returns the type of the first question, 0 if there is none or
// its name is compressed.
func (m *Message) QuestionType() uint16 {
	if m.questionEnd == 0 {
		return 0
	}
	return binary.BigEndian.Uint16(m.Octets[m.questionEnd-4:])
}
