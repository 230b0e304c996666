package etcd

import (
	"encoding/binary"
	"math"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Marks are needed for as long as a message may be replayed, and the log does not reach back that far at a high
// rate of updates. So the marks of a batch that is trimmed earlier get a key of their own, which stays until
// ZoneOptions.MarkAge has passed. Each server counts that from when it has seen the batch itself: clocks need not
// agree.

const (
	marksVersion = 1
	// minMark is how many octets a mark takes at least.
	minMark = 17
	// maxMarked bounds how many batches' marks are kept.
	maxMarked = 1 << 20
	// maxUnmarked is how many keys of marks one commit removes.
	maxUnmarked = 4
)

func appendMarks(dst []byte, marks []store.Mark) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(marks)))
	for _, m := range marks {
		dst = append(dst, m.Context[:]...)
		dst = binary.AppendUvarint(dst, m.Number)
	}
	return dst
}

func (d *decoder) marks() []store.Mark {
	n := d.count(minMark)
	if n == 0 {
		return nil
	}
	marks := make([]store.Mark, n)
	for i := range marks {
		copy(marks[i].Context[:], d.take(len(marks[i].Context)))
		marks[i].Number = d.uvarint(math.MaxUint64)
	}
	return marks
}

// decodeMarks decodes the value of a key of marks.
func decodeMarks(value []byte) ([]store.Mark, error) {
	d := decode(value, marksVersion)
	marks := d.marks()
	return marks, d.end()
}
