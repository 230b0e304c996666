package disk

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const (
	dirMode  = 0o700
	fileMode = 0o600

	lockFile         = "LOCK"
	identityFile     = "ZONE"
	acknowledgedFile = "ACKNOWLEDGED"
	dataDir          = "data-3"
)

// magic is the first line of an identity.
const magic = "gsstsig zone database"

// Path returns where below dir the database of a zone belongs: in a directory named like the zone,
// with what is not a letter, digit, hyphen, underscore or dot as percent and two hexadecimal
// digits.
func Path(dir, origin string) string {
	const most = 200 // file systems have 255 at most
	name := strings.TrimSuffix(strings.ToLower(origin), ".")
	if name == "" {
		return filepath.Join(dir, "@")
	}
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	safe := b.String()
	if len(safe) > most {
		safe = fmt.Sprintf("%s%%%08x", safe[:most], crc32.ChecksumIEEE([]byte(name)))
	}
	return filepath.Join(dir, safe)
}

// identity says what a directory is.
type identity struct {
	format int
	origin string
	id     string // of this database among all others, in hexadecimal
}

// text is the contents of the identity file, and kept by the engine too, so that one directory's
// engine is not taken for another's.
func (i identity) text() string {
	return fmt.Sprintf("%s\nformat %d\nzone %s\nid %s\n", magic, i.format, i.origin, i.id)
}

func parseIdentity(text string) (i identity, err error) {
	lines := strings.Split(text, "\n")
	if lines[0] != magic || len(lines) < 2 {
		return i, ErrForeign
	}
	format, ok := strings.CutPrefix(lines[1], "format ")
	version, err := strconv.Atoi(format)
	if !ok || err != nil {
		return i, ErrForeign
	}
	if _, known := formats[version]; !known {
		return i, fmt.Errorf("%w %d, this release knows 1 to %d", ErrFormat, version, formatVersion)
	}
	i.format = version
	for _, line := range lines[2:] {
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "zone":
			i.origin = value
		case "id":
			i.id = value
		}
	}
	if i.origin == "" || i.id == "" {
		return i, ErrForeign
	}
	return i, nil
}

// data returns the name of the engine's directory.
func (i identity) data() string { return formats[i.format].data }

// decoder returns a decoder of the engine's records.
func (i identity) decoder() *recordDecoder { return formats[i.format].decoder(i.origin) }

// change decodes a change of the engine's log.
func (i identity) change(value []byte) (store.Change, error) { return formats[i.format].change(value) }

// readIdentity returns the identity of a directory. found is false if there is no such directory or
// nothing but a lock in it.
func readIdentity(dir string) (i identity, found bool, err error) {
	text, err := os.ReadFile(filepath.Join(dir, identityFile))
	if err == nil {
		i, err = parseIdentity(string(text))
		switch {
		case errors.Is(err, ErrForeign):
			err = diagnose.WithFix(fmt.Errorf("store: %s: %w: its file %s was changed by something else", dir, ErrForeign, identityFile), restore)
		case err != nil:
			err = diagnose.WithFix(fmt.Errorf("store: %s: %w", dir, err), "use the release that wrote it, or restore a dump that was made with it")
		}
		return i, true, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return i, false, fmt.Errorf("store: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return i, false, nil
	}
	if err != nil {
		return i, false, fmt.Errorf("store: %w", err)
	}
	for _, e := range entries {
		// These come before the identity.
		if name := e.Name(); name != lockFile && name != acknowledgedFile && name != identityFile+".new" {
			return i, false, diagnose.WithFix(fmt.Errorf("store: %s: %w: it has %s, but no file %s", dir, ErrForeign, name, identityFile),
				"name another directory, or move this one away")
		}
	}
	return i, false, nil
}

// ID returns what tells the database in a directory from all others, 16 hexadecimal digits that were chosen at random when it was
// made. A copy of the directory has the same.
func ID(dir string) (string, error) {
	i, found, err := readIdentity(dir)
	if err == nil && !found {
		err = noDatabase(dir)
	}
	return i.id, err
}

// noDatabase is the error of a directory that is to be read and has no database.
func noDatabase(dir string) error {
	return diagnose.WithFix(fmt.Errorf("store: %s: %w: there is no file %s", dir, ErrForeign, identityFile),
		"name the directory that the server has for its databases, or start the server, which makes the database")
}

// writeIdentity makes a directory a zone's. The acknowledged file must be there.
func writeIdentity(dir string, i identity) error {
	path := filepath.Join(dir, identityFile)
	if err := writeFile(path+".new", []byte(i.text())); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(dir)
}

func writeFile(path string, contents []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|noFollow, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(contents)
	return errors.Join(err, f.Chmod(fileMode), f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func newID() string {
	var id [8]byte
	// crypto/rand does not fail.
	_, _ = rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// Lock keeps others from opening the database in a directory until the Closer is closed. [OpenSnapshot] reads it meanwhile. Errors
// wrap ErrLocked if a process has the database open.
func Lock(dir string) (io.Closer, error) {
	if _, err := ID(dir); err != nil {
		return nil, err
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	// Locks of this process are listed by name.
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return lockDir(dir)
}

// lockDir takes the directory for this process and this Disk.
func lockDir(dir string) (io.Closer, error) {
	path := filepath.Join(dir, lockFile)
	lock, err := vfs.Default.Lock(path)
	if err != nil {
		holder, others := lockHolder(path, err)
		if others {
			return nil, diagnose.WithFix(fmt.Errorf("store: %s: %w by %s", dir, ErrLocked, holder), "stop that process, or name another directory")
		}
		return nil, fmt.Errorf("store: %s: cannot lock: %w", dir, err)
	}
	if err := os.Chmod(path, fileMode); err != nil {
		lock.Close()
		return nil, fmt.Errorf("store: %w", err)
	}
	return lock, nil
}

// acknowledged is the file that holds the number of the last acknowledged commit: the number (8),
// its checksum (4).
type acknowledged struct {
	file *os.File
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errNotAcknowledged = errors.New("its file " + acknowledgedFile + " cannot be read")

func openAcknowledged(dir string) (*acknowledged, error) {
	f, err := os.OpenFile(filepath.Join(dir, acknowledgedFile), os.O_RDWR|os.O_CREATE|noFollow, fileMode)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(fileMode); err != nil {
		f.Close()
		return nil, err
	}
	return &acknowledged{file: f}, nil
}

func encodeAcknowledged(commits uint64) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 12), commits)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeAcknowledged returns errNotAcknowledged for what was not encoded.
func decodeAcknowledged(b []byte) (uint64, error) {
	if len(b) != 12 || !bytes.Equal(b, encodeAcknowledged(binary.BigEndian.Uint64(b))) {
		return 0, errNotAcknowledged
	}
	return binary.BigEndian.Uint64(b), nil
}

func (a *acknowledged) read() (uint64, error) {
	var b [13]byte
	n, err := a.file.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return 0, err
	}
	return decodeAcknowledged(b[:n])
}

func (a *acknowledged) write(commits uint64) error {
	_, err := a.file.WriteAt(encodeAcknowledged(commits), 0)
	return err
}
