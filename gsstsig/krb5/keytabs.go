package krb5

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// DefaultRetention is how long keys that are gone from their files stay usable: the
// life of a ticket with the customary limit of a day, and the clock skew.
const DefaultRetention = 24*time.Hour + DefaultClockSkew

// maxRemoved bounds the keys that are gone and still usable; the oldest give
// way.
const maxRemoved = 256

// maxTries bounds the keys that one ticket is tried with: garbage costs no more
// than that. The version that it names comes first, then the newest.
const maxTries = 32

// racy is how long after its last modification a file may have changed again
// without looking different: the coarsest clock of a usual file system.
const racy = 2 * time.Second

// Tickets that no key opens have changed files read again, at most that often:
// a file that stays broken, or that has just changed, is seen as changed every
// time, and any client can make a ticket that no key decrypts.
const (
	missedReadsPerSecond = 10
	missedReadsBurst     = 10
)

// Keytabs is the set of keys of one or more keytab files. It is safe for
// concurrent use: readers see one immutable set, which Reload replaces as a
// whole.
//
// Keys that a reload finds replaced or removed stay usable for a while, since
// clients go on presenting the tickets that they have. They are no longer
// listed. To stop the use of a stolen key at once, restart the server, or see
// SetRetention.
type Keytabs struct {
	set atomic.Pointer[keySet]
	now func() time.Time

	mu        sync.Mutex // guards what follows; one Reload at a time
	files     []keytabFile
	retention time.Duration
	removed   []removedKey // oldest first
	untold    bool         // the keys changed, and Reload has not said so yet
	missed    *rate.Limiter
}

type keytabFile struct {
	name    string
	info    fs.FileInfo // when entries were read
	read    time.Time   // by the file system's clock, as far as that is ours
	entries []keytabEntry
}

// removedKey is a key that its file no longer holds.
type removedKey struct {
	entry keytabEntry
	until time.Time
}

// keySet is what all files hold together, and what they held lately. It never
// changes once published.
type keySet struct {
	infos    []KeyInfo
	realms   []string
	services map[string][]*serviceKey // by Principal.folded, newest first
}

// serviceKey is a key that tickets may be encrypted in, ready for use.
type serviceKey struct {
	principal Principal
	version   uint32
	until     time.Time // zero for one that a file holds
	ticket    cipherKeys
	pac       []byte // that signs PACs
	record    []byte // that protects records of contexts; nil for RC4
}

// usable reports whether the key is held, or was until lately.
func (k *serviceKey) usable(now time.Time) bool { return k.until.IsZero() || now.Before(k.until) }

// OpenKeytabs reads the files. If one is missing, unreadable, not a keytab, or
// holds no keys, the error names it and the fix.
func OpenKeytabs(files ...string) (*Keytabs, error) {
	if len(files) == 0 {
		return nil, errors.New("no keytab file is given")
	}
	k := &Keytabs{now: time.Now, retention: DefaultRetention, missed: rate.NewLimiter(missedReadsPerSecond, missedReadsBurst)}
	for _, name := range files {
		read := time.Now()
		entries, info, err := readKeytab(name)
		if err != nil {
			return nil, err
		}
		k.files = append(k.files, keytabFile{name: name, info: info, read: read, entries: entries})
	}
	k.set.Store(newKeySet(k.files, nil))
	return k, nil
}

// SetRetention sets how long keys stay usable after a reload found them gone: the
// longest life of a ticket that the KDC gives out, and the clock skew. It
// holds for those that go from now on; DefaultRetention is what it was before. With
// 0 or less none stay, and those that did are forgotten.
func (k *Keytabs) SetRetention(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.retention = d
	if d <= 0 {
		k.removed = nil
		k.set.Store(newKeySet(k.files, nil))
	}
}

