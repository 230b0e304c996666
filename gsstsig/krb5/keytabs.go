package krb5

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// Keytabs is the set of keys of one or more keytab files. It is safe for
// concurrent use: readers see one immutable set, which Reload replaces as a
// whole.
type Keytabs struct {
	set atomic.Pointer[keySet]

	mu    sync.Mutex // guards files; one Reload at a time
	files []keytabFile
}

type keytabFile struct {
	name    string
	info    fs.FileInfo // when entries were read
	entries []keytabEntry
}

// keySet is what all files hold together. It never changes once published.
type keySet struct {
	infos    []KeyInfo
	realms   []string
	services map[string][]*serviceKey // by Principal.folded, newest first
}

// serviceKey is a key that tickets may be encrypted in, ready for use.
type serviceKey struct {
	principal Principal
	version   uint32
	ticket    cipherKeys
	pac       []byte // that signs PACs
}

// OpenKeytabs reads the files. If one is missing, unreadable, not a keytab, or
// holds no keys, the error names it and the mend.
func OpenKeytabs(files ...string) (*Keytabs, error) {
	if len(files) == 0 {
		return nil, errors.New("no keytab file is given")
	}
	k := new(Keytabs)
	for _, name := range files {
		entries, info, err := readKeytab(name)
		if err != nil {
			return nil, err
		}
		k.files = append(k.files, keytabFile{name: name, info: info, entries: entries})
	}
	k.set.Store(newKeySet(k.files))
	return k, nil
}

// Keys lists what the files hold, in their order, including keys whose
// encryption type is not supported and which are therefore not used.
func (k *Keytabs) Keys() []KeyInfo { return slices.Clone(k.set.Load().infos) }

// Realms lists the realms of the keys, sorted.
func (k *Keytabs) Realms() []string { return slices.Clone(k.set.Load().realms) }

// Reload reads the files again that have changed since they were read, by
// modification time, size, or being another file. changed tells whether the
// set was replaced. A file that cannot be read or is broken keeps the keys it
// had, is tried again by the next Reload, and is named by the error; other
// files are taken over nevertheless.
func (k *Keytabs) Reload() (changed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	for i := range k.files {
		f := &k.files[i]
		now, err := os.Stat(f.name)
		if err == nil && os.SameFile(now, f.info) && now.Size() == f.info.Size() && now.ModTime().Equal(f.info.ModTime()) {
			continue
		}
		entries, info, err := readKeytab(f.name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		f.entries, f.info = entries, info
		changed = true
	}
	if changed {
		k.set.Store(newKeySet(k.files))
	}
	return changed, errors.Join(errs...)
}

func newKeySet(files []keytabFile) *keySet {
	s := &keySet{services: make(map[string][]*serviceKey)}
	for _, f := range files {
		for _, e := range f.entries {
			s.infos = append(s.infos, e.info)
			s.realms = append(s.realms, e.info.Principal.Realm)
			if !e.key.valid() {
				continue
			}
			name := e.info.Principal.folded()
			s.services[name] = append(s.services[name], &serviceKey{
				principal: e.info.Principal,
				version:   e.info.Version,
				ticket:    e.key.cipherKeys(usageTicket),
				pac:       e.key.checksumKey(usagePAC),
			})
		}
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
// then all others of its encryption type. The number is only a hint: a trust
// or an account that was made anew may bring another key under the same one,
// and files written by some tools count differently.
func candidates(keys []*serviceKey, encryptionType int32, version uint32) []*serviceKey {
	var exact, rest []*serviceKey
	for _, k := range keys {
		switch {
		case k.ticket.encryption.id != encryptionType:
		case version != 0 && k.version == version:
			exact = append(exact, k)
		default:
			rest = append(rest, k)
		}
	}
	return append(exact, rest...)
}
