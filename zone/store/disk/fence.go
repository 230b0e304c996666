package disk

import (
	"io"
	"os"
	"path"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A fence stands between the engine and the disk. It is open at first, and all operations pass
// through it. The first write, sync, creation or renaming that fails closes it permanently. The
// files on the disk then stay as they are, and the engine's operations appear to succeed: changes
// to existing files are dropped, and new files exist in memory only.
//
// Writing a table returns its error, before and after, because the engine handles that: it discards
// the unfinished table and writes it again, into memory then.
//
// The reason for this is that Pebble panics or ends the process when its log or manifest cannot be
// written or rotated, in part in goroutines and with locks from which the caller cannot recover.
type fence struct {
	vfs.FS // for operations that do not change files

	// mu is held for reading during each change to the disk, and for writing while closing, so that
	// no change is in progress when the fence is closed.
	mu    sync.RWMutex
	cause error  // not nil once closed
	after vfs.FS // files created since then

	// closed is closed with the fence.
	closed chan struct{}
	// chmod sets a new file's mode.
	chmod func(name string) error
}

func newFence(base vfs.FS) *fence {
	f := &fence{FS: base, closed: make(chan struct{}), chmod: func(string) error { return nil }}
	if vfs.Root(base) == vfs.Default {
		f.chmod = func(name string) error { return os.Chmod(name, fileMode) }
	}
	return f
}

// failure returns the error that closed the fence, nil while it is open.
func (f *fence) failure() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.cause
}

// close closes the fence because of err, unless it is closed.
func (f *fence) close(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause == nil {
		f.cause = err
		f.after = vfs.NewMem()
		close(f.closed)
	}
}

// try makes a change to the disk if the fence is open, and closes it if that fails. It returns
// whether the change was made.
func (f *fence) try(change func() error) bool {
	f.mu.RLock()
	if f.cause != nil {
		f.mu.RUnlock()
		return false
	}
	err := change()
	f.mu.RUnlock()
	if err != nil {
		f.close(err)
		return false
	}
	return true
}

// memory returns the file system of the files that were created since the fence was closed, nil if
// it is open.
func (f *fence) memory() vfs.FS {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.after
}

// inMemory returns the file system in memory if it has that file.
func (f *fence) inMemory(name string) vfs.FS {
	if m := f.memory(); m != nil {
		if _, err := m.Stat(name); err == nil {
			return m
		}
	}
	return nil
}

// create is the common part of Create, OpenReadWrite and ReuseForWrite.
func (f *fence) create(name string, category vfs.DiskWriteCategory, open func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	done := f.try(func() (err error) {
		if file, err = open(); err != nil {
			return err
		}
		if err = f.chmod(name); err != nil {
			file.Close()
		}
		return err
	})
	if done {
		return &fencedFile{File: file, fence: f, name: name, table: isTable(name)}, nil
	}
	m := f.memory()
	if err := m.MkdirAll(f.PathDir(name), dirMode); err != nil {
		return nil, err
	}
	return m.Create(name, category)
}

func (f *fence) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.create(name, category, func() (vfs.File, error) { return f.FS.Create(name, category) })
}

func (f *fence) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if m := f.inMemory(name); m != nil {
		return m.OpenReadWrite(name, category, opts...)
	}
	return f.create(name, category, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, category, opts...) })
}

func (f *fence) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.create(newname, category, func() (vfs.File, error) { return f.FS.ReuseForWrite(oldname, newname, category) })
}

func (f *fence) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if m := f.inMemory(name); m != nil {
		return m.Open(name, opts...)
	}
	return f.FS.Open(name, opts...)
}

func (f *fence) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &fencedFile{File: file, fence: f, name: name}, nil
}

func (f *fence) Stat(name string) (vfs.FileInfo, error) {
	if m := f.inMemory(name); m != nil {
		return m.Stat(name)
	}
	return f.FS.Stat(name)
}

func (f *fence) List(dir string) ([]string, error) {
	names, err := f.FS.List(dir)
	if m := f.memory(); err == nil && m != nil {
		if more, err := m.List(dir); err == nil {
			names = append(names, more...)
		}
	}
	return names, err
}

func (f *fence) Rename(oldname, newname string) error {
	if m := f.inMemory(oldname); m != nil {
		return m.Rename(oldname, newname)
	}
	f.try(func() error { return f.FS.Rename(oldname, newname) })
	return nil
}

func (f *fence) Link(oldname, newname string) error {
	f.try(func() error { return f.FS.Link(oldname, newname) })
	return nil
}

// Remove and RemoveAll may fail without harm: the files are not needed any more, and are removed
// when the directory is next opened.

func (f *fence) Remove(name string) error {
	if m := f.inMemory(name); m != nil {
		return m.Remove(name)
	}
	return f.remove(func() error { return f.FS.Remove(name) })
}

func (f *fence) RemoveAll(name string) error {
	return f.remove(func() error { return f.FS.RemoveAll(name) })
}

func (f *fence) remove(change func() error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.cause != nil {
		return nil
	}
	return change()
}

func (f *fence) MkdirAll(dir string, _ os.FileMode) error {
	f.try(func() error { return f.FS.MkdirAll(dir, dirMode) })
	return nil
}

// Lock does nothing: the Disk holds a lock of its own while it is open, across several openings of
// the engine.
func (f *fence) Lock(string) (io.Closer, error) { return unlocked{}, nil }

func (f *fence) Unwrap() vfs.FS { return f.FS }

type unlocked struct{}

func (unlocked) Close() error { return nil }

// isTable reports whether name is that of a file that the engine writes once, and refers to only
// when that has succeeded.
func isTable(name string) bool {
	ext := path.Ext(name)
	return ext == ".sst" || ext == ".blob"
}

// fencedFile is a file of the disk that can be written.
type fencedFile struct {
	vfs.File
	fence *fence
	name  string
	table bool
}

// try makes a change to the file as fence.try does. err is nil except for tables.
func (w *fencedFile) try(change func() error) (err error) {
	done := w.fence.try(func() error {
		err = change()
		return err
	})
	if done || !w.table {
		return nil
	}
	if err != nil {
		// An unfinished table has no use, and the error may be that the disk is full.
		_ = w.fence.FS.Remove(w.name)
		return err
	}
	return w.fence.failure()
}

func (w *fencedFile) Write(p []byte) (int, error) {
	err := w.try(func() error {
		n, err := w.File.Write(p)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *fencedFile) WriteAt(p []byte, offset int64) (int, error) {
	err := w.try(func() error {
		_, err := w.File.WriteAt(p, offset)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Preallocate is a hint, and file systems that cannot do it are no failure. The engine asks for it
// where it appends and syncs, in its log, whose reader takes zeros for the end.
func (w *fencedFile) Preallocate(offset, length int64) error {
	w.fence.mu.RLock()
	defer w.fence.mu.RUnlock()
	if w.fence.cause != nil {
		return nil
	}
	return grow(w.File, offset, length)
}

func (w *fencedFile) Sync() error     { return w.try(w.File.Sync) }
func (w *fencedFile) SyncData() error { return w.try(w.File.SyncData) }

func (w *fencedFile) SyncTo(length int64) (full bool, err error) {
	err = w.try(func() (err error) {
		full, err = w.File.SyncTo(length)
		return err
	})
	return full, err
}

func (w *fencedFile) Close() error {
	err := w.File.Close()
	if err != nil {
		w.fence.close(err)
	}
	if w.table {
		return err
	}
	return nil
}