// Inherit keeps the keys that old, the set of an earlier configuration, held or
// kept and that are gone from the files which both name. Thus a new
// configuration does not end the life of tickets either. Files that only old
// names are not in use any more, and neither are their keys.
func (k *Keytabs) Inherit(old *Keytabs) {
	if k == old {
		return
	}
	old.mu.Lock()
	files, removed := slices.Clone(old.files), slices.Clone(old.removed)
	old.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	named := func(file string) bool {
		return slices.ContainsFunc(k.files, func(f keytabFile) bool { return f.name == file })
	}
	files = slices.DeleteFunc(files, func(f keytabFile) bool { return !named(f.name) })
	removed = slices.DeleteFunc(removed, func(r removedKey) bool { return !named(r.entry.info.File) })
	if k.retention > 0 {
		k.removed = append(removed, k.removed...)
	}
	k.expire()
	k.remember(files)
	k.set.Store(newKeySet(k.files, k.removed))
}

// A KeytabWarning is what is wrong with a keytab file although it can be read,
// in words for an administrator.
type KeytabWarning struct {
	File    string // its path
	Problem string // without the name of the file
	Fix     string // what to do about it
}

// Warnings examines the permissions of the files as they are now.
func (k *Keytabs) Warnings() []KeytabWarning {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []KeytabWarning
	for _, f := range k.files {
		info, err := os.Stat(f.name)
		if err != nil {
			continue // for Reload to tell
		}
		var problem string
		switch mode := info.Mode().Perm(); {
		case mode&0o002 != 0:
			problem = fmt.Sprintf("it can be changed by everyone on this host (mode %04o), who can thereby pose as any client", mode)
		case mode&0o004 != 0:
			problem = fmt.Sprintf("it can be read by everyone on this host (mode %04o), who can thereby pose as this server and as any client", mode)
		default:
			continue
		}
		list = append(list, KeytabWarning{File: f.name, Problem: problem, Fix: "chmod 600 " + f.name})
	}
	return list
}

// Keys lists what the files hold, in their order, including keys whose
// encryption type is not supported and which are therefore not used.
func (k *Keytabs) Keys() []KeyInfo { return slices.Clone(k.set.Load().infos) }

// Realms lists the realms of the keys, sorted.
func (k *Keytabs) Realms() []string { return slices.Clone(k.set.Load().realms) }

// Reload reads the files again that have changed since they were read, by
// modification time, size, or being another file; it does not matter whether
// they were written in place or renamed into it. changed tells whether the
// files hold other keys than the last Reload found. A file that cannot be read
// or is broken keeps the keys it had, is tried again by the next Reload, and is
// named by the error; other files are read nevertheless.
//
// Acceptors do not wait for it where a ticket needs a key that is not held:
// they read changed files themselves, and the next Reload tells of it.
func (k *Keytabs) Reload() (changed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	err = k.reload()
	changed, k.untold = k.untold, false
	return changed, err
}

// refresh is called when no key in seen fits. It reports whether there are other
// keys by now, also if another goroutine has read them meanwhile: of all clients
// that come with the first tickets for a new key none is refused.
func (k *Keytabs) refresh(seen *keySet) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.set.Load() == seen && slices.ContainsFunc(k.files, keytabFile.differs) && k.missed.Allow() {
		// What is wrong with a file is told by the next Reload, which tries again.
		_ = k.reload()
	}
	return k.set.Load() != seen
}

// differs reports whether the file may hold something else than when it was
// read.
func (f keytabFile) differs() bool {
	now, err := os.Stat(f.name)
	return err != nil || !os.SameFile(now, f.info) || now.Size() != f.info.Size() || !now.ModTime().Equal(f.info.ModTime()) ||
		f.read.Sub(f.info.ModTime()).Abs() <= racy
}

