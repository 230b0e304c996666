package dnswire

import (
	"bytes"
	"iter"
)

// maxRdata is the most octets that RDLENGTH can say (RFC 1035 section 3.2.1).
const maxRdata = 65535

var errRdataLong error = reason("more than 65535 octets")

// Validate checks that rdata, without compressed names, is whole and correct
// rdata of its type in class IN. It accepts what BIND 9.18 accepts when it
// receives a record; where RFCs ask for more than that, it does not. Any octets
// are accepted for a type without entry in the table, and for those that are
// opaque (NULL, UNSPEC and others). The error is an [*Error].
func Validate(rrtype uint16, rdata []byte) error {
	if len(rdata) > maxRdata {
		return inField(rrtype, "", errRdataLong)
	}
	t := lookup(rrtype)
	if t == nil || t.fields == nil {
		return nil
	}
	w := fieldWalk{t: t, rdata: rdata}
	for w.next() {
	}
	if w.err != nil {
		return inField(rrtype, w.fault, w.err)
	}
	return nil
}

// A fieldWalk goes over the fields of rdata and checks them.
type fieldWalk struct {
	t     *typeInfo
	rdata []byte
	// field is the current one, which is at rdata[at:end].
	field   *field
	at, end int

	index int // of the next field
	fault string
	err   error

	// msg, if there is one, has the rdata at start; names in it may be compressed.
	// expanded gets the fields without compression.
	msg      []byte
	start    int
	expanded []byte
}

// next goes on to the next field. At the end, or if a field is wrong, it returns
// false.
func (w *fieldWalk) next() bool {
	if w.err != nil {
		return false
	}
	w.at = w.end
	for {
		if w.index == len(w.t.fields) {
			if w.at != len(w.rdata) {
				w.fault, w.err = "", reasonf("%d octets after the last field", len(w.rdata)-w.at)
			}
			return false
		}
		again := w.field == &w.t.fields[w.index]
		w.field = &w.t.fields[w.index]
		if w.field.repeat == once {
			break
		}
		if w.at < len(w.rdata) || w.field.repeat == oneOrMore && !again {
			break
		}
		w.index++ // there is no more of it
	}
	if w.field.repeat == once || w.field.repeat == optional {
		w.index++
	}
	if w.msg == nil {
		w.end, w.err = w.field.check(w.rdata, w.at)
	} else {
		w.end, w.err = w.expand()
	}
	if w.err != nil {
		w.fault = w.field.name
		return false
	}
	return true
}

// expand checks the current field, appends it to w.expanded, and returns where
// it ends.
func (w *fieldWalk) expand() (end int, err error) {
	if f, ok := w.field.fieldType.(nameField); ok && f.present(w.rdata, w.at) {
		w.expanded, end, err = UnpackName(w.expanded, w.msg, w.start+w.at)
		return end - w.start, err
	}
	if end, err = w.field.check(w.rdata, w.at); err == nil {
		w.expanded = append(w.expanded, w.rdata[w.at:end]...)
	}
	return end, err
}

// name returns the use of the name that the current field holds, or reports
// false.
func (w *fieldWalk) name() (nameUse, bool) {
	f, ok := w.field.fieldType.(nameField)
	if !ok || w.at == w.end || !f.present(w.rdata, w.at) {
		return 0, false
	}
	return f.use(), true
}

// An EmbeddedName is a name in rdata.
type EmbeddedName struct {
	// Start and End enclose the name in the rdata.
	Start, End int
	// Folded tells that the name is compared without case in rdata of this type.
	Folded bool
	// Additional tells that the addresses of this name belong to the additional
	// section of an answer with the record (RFC 1035 section 3.3, RFC 2782, RFC
	// 9460 section 4.1 and others).
	Additional bool
}

// Names yields the names in rdata, in order, as far as the rdata is valid.
func Names(rrtype uint16, rdata []byte) iter.Seq[EmbeddedName] {
	return func(yield func(EmbeddedName) bool) {
		t := lookup(rrtype)
		if t == nil {
			return
		}
		w := fieldWalk{t: t, rdata: rdata}
		for w.next() {
			use, ok := w.name()
			if ok && !yield(EmbeddedName{
				Start: w.at, End: w.end, Folded: use&folded != 0, Additional: use&additional != 0,
			}) {
				return
			}
		}
	}
}

// HasAdditional reports whether rdata of that type has names whose addresses
// belong to the additional section of an answer.
func HasAdditional(rrtype uint16) bool {
	t := lookup(rrtype)
	if t == nil {
		return false
	}
	for i := range t.fields {
		if f, ok := t.fields[i].fieldType.(nameField); ok && f.use()&additional != 0 {
			return true
		}
	}
	return false
}

