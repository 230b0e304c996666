package disk

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// An image is a database as a process left it: the engine's files by name, and the acknowledged
// commit.
type image struct {
	files        map[string][]byte
	acknowledged uint64
	model        *model
}

func readAll(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	contents, err := readFile(fs, path)
	if err != nil {
		t.Fatal(err)
	}
	return contents
}

func readFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// readFiles returns the files in a directory. Those that a compaction removes meanwhile, even after they were looked for, are left out.
func readFiles(t *testing.T, fs vfs.FS, dir string) map[string][]byte {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, name := range names {
		contents, err := readFile(fs, filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		files[name] = contents
	}
	return files
}

func takeImage(t *testing.T, s *Disk, m *model) image {
	t.Helper()
	i := image{files: readFiles(t, s.options.fs, s.data()), model: m.clone()}
	var err error
	if i.acknowledged, err = s.acknowledged.read(); err != nil {
		t.Fatal(err)
	}
	return i
}

// with returns the image with one file changed; nil removes it.
func (i image) with(name string, contents []byte) image {
	files := make(map[string][]byte, len(i.files))
	for k, v := range i.files {
		files[k] = v
	}
	if files[name] = contents; contents == nil {
		delete(files, name)
	}
	i.files = files
	return i
}

func (i image) log(t *testing.T) (name string) {
	t.Helper()
	for k := range i.files {
		if strings.HasSuffix(k, ".log") && k > name {
			name = k
		}
	}
	if name == "" {
		t.Fatal("no log")
	}
	return name
}

// restore puts the image into dir, which has a database's identity, and returns where the engine's
// part of it is.
func (i image) restore(t *testing.T, dir string) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	data := filepath.Join(dir, dataDir)
	if err := fs.MkdirAll(data, dirMode); err != nil {
		t.Fatal(err)
	}
	for name, contents := range i.files {
		f, err := fs.Create(filepath.Join(data, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		// The file system keeps what it is given.
		if _, err := f.Write(slices.Clone(contents)); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if err := os.WriteFile(filepath.Join(dir, acknowledgedFile), encodeAcknowledged(i.acknowledged), fileMode); err != nil {
		t.Fatal(err)
	}
	return fs
}

// errWrong is what open returns for a database that is neither refused nor one of those expected.
var errWrong = errors.New("silently wrong")

// open opens the image, and returns which of the models it holds, or why it was refused.
func (i image) open(t *testing.T, dir string, models ...*model) (int, error) {
	t.Helper()
	s, err := Open(dir, Options{Origin: origin, fs: i.restore(t, dir), memTable: smallTables})
	if err != nil {
		return 0, err
	}
	defer abandon(s)
	var wrong []error
	for n, m := range models {
		err := m.difference(s)
		if errors.Is(err, ErrDamaged) {
			return 0, err
		}
		if err = errors.Join(err, m.differenceOfChanges(s)); err == nil {
			return n, nil
		}
		wrong = append(wrong, err)
	}
	return 0, errors.Join(append(wrong, errWrong)...)
}

// makeImages makes a database with so many commits, and returns what it is like after each, and
// where its identity is.
func makeImages(t *testing.T, commits, size int) (dir string, images []image) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "db")
	s, err := Open(dir, Options{Origin: origin, fs: vfs.NewMem(), memTable: smallTables})
	if err != nil {
		t.Fatal(err)
	}
	m := fillStore(t, s, 5)
	script := newScript(3, size)
	images = append(images, takeImage(t, s, m))
	for range commits {
		list := script.commit(m.serial)
		if err := s.Commit(context.Background(), list); err != nil {
			t.Fatal(err)
		}
		m.apply(list)
		images = append(images, takeImage(t, s, m))
	}
	abandon(s)
	// Now nothing goes on in the background any more.
	last := &images[len(images)-1]
	last.files = readFiles(t, s.options.fs, s.data())
	return dir, images
}

// A log that ends anywhere in the commit that was under way leaves the commit before it, or that
// one whole. One that ends earlier has lost what was acknowledged, and is refused.
func TestTornLog(t *testing.T) {
	dir, images := makeImages(t, 6, 300)
	before, after := images[len(images)-2], images[len(images)-1]
	name := after.log(t)
	short, whole := len(before.files[name]), after.files[name]
	if short == 0 || short >= len(whole) {
		t.Fatalf("the log has %d octets, then %d", short, len(whole))
	}
	rest := func(size int, fill func([]byte)) []byte {
		b := make([]byte, size)
		fill(b)
		return b
	}
	random := rand.New(rand.NewPCG(4, 4))
	step := pace(29)
	for what, tail := range map[string]func(size int) []byte{
		"nothing": func(int) []byte { return nil },
		"zeros":   func(size int) []byte { return rest(size, func([]byte) {}) },
		"garbage": func(size int) []byte {
			return rest(size, func(b []byte) {
				for i := range b {
					b[i] = byte(random.Uint32())
				}
			})
		},
	} {
		t.Run(what, func(t *testing.T) {
			for end := len(whole); end >= short-40; end -= step {
				torn := after.with(name, append(slices.Clone(whole[:end]), tail(len(whole)-end)...))
				// The crash came before the commit was acknowledged.
				torn.acknowledged = before.acknowledged
				n, err := torn.open(t, dir, before.model, after.model)
				switch {
				case end < short:
					if !errors.Is(err, ErrDamaged) {
						t.Fatalf("end at %d of %d: acknowledged commit lost: %v", end, short, err)
					}
				case err != nil:
					t.Fatalf("end at %d of %d to %d: %v", end, short, len(whole), err)
				case n == 1 && end < len(whole)-1, n == 0 && end == len(whole):
					t.Fatalf("end at %d of %d to %d: state %d", end, short, len(whole), n)
				}
				// The crash came after that.
				torn.acknowledged = after.acknowledged
				_, err = torn.open(t, dir, after.model)
				if end < len(whole)-1 && !errors.Is(err, ErrDamaged) || end == len(whole) && err != nil {
					t.Fatalf("end at %d of %d, acknowledged: %v", end, len(whole), err)
				}
			}
		})
	}
}

// A flipped bit anywhere makes a database be refused, or does no harm.
func TestFlippedBits(t *testing.T) {
	step := pace(53)
	flip := func(t *testing.T, dir string, i image) {
		refused, harmless := 0, 0
		for name, contents := range i.files {
			for at := len(name) % step; at < len(contents); at += step {
				damaged := slices.Clone(contents)
				damaged[at] ^= 1 << (at % 8)
				_, err := i.with(name, damaged).open(t, dir, i.model)
				switch {
				case errors.Is(err, errWrong):
					t.Fatalf("%s, octet %d: %v", name, at, err)
				case err != nil:
					refused++
				default:
					harmless++
				}
			}
		}
		t.Logf("%d flips refused, %d harmless", refused, harmless)
		if refused == 0 {
			t.Error("no flip was noticed")
		}
	}
	t.Run("after a crash", func(t *testing.T) {
		dir, images := makeImages(t, 8, 200)
		flip(t, dir, images[len(images)-1])
	})
	t.Run("after closing", func(t *testing.T) {
		dir, images := makeImages(t, 8, 200)
		last := images[len(images)-1]
		s, err := Open(dir, Options{Origin: origin, fs: last.restore(t, dir), memTable: smallTables})
		if err != nil {
			t.Fatal(err)
		}
		fs := s.options.fs
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		last.files = readFiles(t, fs, s.data())
		flip(t, dir, last)
	})
}

// A file that is gone makes a database be refused, or does no harm.
func TestMissingFile(t *testing.T) {
	dir, images := makeImages(t, 30, 6000)
	last := images[len(images)-1]
	refused := 0
	for name := range last.files {
		_, err := last.with(name, nil).open(t, dir, last.model)
		if errors.Is(err, errWrong) {
			t.Errorf("%s: %v", name, err)
		}
		if isTable(name) && errors.Is(err, ErrDamaged) {
			refused++
		}
		if name == last.log(t) && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Those that a compaction has replaced are not missed.
	if refused == 0 {
		t.Error("no table was missed")
	}
}

// A refused database is left as it is.
func TestRefusedIsLeftAlone(t *testing.T) {
	dir, images := makeImages(t, 10, 300)
	last := images[len(images)-1]
	name := last.log(t)
	flipped := slices.Clone(last.files[name])
	flipped[len(flipped)/2] ^= 1
	last = last.with(name, flipped)
	fs := last.restore(t, dir)
	for range 2 {
		_, err := Open(dir, Options{Origin: origin, fs: fs, memTable: smallTables})
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), ". Fix: restore it from a dump") {
			t.Fatalf("not refused, or not explained: %v", err)
		}
		names, err := fs.List(filepath.Join(dir, dataDir))
		if err != nil || len(names) != len(last.files) {
			t.Fatalf("%q, was %d files (%v)", names, len(last.files), err)
		}
		for _, name := range names {
			if !slices.Equal(readAll(t, fs, filepath.Join(dir, dataDir, name)), last.files[name]) {
				t.Errorf("%s was changed", name)
			}
		}
	}
}

