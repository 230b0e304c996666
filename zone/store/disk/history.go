package disk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A logged change is the index entry of a change in the log: enough to find it by its serials and
// to know when to delete it.
type logged struct {
	from, to uint32
	octets   uint32
	at       uint32 // hours of Unix time
}

// history is an index of the log: the changes from number first on.
type history struct {
	first   uint64
	changes []logged
	octets  int64
}

func (h *history) add(c logged) {
	h.changes = append(h.changes, c)
	h.octets += int64(c.octets)
}

func hours(t time.Time) uint32 { return uint32(t.Unix() / 3600) }

// trim removes the entries beyond the options' bounds. The last change stays.
func (h *history) trim(o *Options) {
	drop := 0
	oldest := hours(o.Now().Add(-o.MaxAge))
	for n := len(h.changes); drop < n-1; drop++ {
		c := h.changes[drop]
		if n-drop <= o.MaxChanges && h.octets <= o.MaxOctets && c.at >= oldest {
			break
		}
		h.octets -= int64(c.octets)
	}
	h.first += uint64(drop)
	h.changes = h.changes[drop:]
}

// between returns the numbers of the changes that lead from one serial to another, from start up to
// but not including end.
func (h *history) between(from, to uint32) (start, end uint64, ok bool) {
	// A serial may occur again after serials have wrapped around; the most recent occurrence
	// counts.
	for i := len(h.changes) - 1; i >= 0; i-- {
		if end == 0 && h.changes[i].to == to {
			end = h.first + uint64(i) + 1
		}
		if end != 0 && h.changes[i].from == from {
			return h.first + uint64(i), end, true
		}
	}
	return 0, 0, false
}

// loadHistory reads the log, which must be a chain that ends at s.
func (d *Disk) loadHistory(e *engine, s state) (history, error) {
	h := history{first: s.logged}
	next := uint64(0)
	err := e.scan(keyChange, func(key, value []byte) error {
		c, err := d.identity.change(value)
		if err != nil {
			return err
		}
		if len(h.changes) == 0 {
			if h.first, err = changeNumber(key); err != nil {
				return err
			}
			next = h.first
		} else if last := h.changes[len(h.changes)-1].to; last != c.From {
			return fmt.Errorf("the log has a change from serial %d after one to %d", c.From, last)
		}
		if number, err := changeNumber(key); err != nil || number != next {
			return fmt.Errorf("the log has change %d where %d belongs", number, next)
		}
		next++
		h.add(logged{from: c.From, to: c.To, octets: uint32(len(value)), at: changeHours(value)})
		return nil
	})
	if err != nil {
		return h, err
	}
	if len(h.changes) > 0 {
		if last := h.changes[len(h.changes)-1].to; next != s.logged || last != s.serial {
			return h, fmt.Errorf("the log ends with change %d at serial %d, the zone is at %d and %d", next, last, s.logged, s.serial)
		}
	}
	return h, nil
}

// Changes implements store.Store.
func (d *Disk) Changes(ctx context.Context, from, to uint32) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		start, end, err := d.between(from, to)
		if err != nil {
			yield(store.Change{}, err)
			return
		}
		for start < end {
			if err := ctx.Err(); err != nil {
				yield(store.Change{}, fmt.Errorf("store: changes: %w", err))
				return
			}
			list, err := d.changes(start, end)
			if err != nil {
				yield(store.Change{}, err)
				return
			}
			for _, c := range list {
				if !yield(c, nil) {
					return
				}
			}
			start += uint64(len(list))
		}
	}
}

func (d *Disk) between(from, to uint32) (start, end uint64, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return 0, 0, store.ErrClosed
	}
	if from == to {
		return 0, 0, nil
	}
	start, end, ok := d.history.between(from, to)
	if !ok {
		return 0, 0, fmt.Errorf("%w: from %d to %d", store.ErrHistory, from, to)
	}
	return start, end, nil
}

