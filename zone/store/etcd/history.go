package etcd

import (
	"sync"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A history is an index of the log, the octets of its last entries, and the head.
type history struct {
	mu sync.RWMutex
	// known is set once the index is complete; what follows is then valid. All is guarded by mu.
	known    bool
	head     head
	revision int64 // of the head
	// entries are those from head.oldest to head.sequence. Before cached they have no octets.
	entries []logged
	octets  int64 // of all entries in etcd
	// marked has, from head.marks up to head.oldest, when this server has seen the batch, or the zero time if it
	// has no marks.
	marked []time.Time
	cached int
	// cachedOctets are those of the entries from cached on.
	cachedOctets int64
	// changed is closed at the next change.
	changed chan struct{}
}

// A logged entry has what is needed to find it by its serials and to trim it.
type logged struct {
	from, to uint32
	size     uint32
	revision int64
	batch    id
	raw      []byte
	marks    []byte    // the value of a key of marks; nil if it has none
	seen     time.Time // when this server has learned of it
}

// replace installs what was read from etcd, unless more was learned meanwhile. before is what was known before it was
// read. marked has the sequences from head.marks on whose marks are kept.
func (h *history) replace(before store.Position, head head, revision int64, entries []entry, marked map[uint64]bool, cache int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// What etcd holds may be a part of what this server knows because of a backup that was restored. Then the rest
	// counts no more.
	if h.known && head.sequence >= before.Sequence && (h.has(head.sequence, head.batch) || h.isBehind(&head)) {
		return
	}
	h.known, h.head, h.revision = true, head, revision
	h.entries, h.octets, h.cached, h.cachedOctets = nil, 0, 0, 0
	for i := range entries {
		h.append(&entries[i], cache)
	}
	now := time.Now()
	h.marked = make([]time.Time, head.oldest-head.marks)
	for sequence := range marked {
		h.marked[sequence-head.marks] = now
	}
	h.notify()
}

// has reports whether the position is one of those known. It is called with mu held.
func (h *history) has(sequence uint64, batch id) bool {
	if sequence == h.head.sequence {
		return batch == h.head.batch
	}
	first := h.head.sequence + 1 - uint64(len(h.entries))
	return sequence >= first && sequence < h.head.sequence && h.entries[sequence-first].batch == batch
}

// isBehind reports whether a head is older than the log that is known: it was trimmed up to there meanwhile. It is
// called with mu held.
func (h *history) isBehind(head *head) bool {
	return head.batch.epoch() == h.head.batch.epoch() && head.sequence+uint64(len(h.entries)) < h.head.sequence+1
}

// add adds the entry of a batch that follows the last one. soa is that after it, or has no name if it stays. It
// reports false for an entry that does not follow, unless it is known.
func (h *history) add(e *entry, marks []store.Mark, soa store.Record, cache int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.known:
		return false
	case h.has(e.sequence, e.batch):
		return true
	case e.sequence != h.head.sequence+1 || e.before != h.head.batch:
		return false
	}
	if soa.Name != "" {
		h.head.soa = soa
	}
	e.encoded = nil
	if len(marks) > 0 {
		e.encoded = appendMarks([]byte{marksVersion}, marks)
	}
	h.head.sequence, h.head.batch, h.head.serial, h.head.server, h.head.oldest = e.sequence, e.batch, e.to, e.server, e.oldest
	if e.frozen != nil {
		h.head.frozen = *e.frozen
	}
	h.revision = e.revision
	h.append(e, cache)
	// The committer has trimmed the log.
	if drop := len(h.entries) - int(e.sequence-e.oldest+1); drop > 0 {
		for i := range h.entries[:drop] {
			h.marked = append(h.marked, markedAt(&h.entries[i]))
			h.octets -= int64(h.entries[i].size)
			if i >= h.cached {
				h.cachedOctets -= int64(h.entries[i].size)
			}
			h.entries[i] = logged{}
		}
		h.entries, h.cached = h.entries[drop:], max(0, h.cached-drop)
	}
	if e.marks > h.head.marks {
		h.marked = h.marked[min(e.marks-h.head.marks, uint64(len(h.marked))):]
		h.head.marks = e.marks
	}
	h.notify()
	return true
}

// markedAt returns when this server has seen an entry with marks; the zero time of one without.
func markedAt(l *logged) time.Time {
	if l.marks == nil {
		return time.Time{}
	}
	return l.seen
}

