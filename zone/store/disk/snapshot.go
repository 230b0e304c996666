package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A Snapshot is a database as it was at one moment, for reading. It may be taken while another
// process has the directory open, and then holds every commit that was acknowledged before
// OpenSnapshot was called, perhaps later ones, and each commit whole or not at all. A commit that
// fails while the snapshot is taken may be in it, as after a crash.
type Snapshot struct {
	dir      string
	identity identity
	engine   *engine
	fs       *snapshotFS
	serial   uint32
	found    bool
	// first and end are the numbers of the changes in the log.
	first, end uint64
}

// snapshotTimeout is how long OpenSnapshot tries to copy a state while the engine is changing its
// files.
const snapshotTimeout = 10 * time.Second

// OpenSnapshot takes a snapshot of the database in dir. It neither locks nor writes anything. The
// errors are those of Open, but for ErrLocked.
//
// The engine's files are of three kinds. Tables never change once they are written. The manifest
// lists the tables and logs that make up the state; it only grows, or is replaced by a new file.
// Logs grow, and are reused under another name when the manifest no longer lists them. The files
// that one manifest lists, copied while it does not change, are therefore a state of the engine, up
// to the point that the logs had reached when they were copied.
func OpenSnapshot(ctx context.Context, dir string) (*Snapshot, error) {
	deadline := time.Now().Add(snapshotTimeout)
	for {
		// Another process may be converting the directory.
		identity, found, err := readIdentity(dir)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, noDatabase(dir)
		}
		s, again, err := openSnapshot(dir, identity)
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("store: snapshot: %w", ctx.Err())
		}
		if !again || time.Now().After(deadline) {
			return nil, err
		}
	}
}

// openSnapshot tries once. again reports that the files changed meanwhile, so that err may have no
// meaning.
func openSnapshot(dir string, i identity) (s *Snapshot, again bool, err error) {
	s = &Snapshot{dir: dir, identity: i}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	// This file is read first, because it must not be ahead of the others.
	b, err := os.ReadFile(filepath.Join(dir, acknowledgedFile))
	if err != nil {
		return s, false, fmt.Errorf("store: %w", err)
	}
	data := filepath.Join(dir, i.data())
	before, err := manifest(data)
	if err != nil {
		return s, true, unusable(dir, err)
	}
	options := Options{Origin: i.origin}.withDefaults()
	s.fs, err = takeFiles(data)
	if err == nil {
		options.fs = s.fs
		s.engine, err = openEngineReadOnly(&options, data)
	}
	after, changed := manifest(data)
	again = changed != nil || !bytes.Equal(before, after)
	if err == nil && again {
		err = errors.New("the database changes too fast")
	}
	if err != nil {
		return s, again, unusable(dir, err)
	}
	d := Disk{dir: dir, options: options, identity: i}
	acknowledged, unknown := decodeAcknowledged(b)
	if err := d.recognize(s.engine, acknowledged, unknown); err != nil {
		return s, false, err
	}
	s.serial, s.found = d.state.serial, d.found
	s.first, s.end = d.logStart, d.state.logged
	return s, false, nil
}

// manifest returns the name and the contents of the engine's present manifest.
func manifest(dir string) ([]byte, error) {
	description, err := pebble.Peek(dir, vfs.Default)
	if err != nil {
		return nil, err
	}
	if !description.Exists {
		return nil, pebble.ErrDBDoesNotExist
	}
	contents, err := os.ReadFile(description.ManifestFilename)
	if err != nil {
		return nil, err
	}
	return append([]byte(description.ManifestFilename+"\n"), contents...), nil
}

// snapshotFS holds a copy of the small files of a directory and an open handle of each table, which
// keeps it readable after the engine has removed it.
type snapshotFS struct {
	vfs.FS // in memory
	tables map[string]vfs.File
}

func takeFiles(dir string) (*snapshotFS, error) {
	s := &snapshotFS{FS: vfs.NewMem(), tables: make(map[string]vfs.File)}
	if err := s.FS.MkdirAll(dir, dirMode); err != nil {
		return s, err
	}
	names, err := vfs.Default.List(dir)
	if err != nil {
		return s, err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if isTable(name) {
			s.tables[path], err = vfs.Default.Open(path)
		} else if name != lockFile {
			err = copyFile(s.FS, path)
		}
		if errors.Is(err, os.ErrNotExist) {
			// If it is needed, the engine reports it.
			delete(s.tables, path)
			continue
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

func copyFile(to vfs.FS, path string) error {
	contents, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := to.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(contents)
	return errors.Join(err, f.Close())
}

func (s *snapshotFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if f, ok := s.tables[name]; ok {
		return sharedFile{f}, nil
	}
	return s.FS.Open(name, opts...)
}

func (s *snapshotFS) Stat(name string) (vfs.FileInfo, error) {
	if f, ok := s.tables[name]; ok {
		return f.Stat()
	}
	return s.FS.Stat(name)
}

func (s *snapshotFS) List(dir string) ([]string, error) {
	names, err := s.FS.List(dir)
	for path := range s.tables {
		names = append(names, filepath.Base(path))
	}
	return names, err
}

func (s *snapshotFS) Unwrap() vfs.FS { return s.FS }

// A sharedFile stays open when one of its users closes it. Tables are read with ReadAt only.
type sharedFile struct{ vfs.File }

func (sharedFile) Close() error { return nil }

// Origin returns the zone's name.
func (s *Snapshot) Origin() string { return s.identity.origin }

// Load passes all records and owners to v, as [store.Store] does.
func (s *Snapshot) Load(ctx context.Context, v store.Visitor) (serial uint32, found bool, err error) {
	if !s.found {
		return 0, false, nil
	}
	if err := visit(ctx, s.dir, s.engine, s.identity.decoder(), v); err != nil {
		return 0, true, err
	}
	return s.serial, true, nil
}

// Log yields the changes of the log, newest first, as [store.Store] does.
func (s *Snapshot) Log(ctx context.Context) iter.Seq2[store.Change, error] {
	return backward(ctx, s.first, s.end, func(start, end uint64) (list []store.Change, err error) {
		err = s.engine.scanBeside(appendChangeKey(nil, start), appendChangeKey(nil, end), func(_, value []byte) error {
			c, err := s.identity.change(value)
			list = append(list, c)
			return err
		})
		if err != nil {
			return nil, unusable(s.dir, err)
		}
		return list, nil
	})
}

// Close releases the snapshot.
func (s *Snapshot) Close() error {
	var err error
	if s.engine != nil {
		err = s.engine.close()
	}
	if s.fs != nil {
		for _, f := range s.fs.tables {
			err = errors.Join(err, f.Close())
		}
		s.fs = nil
	}
	return err
}
