package disk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/gsstsig/coredns-gsstsig/zone/store/internal/namekey"
)

// convert converts a database of an earlier format to the current one. The new contents are written to
// another directory, and count once the file ZONE names the current format, which is one renaming.
// Until then nothing of the old contents is changed, and what an interrupted conversion has left is
// removed by the next one.
func (d *Disk) convert(acknowledged uint64, unknown error) error {
	failed := func(err error) error {
		return fmt.Errorf("store: %s: cannot be converted to format %d: %w", d.dir, formatVersion, err)
	}
	from := Disk{dir: d.dir, options: d.options, identity: d.identity}
	if err := from.examine(acknowledged, unknown); err != nil {
		return err
	}
	converted := d.identity
	converted.format = formatVersion
	to := filepath.Join(d.dir, converted.data())
	if err := d.options.fs.RemoveAll(to); err != nil {
		return failed(err)
	}
	if from.found {
		if err := d.copyTo(to, converted, from.state); err != nil {
			return errors.Join(failed(err), d.options.fs.RemoveAll(to))
		}
	}
	if err := errors.Join(syncDir(d.dir), writeIdentity(d.dir, converted)); err != nil {
		return failed(err)
	}
	d.identity = converted
	return nil
}

// copyTo writes what the engine of the earlier format holds to a new engine in dir.
func (d *Disk) copyTo(dir string, converted identity, s state) (err error) {
	old, err := openEngineReadOnly(&d.options, d.data())
	if err != nil {
		return err
	}
	defer old.close()
	e, err := openEngine(&d.options, dir, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	w := filler{engine: e, batch: e.db.NewBatch(), chunk: d.options.chunk, ctx: context.Background()}
	defer func() { w.batch.Close() }()

	decoder := d.identity.decoder()
	var k, v []byte
	err = old.scan(keyRecord, func(key, value []byte) error {
		r, err := decoder.record(key, value)
		if err == nil {
			k, v, err = appendRecord(k[:0], v[:0], r)
		}
		if err != nil {
			return err
		}
		return w.set(k, v)
	})
	if err != nil {
		return err
	}
	err = old.scan(keyOwner, func(key, value []byte) error {
		o, err := decoder.owner(key, value)
		if err == nil {
			k, err = namekey.Append(append(k[:0], keyOwner), o.Name)
		}
		if err != nil {
			return err
		}
		return w.set(k, value)
	})
	if err != nil {
		return err
	}
	err = old.scan(keyChange, func(key, value []byte) error {
		c, err := d.identity.change(value)
		if err == nil {
			v, err = appendChange(v[:0], c, changeTime(value))
		}
		if err != nil {
			return err
		}
		return w.set(key, v)
	})
	if err != nil {
		return err
	}
	if err := w.set([]byte{keyIdentity}, []byte(converted.text())); err != nil {
		return err
	}
	if err := w.set([]byte{keyState}, s.append(nil)); err != nil {
		return err
	}
	return e.apply(w.batch, true)
}
