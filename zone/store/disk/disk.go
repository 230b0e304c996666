package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Options are what Open needs. Zero values have defaults, but for Origin.
type Options struct {
	// Origin is the zone's name: lower case, absolute, in presentation form. Required.
	Origin string

	// The next three bound the log of changes, from which incremental transfers are read. The bound
	// that is reached first applies; the last change is always kept. Changes beyond a bound are
	// deleted a few hundred at a time.

	// MaxChanges is how many changes are kept. 0 means 100,000. An index of them is in memory, 16
	// octets each.
	MaxChanges int
	// MaxOctets is how many octets they may take. 0 means 64 MiB.
	MaxOctets int64
	// MaxAge is how long they are kept, rounded up to hours. 0 means 30 days. It is applied when a
	// change is added.
	MaxAge time.Duration

	// Retry is how long after an attempt to recover from a failed disk the next one is made, if
	// there is a Commit. 0 means one second.
	Retry time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// fs is where the engine's files are; nil means the real ones. Tests inject faults there.
	fs vfs.FS
	// memTable is how much the engine keeps in memory before it writes a table; 0 means a size that
	// depends on the zone's. Tests set it small.
	memTable uint64
	// chunk is about how many octets Init writes at once; 0 means initChunk.
	chunk int
}

func (o Options) withDefaults() Options {
	if o.MaxChanges <= 0 {
		o.MaxChanges = 100_000
	}
	if o.MaxOctets <= 0 {
		o.MaxOctets = 64 << 20
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 30 * 24 * time.Hour
	}
	if o.Retry <= 0 {
		o.Retry = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.fs == nil {
		o.fs = vfs.Default
	}
	if o.chunk == 0 {
		o.chunk = initChunk
	}
	return o
}

// Disk is a store.Store in a directory. Its methods are safe for concurrent use, but Init, Commit
// and Load wait for each other.
type Disk struct {
	dir      string
	options  Options
	identity identity
	lock     io.Closer
	// acknowledged holds state.commits of the last Commit that returned nil.
	acknowledged *acknowledged

	// writing is held while the engine's contents are changed or the engine is replaced. It guards
	// what follows up to mu.
	writing sync.Mutex
	// logStart is the number of the first change that may still be in the log.
	logStart uint64
	// leftover is set if a failed Init has left data behind.
	leftover bool
	// undo is the batch that reverts a failed Commit, until it has been applied. retried is the
	// time of the last attempt, failure is why that failed.
	undo    []byte
	retried time.Time
	failure error
	// unwritable is why there can be no more commits.
	unwritable error

	// mu guards what follows. It is held for writing only together with writing, so that having
	// either lock is enough for reading.
	mu     sync.RWMutex
	closed bool
	// engine is nil only after closed, or after a failed Init.
	engine  *engine
	found   bool
	state   state // as acknowledged
	history history
}

var _ store.Store = (*Disk)(nil)

// Open opens the zone's database in dir, or makes an empty one if there is no such directory or
// nothing in it. Nothing of a directory that cannot be opened is changed. Errors wrap ErrLocked,
// ErrInsecure, ErrForeign, ErrFormat, ErrOtherZone or ErrDamaged where they apply, and say what to do.
//
// Only the directory's owner may be able to write to it, to what is in it, and to the directory
// that holds it. It must not be a symbolic link itself. [Replaceable] tells of the directories above.
//
// The directory must be on a file system of this machine: locks and syncs of network file systems
// are not trusted.
func Open(dir string, options Options) (*Disk, error) {
	d := &Disk{options: options.withDefaults()}
	if options.Origin == "" {
		return nil, errors.New("store: no origin")
	}
	var err error
	// Locks of this process are listed by name.
	if d.dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := checkLink(d.dir); err != nil {
		return nil, err
	}
	// A directory that is not a database must not get a lock file.
	if _, _, err := readIdentity(d.dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.dir, dirMode); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if d.dir, err = filepath.EvalSymlinks(d.dir); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err = checkAccess(d.dir); err != nil {
		return nil, err
	}
	if d.lock, err = lockDir(d.dir); err != nil {
		return nil, err
	}
	if err = d.open(); err != nil {
		return nil, errors.Join(err, d.release())
	}
	return d, nil
}

// open is Open behind the lock.
func (d *Disk) open() error {
	identity, found, err := readIdentity(d.dir)
	if err != nil {
		return err
	}
	if d.acknowledged, err = openAcknowledged(d.dir); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if !found {
		identity.format, identity.origin, identity.id = formatVersion, d.options.Origin, newID()
		err := d.acknowledged.write(0)
		if err == nil {
			err = d.acknowledged.file.Sync()
		}
		if err == nil {
			err = writeIdentity(d.dir, identity)
		}
		if err != nil {
			return fmt.Errorf("store: %s: cannot make a database: %w", d.dir, err)
		}
	}
	if identity.origin != d.options.Origin {
		return diagnose.WithFix(fmt.Errorf("store: %s: %w: it has %s, not %s", d.dir, ErrOtherZone, identity.origin, d.options.Origin),
			"give each zone its own directory")
	}
	d.identity = identity
	commits, unknown := d.acknowledged.read()
	if unknown != nil && !errors.Is(unknown, errNotAcknowledged) {
		return fmt.Errorf("store: %w", unknown)
	}
	if identity.format != formatVersion {
		if err := d.convert(commits, unknown); err != nil {
			return err
		}
	}
	// A conversion that ended before it had removed the old contents left them.
	for version, f := range formats {
		if version == formatVersion {
			continue
		}
		if err := d.options.fs.RemoveAll(filepath.Join(d.dir, f.data)); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	if err := d.examine(commits, unknown); err != nil {
		return err
	}
	// Where there was a zone an engine must be found. Pebble would create an empty database in a
	// directory whose files it does not recognize.
	if d.engine, err = openEngine(&d.options, d.data(), !d.found); err != nil {
		return d.unusable(err)
	}
	if !d.found {
		return nil
	}
	if err := d.revert(d.engine); err != nil {
		return d.unusable(err)
	}
	if unknown != nil {
		if err := d.acknowledged.file.Truncate(0); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	if unknown != nil || commits != d.state.commits {
		if err := d.acknowledged.write(d.state.commits); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	return nil
}

// examine reads the engine's state before it is opened for writing, which would discard everything
// that recovery does not use.
func (d *Disk) examine(acknowledged uint64, unknown error) error {
	e, err := openEngineReadOnly(&d.options, d.data())
	switch {
	case err == nil:
		defer e.close()
		return d.recognize(e, acknowledged, unknown)
	case unknown == nil && acknowledged == 0 && missing(d.options.fs, d.data()):
		return nil
	}
	return d.unusable(err)
}

// missing reports whether there is no engine in dir that could hold anything, as when making it was
// interrupted.
func missing(fs vfs.FS, dir string) bool {
	names, err := fs.List(dir)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	for _, name := range names {
		if isTable(name) {
			return false
		}
	}
	_, err = pebble.Peek(dir, fs)
	return err == nil
}

// recognize reads the state of the engine's contents and verifies it.
func (d *Disk) recognize(e *engine, acknowledged uint64, unknown error) error {
	s, found, err := e.state()
	if err != nil {
		return d.unusable(err)
	}
	if !found {
		empty, err := e.empty()
		switch {
		case err != nil:
			return d.unusable(err)
		case unknown != nil:
			return damaged(d.dir, fmt.Errorf("it holds no zone, and %w", unknown))
		case acknowledged > 0:
			return damaged(d.dir, fmt.Errorf("it holds no zone, but commit %d was acknowledged", acknowledged))
		}
		d.leftover = !empty
		return nil
	}
	_, err = e.get([]byte{keyIdentity}, func(value []byte) error {
		if string(value) != d.identity.text() {
			return fmt.Errorf("its directory %s belongs to the database of a zone that says %q", d.identity.data(), value)
		}
		return nil
	})
	if err != nil {
		return d.unusable(err)
	}
	if unknown == nil && s.commits < acknowledged {
		return damaged(d.dir, fmt.Errorf("it ends at commit %d, but commit %d was acknowledged", s.commits, acknowledged))
	}
	h, err := d.loadHistory(e, s)
	if err != nil {
		return d.unusable(err)
	}
	d.logStart = h.first
	h.trim(&d.options)
	d.found, d.state, d.history = true, s, h
	return nil
}

// unusable explains an error of the engine. Errors of the operating system do not count as damage.
func (d *Disk) unusable(err error) error { return unusable(d.dir, err) }

func unusable(dir string, err error) error {
	var system interface{ Timeout() bool } // syscall.Errno
	if errors.As(err, &system) && !pebble.IsCorruptionError(err) && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("store: %s: cannot be opened: %w", dir, err)
	}
	return damaged(dir, err)
}

func (d *Disk) data() string { return filepath.Join(d.dir, d.identity.data()) }

// Load implements store.Store. Reading everything, it finds damage that Open has not seen.
func (d *Disk) Load(ctx context.Context, v store.Visitor) (serial uint32, found bool, err error) {
	d.writing.Lock()
	defer d.writing.Unlock()
	if d.closed {
		return 0, false, store.ErrClosed
	}
	if !d.found {
		return 0, false, nil
	}
	if err := visit(ctx, d.dir, d.engine, newDecoder(), v); err != nil {
		return 0, true, err
	}
	return d.state.serial, true, nil
}

// visit passes the engine's contents to v.
func visit(ctx context.Context, dir string, e *engine, decoder *recordDecoder, v store.Visitor) error {
	var visitor error
	count := 0
	done := func(err error) error {
		if visitor = err; err == nil && count%1024 == 0 {
			visitor = ctx.Err()
		}
		count++
		return visitor
	}
	err := e.scan(keyRecord, func(key, value []byte) error {
		r, err := decoder.record(key, value)
		if err != nil {
			return err
		}
		return done(v.Record(r))
	})
	if err == nil {
		err = e.scan(keyOwner, func(key, value []byte) error {
			o, err := decoder.owner(key, value)
			if err != nil {
				return err
			}
			return done(v.Owner(o))
		})
	}
	if visitor != nil {
		return visitor
	}
	if err != nil {
		return unusable(dir, err)
	}
	return ctx.Err()
}

// Close implements store.Store. An error means that a failed Commit could not be reverted, and may
// be found applied at the next Open.
func (d *Disk) Close() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if d.closed {
		return nil
	}
	var err error
	if d.undo != nil {
		d.retried = time.Time{}
		err = d.recover()
	}
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	// Acknowledged commits are durable even if closing fails.
	return errors.Join(err, d.release())
}

// release closes everything that Open opened.
func (d *Disk) release() error {
	if d.engine != nil {
		if d.engine.fence.failure() == nil {
			// Everything is then in tables. The end of the log is the only place where damage can
			// look like a crash.
			_ = guard(d.engine.db.Flush)
		}
		_ = d.engine.close()
	}
	if d.acknowledged != nil {
		_ = d.acknowledged.file.Close()
	}
	return d.lock.Close()
}