// Log implements store.Store.
func (d *Disk) Log(ctx context.Context) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		first, end, err := d.span()
		if err != nil {
			yield(store.Change{}, err)
			return
		}
		for c, err := range backward(ctx, first, end, d.part) {
			if errors.Is(err, store.ErrHistory) || !yield(c, err) {
				return // older changes have been dropped too
			}
		}
	}
}

// span returns the numbers of the changes in the log, from first up to but not including end.
func (d *Disk) span() (first, end uint64, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return 0, 0, store.ErrClosed
	}
	return d.history.first, d.history.first + uint64(len(d.history.changes)), nil
}

// part reads all changes of the log from start up to end that have not been dropped.
func (d *Disk) part(start, end uint64) ([]store.Change, error) {
	first, _, err := d.span()
	if err != nil {
		return nil, err
	}
	var all []store.Change
	for start = max(start, first); start < end; {
		list, err := d.changes(start, end)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		start += uint64(len(list))
	}
	return all, nil
}

// backward yields the changes of a log from first up to end, newest first. read reads a part of them.
func backward(ctx context.Context, first, end uint64, read func(start, end uint64) ([]store.Change, error)) iter.Seq2[store.Change, error] {
	const most = 64
	return func(yield func(store.Change, error) bool) {
		for end > first {
			if err := ctx.Err(); err != nil {
				yield(store.Change{}, fmt.Errorf("store: log: %w", err))
				return
			}
			start := max(first, end-min(end, most))
			list, err := read(start, end)
			if err != nil {
				yield(store.Change{}, err)
				return
			}
			for _, c := range slices.Backward(list) {
				if !yield(c, nil) {
					return
				}
			}
			end = start
		}
	}
}

// changes reads one or more changes of the log, from start up to end at most. It does not hold the
// engine afterwards.
func (d *Disk) changes(start, end uint64) ([]store.Change, error) {
	// Small changes are read many at a time, because finding the first one costs more than reading
	// the others.
	const most, mostOctets = 64, 256 << 10
	for again := false; ; again = true {
		d.mu.RLock()
		e, closed := d.engine, d.closed
		d.mu.RUnlock()
		if closed {
			return nil, store.ErrClosed
		}
		var list []store.Change
		octets := 0
		err := e.scanBeside(appendChangeKey(nil, start), appendChangeKey(nil, min(end, start+most)), func(key, value []byte) error {
			number, err := changeNumber(key)
			if err != nil {
				return err
			}
			if number != start+uint64(len(list)) {
				return errEnough
			}
			c, err := decodeChange(value)
			if err != nil {
				return err
			}
			list = append(list, c)
			if octets += len(value); octets > mostOctets {
				return errEnough
			}
			return nil
		})
		switch {
		case errors.Is(err, errEngineClosed):
			// The engine was replaced.
			continue
		case err != nil && !errors.Is(err, errEnough) && !again && e.fence.failure() != nil:
			// The engine is about to be replaced, and the new one has removed a file.
			d.writing.Lock()
			d.writing.Unlock()
			continue
		case err != nil && !errors.Is(err, errEnough):
			return nil, fmt.Errorf("store: changes: %w", err)
		case len(list) == 0:
			return nil, fmt.Errorf("%w: dropped meanwhile", store.ErrHistory)
		}
		return list, nil
	}
}

// errEnough ends a scan early.
var errEnough = errors.New("enough")

// trimEvery is how many changes are removed from the log at once.
const trimEvery = 256

// trim removes from the log the changes that are no longer in the history. If a crash prevents it,
// they are removed later.
func (d *Disk) trim(e *engine) {
	if d.history.first < d.logStart+trimEvery {
		return
	}
	b := e.db.NewBatch()
	defer b.Close()
	err := guard(func() error {
		return b.DeleteRange(appendChangeKey(nil, d.logStart), appendChangeKey(nil, d.history.first), nil)
	})
	if err == nil {
		err = e.apply(b, false)
	}
	if err == nil {
		d.logStart = d.history.first
	}
}
