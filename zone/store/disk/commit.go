package disk

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/internal/namekey"
)

// Commit implements store.Store. It syncs once.
//
// After a failure of the disk the same or the next Commit opens the directory again. If the process
// ends before that works, the changes of the Commit that failed may be found applied at the next
// Open, as those of a Commit in progress may.
func (d *Disk) Commit(ctx context.Context, changes []store.Change) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	switch {
	case d.closed:
		return store.ErrClosed
	case len(changes) == 0:
		return nil
	case !d.found:
		return store.ErrEmpty
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store: commit: %w", err)
	}
	if err := store.CheckChanges(d.state.serial, changes); err != nil {
		return err
	}
	if err := d.recover(); err != nil {
		return fmt.Errorf("store: commit: %w", err)
	}
	if err := d.commit(changes); err != nil {
		// An attempt now saves the next update from waiting for it.
		_ = d.recover()
		return fmt.Errorf("store: commit: %w", err)
	}
	return nil
}

// commit writes the changes, and records how to revert them if that fails.
func (d *Disk) commit(changes []store.Change) error {
	b := d.engine.db.NewBatch()
	defer b.Close()
	next, entries, err := d.batch(b, changes)
	if err != nil {
		return err
	}
	before := d.engine.snapshot()
	defer before.Close()
	// The engine takes over the octets of a large batch.
	octets := b.Repr()
	if err := d.engine.apply(b, true); err != nil {
		undo, unknown := d.engine.inverse(octets, before)
		if unknown != nil {
			d.unwritable = fmt.Errorf("a failed commit cannot be reverted, because the previous contents cannot be read: %w", unknown)
		}
		d.undo = undo
		return err
	}
	// The file only serves to detect damage. Without it less damage is detected.
	_ = d.acknowledged.write(next.commits)
	d.mu.Lock()
	d.state = next
	for _, entry := range entries {
		d.history.add(entry)
	}
	d.history.trim(&d.options)
	d.mu.Unlock()
	d.trim(d.engine)
	return nil
}

// batch fills b with changes, and returns the state after them and the entries for the history.
func (d *Disk) batch(b *pebble.Batch, changes []store.Change) (next state, entries []logged, err error) {
	next = d.state
	next.commits++
	now := d.options.Now()
	var key, value []byte
	first, last := statesChanged(changes)
	for i, c := range changes {
		for _, r := range c.Removed {
			if r.Type == typeSOA && i != first {
				continue
			}
			if key, _, err = appendRecord(key[:0], value[:0], r); err != nil {
				return next, nil, err
			}
			if err := b.Delete(key, nil); err != nil {
				return next, nil, err
			}
		}
		for _, r := range c.Added {
			if r.Type == typeSOA && i != last {
				continue
			}
			if key, value, err = appendRecord(key[:0], value[:0], r); err != nil {
				return next, nil, err
			}
			if err := b.Set(key, value, nil); err != nil {
				return next, nil, err
			}
		}
		for _, r := range c.Refreshed {
			if key, value, err = appendRecord(key[:0], value[:0], r); err != nil {
				return next, nil, err
			}
			if err := b.Set(key, value, nil); err != nil {
				return next, nil, err
			}
		}
		if err := d.ownership(b, c); err != nil {
			return next, nil, err
		}
		if c.From == c.To {
			continue
		}
		if value, err = appendChange(value[:0], c, now.Unix()); err != nil {
			return next, nil, err
		}
		if err := b.Set(appendChangeKey(key[:0], next.logged), value, nil); err != nil {
			return next, nil, err
		}
		entries = append(entries, logged{from: c.From, to: c.To, octets: uint32(len(value)), at: hours(now)})
		next.logged++
		next.serial = c.To
	}
	return next, entries, b.Set([]byte{keyState}, next.append(value[:0]), nil)
}

const typeSOA = 6 // RFC 1035 section 3.2.2

// statesChanged returns the first and the last change with a serial of its own. The SOA records of
// the states between them come and go within one batch and need not be written.
func statesChanged(changes []store.Change) (first, last int) {
	first, last = -1, -1
	for i := range changes {
		if changes[i].From == changes[i].To {
			continue
		}
		if last = i; first < 0 {
			first = i
		}
	}
	return first, last
}

func (d *Disk) ownership(b *pebble.Batch, c store.Change) error {
	for _, o := range c.Owners {
		key, err := namekey.Append([]byte{keyOwner}, o.Name)
		if err != nil {
			return err
		}
		if err := b.Set(key, appendOwner(nil, o), nil); err != nil {
			return err
		}
	}
	for _, name := range c.Disowned {
		key, err := namekey.Append([]byte{keyOwner}, name)
		if err != nil {
			return err
		}
		if err := b.Delete(key, nil); err != nil {
			return err
		}
	}
	return nil
}

// recover makes the engine usable, with the contents that were last acknowledged.
func (d *Disk) recover() error {
	if d.unwritable != nil {
		return d.unwritable
	}
	cause := d.engine.fence.failure()
	if cause == nil && d.undo == nil {
		return nil
	}
	if corruption := d.engine.corruption(); corruption != nil {
		d.unwritable = diagnose.WithFix(fmt.Errorf("%s: %w: %w; the zone in memory is complete", d.dir, ErrDamaged, corruption),
			"save the zone by a zone transfer while the server runs, then "+restore)
		return d.unwritable
	}
	now := d.options.Now()
	if d.failure != nil && now.Sub(d.retried) < d.options.Retry {
		return d.failure
	}
	d.retried = now
	if d.failure = d.reopen(); d.failure != nil {
		d.failure = fmt.Errorf("%s cannot be written: %w", d.dir, d.failure)
		return d.failure
	}
	return nil
}

// reopen replaces the engine whose fence is closed by a new one.
func (d *Disk) reopen() error {
	e, err := openEngine(&d.options, d.data(), false)
	if err != nil {
		return err
	}
	if err := d.revert(e); err != nil {
		_ = e.close()
		return err
	}
	d.undo = nil
	d.replace(e)
	return nil
}

// revert makes sure that e holds what was acknowledged, no more.
func (d *Disk) revert(e *engine) error {
	for range 2 {
		s, found, err := e.state()
		switch {
		case err != nil:
			return err
		case found && s == d.state:
			return nil
		case !found || s.commits != d.state.commits+1 || d.undo == nil:
			return fmt.Errorf("found commit %d, expected %d", s.commits, d.state.commits)
		}
		b := e.db.NewBatch()
		defer b.Close()
		if err := b.SetRepr(d.undo); err != nil {
			return err
		}
		if err := e.apply(b, true); err != nil {
			return err
		}
	}
	return errors.New("a failed commit could not be reverted")
}

// replace replaces the engine by e, or nil, and closes the old one.
func (d *Disk) replace(e *engine) {
	old := d.engine
	d.mu.Lock()
	d.engine = e
	d.mu.Unlock()
	if old != nil {
		_ = old.close()
	}
}