func (k *Keytabs) reload() error {
	var (
		errs    []error
		changed bool
	)
	before := slices.Clone(k.files)
	for i := range k.files {
		f := &k.files[i]
		if !f.differs() {
			continue
		}
		read := time.Now()
		entries, info, err := readKeytab(f.name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !slices.EqualFunc(entries, f.entries, sameEntry) {
			changed = true
		}
		f.entries, f.info, f.read = entries, info, read
	}
	if expired := k.expire(); changed || expired {
		if changed {
			k.remember(before)
			k.untold = true
		}
		k.set.Store(newKeySet(k.files, k.removed))
	}
	return errors.Join(errs...)
}

func sameEntry(a, b keytabEntry) bool {
	return a.info.Principal.Equal(b.info.Principal) && a.info.KVNO == b.info.KVNO &&
		a.info.Enctype == b.info.Enctype && a.info.Added.Equal(b.info.Added) &&
		bytes.Equal(a.key.value, b.key.value)
}

// expire forgets the removed keys whose time is over.
func (k *Keytabs) expire() bool {
	now, n := k.now(), len(k.removed)
	k.removed = slices.DeleteFunc(k.removed, func(r removedKey) bool { return !now.Before(r.until) })
	return len(k.removed) != n
}

// remember keeps the keys that were in the files before and are no more.
func (k *Keytabs) remember(before []keytabFile) {
	if k.retention <= 0 {
		return
	}
	held := make(map[keyIdentity]bool)
	for _, f := range k.files {
		for _, e := range f.entries {
			held[e.identity()] = true
		}
	}
	k.removed = slices.DeleteFunc(k.removed, func(r removedKey) bool { return held[r.entry.identity()] })
	until := k.now().Add(k.retention)
	for _, f := range before {
		for _, e := range f.entries {
			if id := e.identity(); e.key.valid() && !held[id] {
				held[id] = true
				k.removed = append(k.removed, removedKey{entry: e, until: until})
			}
		}
	}
	if excess := len(k.removed) - maxRemoved; excess > 0 {
		k.removed = slices.Delete(k.removed, 0, excess)
	}
}

// keyIdentity tells keys apart: a digest of name, version, type and value.
type keyIdentity [sha256.Size]byte

func (e *keytabEntry) identity() keyIdentity {
	b := appendCounted(make([]byte, 0, 256), e.info.Principal.folded())
	b = binary.BigEndian.AppendUint32(b, e.info.KVNO)
	b = binary.BigEndian.AppendUint32(b, uint32(e.info.Enctype))
	b = append(b, e.key.value...)
	defer clear(b)
	return sha256.Sum256(b)
}

func newKeySet(files []keytabFile, removed []removedKey) *keySet {
	s := &keySet{services: make(map[string][]*serviceKey)}
	seen := make(map[keyIdentity]bool)
	add := func(e keytabEntry, until time.Time) {
		// The same key may be in several files, or twice under a name that
		// differs in case.
		id := e.identity()
		if !e.key.valid() || seen[id] {
			return
		}
		seen[id] = true
		name := e.info.Principal.folded()
		s.services[name] = append(s.services[name], &serviceKey{
			principal: e.info.Principal,
			version:   e.info.KVNO,
			until:     until,
			ticket:    e.key.cipherKeys(usageTicket),
			pac:       e.key.checksumKey(usagePAC),
			record:    e.key.recordSecret(),
		})
	}
	for _, f := range files {
		for _, e := range f.entries {
			s.infos = append(s.infos, e.info)
			s.realms = append(s.realms, e.info.Principal.Realm)
			add(e, time.Time{})
		}
	}
	for _, r := range slices.Backward(removed) {
		add(r.entry, r.until)
	}
	slices.Sort(s.realms)
	s.realms = slices.Compact(s.realms)
	for _, keys := range s.services {
		// Newest first: where the version does not decide, it is the likeliest.
		slices.SortStableFunc(keys, func(a, b *serviceKey) int { return cmp.Compare(b.version, a.version) })
	}
	return s
}

// candidates are the keys to try for a ticket: those of the version it names,
// then all others of its encryption type, and of each those that are held
// before those that were. The number is only a hint: a trust or an account
// that was recreated may bring another key under the same one, and files
// written by some tools count differently.
func candidates(keys []*serviceKey, enctype Enctype, version uint32, now time.Time) []*serviceKey {
	var exact, rest, exactRemoved, restRemoved []*serviceKey
	for _, k := range keys {
		named := version != 0 && k.version == version
		switch {
		case k.ticket.encryption.id != enctype || !k.usable(now):
		case named && k.until.IsZero():
			exact = append(exact, k)
		case named:
			exactRemoved = append(exactRemoved, k)
		case k.until.IsZero():
			rest = append(rest, k)
		default:
			restRemoved = append(restRemoved, k)
		}
	}
	list := slices.Concat(exact, exactRemoved, rest, restRemoved)
	return list[:min(len(list), maxTries)]
}
