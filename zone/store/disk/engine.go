package disk

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The engine's resources. The zone is served from memory, so the engine needs little for reading.
const (
	cacheSize = 1 << 20
	openFiles = 64
)

// A full table in memory is written to the disk and merged with what is there. Merging costs the
// more the larger the zone is, so the table in memory is half of what is on the disk, within these
// bounds: the cost of merging for each update is then the same in a large zone as in a small one.
const (
	minMemTable = 4 << 20
	maxMemTable = 24 << 20
)

// memTableFor returns the size of the table in memory for tables in dir.
func memTableFor(fs vfs.FS, dir string) uint64 {
	names, err := fs.List(dir)
	if err != nil {
		return minMemTable // it does not exist yet
	}
	var tables int64
	for _, name := range names {
		if !isTable(name) {
			continue
		}
		// A table that was deleted meanwhile does not count.
		if info, err := fs.Stat(fs.PathJoin(dir, name)); err == nil {
			tables += info.Size()
		}
	}
	return uint64(min(max(tables/2, minMemTable), maxMemTable))
}

// engineFormat is the engine's own version of its files. The log's chunks carry how far it was
// synced, which tells a flipped log from a torn one.
const engineFormat = pebble.FormatTableFormatV6

// An engine is one opening of Pebble, with its fence. Once the fence is closed it can only be read.
type engine struct {
	db    *pebble.DB
	fence *fence

	// anchor is an older snapshot than those that snapshot returns. Who commits has it.
	anchor    *pebble.Snapshot
	snapshots int // returned since it was taken

	// use is held for reading by readers that may run beside close.
	use    sync.RWMutex
	closed bool

	mu         sync.Mutex // guards background
	background error      // the first corruption found in the background
}

var errEngineClosed = errors.New("engine closed")

