package disk

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/internal/namekey"
)

// initChunk is Options.chunk by default.
const initChunk = 1 << 20

// Init implements store.Store. It writes several batches, the last of which holds the state and
// makes them a zone. Batches without that last one are removed by the next Init.
func (d *Disk) Init(ctx context.Context, c store.Contents) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	switch {
	case d.closed:
		return store.ErrClosed
	case d.found:
		return store.ErrNotEmpty
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store: init: %w", err)
	}
	if err := d.clean(); err != nil {
		return fmt.Errorf("store: init: %w", err)
	}
	first := state{commits: 1, serial: c.Serial}
	err := d.fill(ctx, c, first)
	if err == nil {
		// From now on an engine without a zone has lost it.
		if err = d.acknowledged.write(first.commits); err == nil {
			err = d.acknowledged.file.Sync()
		}
	}
	if err != nil {
		d.leftover = true
		return fmt.Errorf("store: init: %w", err)
	}
	d.mu.Lock()
	d.found, d.state, d.history = true, first, history{}
	d.mu.Unlock()
	return nil
}

// clean makes the engine usable and empty.
func (d *Disk) clean() error {
	if d.engine != nil && !d.leftover && d.engine.fence.failure() == nil {
		return nil
	}
	if d.engine != nil {
		d.replace(nil)
	}
	err := d.acknowledged.write(0)
	if err == nil {
		err = d.acknowledged.file.Sync()
	}
	if err != nil {
		return err
	}
	if err := d.options.fs.RemoveAll(d.data()); err != nil {
		return err
	}
	e, err := openEngine(&d.options, d.data(), true)
	if err != nil {
		return err
	}
	d.replace(e)
	d.leftover = false
	return nil
}

// fill writes contents, then the state.
func (d *Disk) fill(ctx context.Context, c store.Contents, s state) error {
	w := filler{engine: d.engine, batch: d.engine.db.NewBatch(), chunk: d.options.chunk, ctx: ctx}
	defer func() { w.batch.Close() }()
	var key, value []byte
	var err error
	for r := range c.Records {
		if key, value, err = appendRecord(key[:0], value[:0], r); err != nil {
			return err
		}
		if err := w.set(key, value); err != nil {
			return err
		}
	}
	if c.Owners != nil {
		for o := range c.Owners {
			if key, err = namekey.Append(append(key[:0], keyOwner), o.Name); err != nil {
				return err
			}
			if err := w.set(key, appendOwner(value[:0], o)); err != nil {
				return err
			}
		}
	}
	if err := w.set([]byte{keyIdentity}, []byte(d.identity.text())); err != nil {
		return err
	}
	if err := w.set([]byte{keyState}, s.append(nil)); err != nil {
		return err
	}
	return w.engine.apply(w.batch, true)
}

// filler writes many keys in several batches.
type filler struct {
	engine *engine
	batch  *pebble.Batch
	chunk  int
	ctx    context.Context
}

func (w *filler) set(key, value []byte) error {
	if w.batch.Len() > w.chunk {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := w.engine.apply(w.batch, false); err != nil {
			return err
		}
		w.batch.Close()
		w.batch = w.engine.db.NewBatch()
	}
	return w.batch.Set(key, value, nil)
}