// Without the number of the last acknowledged commit a database can be used, and gets it again.
func TestAcknowledgedUnknown(t *testing.T) {
	dir, images := makeImages(t, 5, 300)
	last := images[len(images)-1]
	for what, contents := range map[string][]byte{
		"gone": nil, "empty": {}, "flipped": append([]byte{1}, encodeAcknowledged(3)[1:]...), "longer": make([]byte, 13),
	} {
		t.Run(what, func(t *testing.T) {
			fs := last.restore(t, dir)
			path := filepath.Join(dir, acknowledgedFile)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if contents != nil {
				if err := os.WriteFile(path, contents, fileMode); err != nil {
					t.Fatal(err)
				}
			}
			s, err := Open(dir, Options{Origin: origin, fs: fs, memTable: smallTables})
			if err != nil {
				t.Fatal(err)
			}
			defer abandon(s)
			if err := last.model.difference(s); err != nil {
				t.Error(err)
			}
			if n, err := s.acknowledged.read(); n != last.acknowledged || err != nil {
				t.Errorf("acknowledged %d, want %d (%v)", n, last.acknowledged, err)
			}
		})
	}
}

// A database of which the engine's part is gone, or is that of another, is refused, and none is
// begun in its place.
func TestEngineGone(t *testing.T) {
	dir, images := makeImages(t, 2, 300)
	last := images[len(images)-1]
	last.files = nil
	if _, err := last.open(t, dir, last.model); !errors.Is(err, ErrDamaged) {
		t.Errorf("engine gone: %v", err)
	}
	_, others := makeImages(t, 2, 300)
	if _, err := others[len(others)-1].open(t, dir, last.model); !errors.Is(err, ErrDamaged) {
		t.Errorf("engine of another database: %v", err)
	}
}