// openEngine opens, or creates, the engine's directory. Nothing else may have it open, except for
// an engine whose fence is closed.
func openEngine(o *Options, dir string, create bool) (*engine, error) {
	e := &engine{fence: newFence(o.fs)}
	options := e.options(o, dir)
	options.ErrorIfNotExists = !create
	err := guard(func() (err error) {
		e.db, err = pebble.Open(dir, options)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := e.fence.failure(); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// openEngineReadOnly opens an existing directory, which must not change while it is open.
func openEngineReadOnly(o *Options, dir string) (*engine, error) {
	e := &engine{fence: newFence(o.fs)}
	options := e.options(o, dir)
	options.ReadOnly = true
	options.ErrorIfNotExists = true
	err := guard(func() (err error) {
		e.db, err = pebble.Open(dir, options)
		return err
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (e *engine) options(settings *Options, dir string) *pebble.Options {
	memTable := settings.memTable
	if memTable == 0 {
		memTable = memTableFor(settings.fs, dir)
	}
	o := &pebble.Options{
		FS:                          e.fence,
		CacheSize:                   cacheSize,
		MemTableSize:                memTable,
		MemTableStopWritesThreshold: 3,
		MaxOpenFiles:                openFiles,
		// Waiting for compactions would only make reads faster, and there are few.
		L0StopWritesThreshold: 64,
		FormatMajorVersion:    engineFormat,
		Logger:                logger{e},
		EventListener: &pebble.EventListener{
			BackgroundError: e.backgroundError,
			DataCorruption:  func(i pebble.DataCorruptionInfo) { e.corrupt(fmt.Errorf("%s: %w", i.Path, i.Details)) },
		},
	}
	for i := range o.Levels {
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	}
	o.Levels[0].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	o.Experimental.CompactionScheduler = newScheduler(e.fence)
	o.Experimental.FileCacheShards = 1
	// Everything is read once at the start and hardly ever afterwards.
	o.Experimental.ReadSamplingMultiplier = -1
	return o
}

// backgroundError is called for failed flushes and compactions.
func (e *engine) backgroundError(err error) {
	if pebble.IsCorruptionError(err) {
		e.corrupt(err)
		return
	}
	e.fence.close(err)
}

// corrupt records that tables are not what was written.
func (e *engine) corrupt(err error) {
	e.mu.Lock()
	if e.background == nil {
		e.background = err
	}
	e.mu.Unlock()
	e.fence.close(err)
}

// corruption returns the first error that corrupt recorded.
func (e *engine) corruption() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.background
}

// logger receives the errors for which Pebble would end the process.
type logger struct{ e *engine }

func (logger) Infof(string, ...any)  {}
func (logger) Errorf(string, ...any) {}
func (l logger) Fatalf(format string, args ...any) {
	l.e.fence.close(fmt.Errorf(format, args...))
}

// guard turns a panic into an error. Pebble panics on some kinds of damaged files.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if cause, ok := r.(error); ok {
				err = fmt.Errorf("the engine panicked: %w", cause)
			} else {
				err = fmt.Errorf("the engine panicked: %v", r)
			}
		}
	}()
	return f()
}

// apply writes a batch. nil means that it is applied and, with sync, durable. After an error the
// engine can only be read, and whether the batch reached the disk is open.
func (e *engine) apply(b *pebble.Batch, sync bool) error {
	if err := e.fence.failure(); err != nil {
		return err
	}
	options := pebble.NoSync
	if sync {
		options = pebble.Sync
	}
	if err := guard(func() error { return e.db.Apply(b, options) }); err != nil {
		e.fence.close(err)
	}
	return e.fence.failure()
}

// anchorSnapshots is for how many snapshots an anchor stays. The engine keeps what has been replaced since.
const anchorSnapshots = 256

// snapshot returns the contents as they are now. It is to be closed before the next call. When the oldest snapshot is closed,
// Pebble looks for something to compact, which takes a twentieth of the CPU time of a commit. So one that is older stays open
// for a while.
func (e *engine) snapshot() *pebble.Snapshot {
	if e.anchor == nil || e.snapshots == anchorSnapshots {
		e.closeAnchor()
		e.anchor, e.snapshots = e.db.NewSnapshot(), 0
	}
	e.snapshots++
	return e.db.NewSnapshot()
}

func (e *engine) closeAnchor() {
	if e.anchor != nil {
		_ = e.anchor.Close() // never fails
		e.anchor = nil
	}
}

// get calls use with a key's value, which is valid during the call only, and returns whether there
// is the key. It may be called beside close.
func (e *engine) get(key []byte, use func(value []byte) error) (found bool, err error) {
	e.use.RLock()
	defer e.use.RUnlock()
	if e.closed {
		return false, errEngineClosed
	}
	err = guard(func() error { return get(e.db, key, &found, use) })
	return found, err
}

func get(r pebble.Reader, key []byte, found *bool, use func([]byte) error) error {
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	*found = true
	err = use(value)
	return errors.Join(err, closer.Close())
}

// scan calls visit with every key that begins with prefix, in order. It must not run beside close.
func (e *engine) scan(prefix byte, visit func(key, value []byte) error) error {
	return guard(func() error { return scan(e.db, []byte{prefix}, []byte{prefix + 1}, visit) })
}

// scanBeside calls visit with every key from first up to end. It may be called beside close, which
// waits for it.
func (e *engine) scanBeside(first, end []byte, visit func(key, value []byte) error) error {
	e.use.RLock()
	defer e.use.RUnlock()
	if e.closed {
		return errEngineClosed
	}
	return guard(func() error { return scan(e.db, first, end, visit) })
}

func scan(db *pebble.DB, first, end []byte, visit func(key, value []byte) error) (err error) {
	i, err := db.NewIter(&pebble.IterOptions{LowerBound: first, UpperBound: end})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	for ok := i.First(); ok; ok = i.Next() {
		value, err := i.ValueAndErr()
		if err != nil {
			return err
		}
		if err := visit(i.Key(), value); err != nil {
			return err
		}
	}
	return i.Error()
}

// state reads the state key.
func (e *engine) state() (s state, found bool, err error) {
	found, err = e.get([]byte{keyState}, func(value []byte) (err error) {
		s, err = decodeState(value)
		return err
	})
	return s, found, err
}

// empty reports whether there is no key at all.
func (e *engine) empty() (empty bool, err error) {
	err = guard(func() error {
		i, err := e.db.NewIter(nil)
		if err != nil {
			return err
		}
		empty = !i.First()
		return i.Close()
	})
	return empty, err
}

// inverse returns the batch that restores what a batch, given as its octets, changes to what before
// has, which must be from before it was applied.
func (e *engine) inverse(batch []byte, before *pebble.Snapshot) (undo []byte, err error) {
	err = guard(func() error {
		u := e.db.NewBatch()
		defer u.Close()
		for r := batchrepr.Read(batch); ; {
			_, key, _, ok, err := r.Next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			found := false
			err = get(before, key, &found, func(value []byte) error { return u.Set(key, value, nil) })
			if err == nil && !found {
				err = u.Delete(key, nil)
			}
			if err != nil {
				return err
			}
		}
		undo = append(undo, u.Repr()...)
		return nil
	})
	return undo, err
}

// close closes the engine once no reader uses it. Its error tells whether data that was not synced
// yet is durable.
func (e *engine) close() error {
	e.use.Lock()
	defer e.use.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	if err := guard(func() error {
		e.closeAnchor()
		return e.db.Close()
	}); err != nil {
		return err
	}
	return e.fence.failure()
}
