package disk

import (
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// faults is a file system on which changes fail at will. It counts them.
type faults struct {
	vfs.FS

	mu    sync.Mutex
	ops   int // changes so far
	syncs int
	// The changes from number first on fail with err, until there were count of them; a negative
	// count is for ever.
	first, count int
	err          error
	// atSync puts off the first of them until there is a sync.
	atSync bool
	// torn writes the first half of what fails to be written; late does all of it once, and fails
	// then.
	torn, late bool
	lateDone   bool
	// room is how many octets may still be written; negative is no limit.
	room int64
}

func newFaults(base vfs.FS) *faults { return &faults{FS: base, room: -1} }

// arm makes count changes fail, after as many as skip.
func (f *faults) arm(skip, count int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.first, f.count, f.err, f.lateDone = f.ops+skip, count, err, false
}

// armSync makes the next sync and what follows it fail.
func (f *faults) armSync(err error) {
	f.arm(0, -1, err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.atSync = true
}

// heal ends all faults, and reports whether there were any.
func (f *faults) heal() (hit bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hit = f.err != nil && f.ops > f.first
	f.err, f.room, f.atSync = nil, -1, false
	return hit
}

// next counts a change of so many octets and returns whether it is to fail.
func (f *faults) next(octets int, sync bool) (torn, late bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.ops
	f.ops++
	if sync {
		f.syncs++
	}
	if f.room >= 0 {
		if int64(octets) > f.room {
			return true, false, &os.PathError{Op: "write", Err: errNoSpace}
		}
		f.room -= int64(octets)
	}
	if f.atSync = f.atSync && !sync; f.atSync {
		return false, false, nil
	}
	if f.err != nil && n >= f.first && f.count != 0 {
		f.count--
		late := f.late && !f.lateDone
		f.lateDone = true
		return f.torn, late, f.err
	}
	return false, false, nil
}

func (f *faults) change(do func() error) error {
	_, late, err := f.next(0, false)
	if err != nil {
		if late {
			_ = do()
		}
		return err
	}
	return do()
}

func (f *faults) Create(name string, category vfs.DiskWriteCategory) (file vfs.File, err error) {
	err = f.change(func() error {
		inner, err := f.FS.Create(name, category)
		file = &faultyFile{inner, f}
		return err
	})
	return file, err
}

func (f *faults) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (file vfs.File, err error) {
	err = f.change(func() error {
		inner, err := f.FS.ReuseForWrite(oldname, newname, category)
		file = &faultyFile{inner, f}
		return err
	})
	return file, err
}

func (f *faults) OpenDir(name string) (vfs.File, error) {
	inner, err := f.FS.OpenDir(name)
	return &faultyFile{inner, f}, err
}

func (f *faults) Rename(oldname, newname string) error {
	return f.change(func() error { return f.FS.Rename(oldname, newname) })
}

func (f *faults) Remove(name string) error {
	return f.change(func() error { return f.FS.Remove(name) })
}

func (f *faults) MkdirAll(dir string, mode os.FileMode) error {
	return f.change(func() error { return f.FS.MkdirAll(dir, mode) })
}

func (f *faults) Lock(name string) (io.Closer, error) { return f.FS.Lock(name) }
func (f *faults) Unwrap() vfs.FS                      { return f.FS }

type faultyFile struct {
	vfs.File
	faults *faults
}

func (w *faultyFile) Write(p []byte) (int, error) {
	torn, late, err := w.faults.next(len(p), false)
	if err != nil {
		n := 0
		if late {
			n = len(p)
		} else if torn {
			n = len(p) / 2
		}
		if n > 0 {
			_, _ = w.File.Write(p[:n])
		}
		return n, err
	}
	return w.File.Write(p)
}

func (w *faultyFile) sync(do func() error) error {
	_, late, err := w.faults.next(0, true)
	if err != nil {
		if late {
			_ = do()
		}
		return err
	}
	return do()
}

func (w *faultyFile) Sync() error     { return w.sync(w.File.Sync) }
func (w *faultyFile) SyncData() error { return w.sync(w.File.SyncData) }