// foldedNames says where the names are that rdata is compared without case of:
// no type has more than two.
type foldedNames struct {
	at [2]struct{ start, end int }
	n  int
}

func (f *foldedNames) find(t *typeInfo, rdata []byte) {
	w := fieldWalk{t: t, rdata: rdata}
	for f.n < len(f.at) && w.next() {
		if use, ok := w.name(); ok && use&folded != 0 {
			f.at[f.n].start, f.at[f.n].end = w.at, w.end
			f.n++
		}
	}
}

// part returns whether the octets of rdata from i on are folded, and up to where
// that is so, but not beyond most.
func (f *foldedNames) part(i, most int) (inName bool, end int) {
	for _, name := range f.at[:f.n] {
		if i < name.start {
			return false, min(name.start, most)
		}
		if i < name.end {
			return true, min(name.end, most)
		}
	}
	return false, most
}

// compareParts orders parts of one length, each in lower case if it is folded.
func compareParts(a, b []byte, foldedA, foldedB bool) int {
	if !foldedA && !foldedB {
		return bytes.Compare(a, b)
	}
	for i, x := range a {
		y := b[i]
		if x == y && foldedA == foldedB {
			continue
		}
		if foldedA {
			x = lower(x)
		}
		if foldedB {
			y = lower(y)
		}
		if x != y {
			return int(x) - int(y)
		}
	}
	return 0
}

// Compare orders rdata of one type as the records of an RRset are ordered (RFC
// 4034 section 6.3): by the octets of the canonical form, which has the names of
// the types of RFC 4034 section 6.2 in lower case, of TALINK too, but not those
// of NSEC (RFC 6840 section 5.1). Rdata that compares equal is the same record.
func Compare(rrtype uint16, a, b []byte) int {
	if bytes.Equal(a, b) {
		return 0
	}
	t := lookup(rrtype)
	if t == nil || !t.hasFolded {
		return bytes.Compare(a, b)
	}
	var inA, inB foldedNames
	inA.find(t, a)
	inB.find(t, b)
	for i, most := 0, min(len(a), len(b)); i < most; {
		foldedA, endA := inA.part(i, most)
		foldedB, endB := inB.part(i, most)
		end := min(endA, endB)
		if c := compareParts(a[i:end], b[i:end], foldedA, foldedB); c != 0 {
			return c
		}
		i = end
	}
	return len(a) - len(b)
}

// Equal reports whether two rdata of one type are the same record.
func Equal(rrtype uint16, a, b []byte) bool {
	return len(a) == len(b) && Compare(rrtype, a, b) == 0
}

// AppendCanonical appends rdata in the canonical form that [Compare] orders by
// (RFC 4034 section 6.2).
func AppendCanonical(dst []byte, rrtype uint16, rdata []byte) []byte {
	at := len(dst)
	dst = append(dst, rdata...)
	t := lookup(rrtype)
	if t == nil || !t.hasFolded {
		return dst
	}
	var names foldedNames
	names.find(t, rdata)
	for i := range names.n {
		for j := names.at[i].start; j < names.at[i].end; j++ {
			dst[at+j] = lower(rdata[j])
		}
	}
	return dst
}

// ExpandRdata appends the rdata in msg[start:end], with its names uncompressed,
// to dst. It accepts what [Validate] accepts of the result. A compressed name is
// accepted in every type: RFC 3597 section 4 allows it to the types of RFC 1035
// and asks receivers to take it in some more, and BIND 9.18 takes it wherever it
// knows of a name. Rdata of other types is copied. The error is an [*Error]; dst
// is then unchanged. start and end must be offsets in msg.
func ExpandRdata(dst, msg []byte, start, end int, rrtype uint16) ([]byte, error) {
	t := lookup(rrtype)
	rdata := msg[start:end]
	if t == nil || !t.hasNames {
		if err := Validate(rrtype, rdata); err != nil {
			return dst, err
		}
		return append(dst, rdata...), nil
	}
	before := len(dst)
	w := fieldWalk{t: t, rdata: rdata, msg: msg[:end], start: start, expanded: dst}
	for w.next() {
	}
	if w.err == nil && len(w.expanded)-before > maxRdata {
		w.fault, w.err = "", errRdataLong
	}
	if w.err != nil {
		return dst[:before], inField(rrtype, w.fault, w.err)
	}
	return w.expanded, nil
}