// append is called with mu held.
func (h *history) append(e *entry, cache int64) {
	size := int64(e.size)
	h.entries = append(h.entries, logged{
		from: e.from, to: e.to, size: uint32(size), marks: e.encoded, seen: time.Now(), revision: e.revision, batch: e.batch, raw: e.raw,
	})
	h.octets += size
	h.cachedOctets += size
	for h.cachedOctets > cache && h.cached < len(h.entries) {
		h.cachedOctets -= int64(h.entries[h.cached].size)
		h.entries[h.cached].raw = nil
		h.cached++
	}
}

// notify is called with mu held.
func (h *history) notify() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// state returns the head and its revision.
func (h *history) state() (head head, revision int64, known bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.head, h.revision, h.known
}

// position returns that of the head; zero if it is not known.
func (h *history) position() store.Position {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if !h.known {
		return store.Position{}
	}
	return h.head.position(h.revision)
}

// last returns which server has committed last, and a channel that is closed when there is another entry.
func (h *history) last() (server string, changed <-chan struct{}) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.head.server, h.changed
}

// since returns the entries after a position, if they are in memory.
func (h *history) since(at store.Position) []entry {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if !h.known || h.head.sequence <= at.Sequence || !h.has(at.Sequence, at.Batch) && at.Sequence+1 != h.head.oldest {
		return nil
	}
	start := len(h.entries) - int(h.head.sequence-at.Sequence)
	if start < h.cached {
		return nil
	}
	var list []entry
	for i := start; i < len(h.entries); i++ {
		l := &h.entries[i]
		header, err := decodeHeader(l.raw)
		if err != nil {
			return nil
		}
		list = append(list, entry{entryHeader: header, revision: l.revision, size: len(l.raw), raw: l.raw})
	}
	return list
}

// trim returns, of the oldest entries that are beyond the bounds once another one is added, most at most, the values
// of their keys of marks, where these are still needed.
func (h *history) trim(o *ZoneOptions, most int) (marks [][]byte) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	octets, count := h.octets, len(h.entries)+1
	for i := range h.entries[:min(most, len(h.entries))] {
		l := &h.entries[i]
		if count <= o.MaxBatches && octets <= o.MaxOctets {
			break
		}
		octets, count = octets-int64(l.size), count-1
		if time.Since(l.seen) < o.MarkAge {
			marks = append(marks, l.marks)
		} else {
			marks = append(marks, nil)
		}
	}
	return marks
}

// trimMarks returns the sequences whose marks need not be kept any longer, most at most, and the oldest one that is
// left.
func (h *history) trimMarks(age time.Duration, most int) (drop []uint64, oldest uint64) {
	// Batches without marks have no key. To pass over many of them is no work for one commit.
	const steps = 1000
	h.mu.RLock()
	defer h.mu.RUnlock()
	oldest = h.head.marks
	for i := range h.marked[:min(len(h.marked), steps)] {
		seen := h.marked[i]
		if !seen.IsZero() {
			if len(drop) == most || time.Since(seen) < age && len(h.marked)-i < maxMarked {
				break
			}
			drop = append(drop, oldest)
		}
		oldest++
	}
	return drop, oldest
}

// between returns the sequences of the batches from the one that starts at a serial, or has it within, to the one
// that leads to another.
func (h *history) between(from, to uint32) (first, last uint64, ok bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if !h.known {
		return 0, 0, false
	}
	oldest := h.head.sequence + 1 - uint64(len(h.entries))
	// A serial may occur again after serials have wrapped around; the most recent occurrence counts.
	end := -1
	for i := len(h.entries) - 1; i >= 0; i-- {
		l := &h.entries[i]
		if l.from == l.to {
			continue
		}
		if end < 0 && to-l.from <= l.to-l.from && to != l.from {
			end = i
		}
		if end >= 0 && from-l.from < l.to-l.from && (i < end || from-l.from < to-l.from) {
			return oldest + uint64(i), oldest + uint64(end), true
		}
	}
	return 0, 0, false
}

// raw returns the octets of an entry if they are in memory.
func (h *history) raw(sequence uint64) []byte {
	h.mu.RLock()
	defer h.mu.RUnlock()
	first := h.head.sequence + 1 - uint64(len(h.entries))
	if !h.known || sequence < first || sequence > h.head.sequence {
		return nil
	}
	return h.entries[sequence-first].raw
}
