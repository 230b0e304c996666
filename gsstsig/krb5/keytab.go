package krb5

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// maxKeytab bounds a keytab file: some ten thousand keys.
const maxKeytab = 1 << 20

// KeyInfo describes a key without containing it.
type KeyInfo struct {
	Principal Principal // whose key it is
	KVNO      uint32    // key version number
	Enctype   Enctype   // what it is a key for
	File      string    // the keytab that has it
	Added     time.Time // when the entry was written, as the file says
}

// keytabEntry is one key of a file. An entry whose encryption type is not
// supported has no key but is listed.
type keytabEntry struct {
	info KeyInfo
	key  key
}

// parseKeytab reads the content of a keytab, format version 2, which MIT and
// Heimdal have written since 1993. Entries are length-prefixed; a negative
// length is a hole left by a removed one, a length of zero ends the file.
func parseKeytab(b []byte, file string) ([]keytabEntry, error) {
	s := cryptobyte.String(b)
	var magic, version uint8
	if !s.ReadUint8(&magic) || !s.ReadUint8(&version) || magic != 5 {
		return nil, errors.New("this is not a keytab")
	}
	if version != 2 {
		return nil, fmt.Errorf("keytab format version %d is not supported: copy the keys into a new file with ktutil (rkt, wkt)", version)
	}
	var entries []keytabEntry
	for !s.Empty() {
		var length uint32
		if !s.ReadUint32(&length) {
			return nil, fmt.Errorf("the keytab is cut off after %d keys", len(entries))
		}
		if length == 0 {
			break
		}
		hole := int32(length) < 0
		if hole {
			length = -length
		}
		var entry []byte
		if length > maxKeytab || !s.ReadBytes(&entry, int(length)) {
			return nil, fmt.Errorf("the keytab is cut off after %d keys", len(entries))
		}
		if hole {
			continue
		}
		e, err := parseKeytabEntry(entry)
		if err != nil {
			return nil, fmt.Errorf("entry %d of the keytab: %w", len(entries)+1, err)
		}
		e.info.File = file
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, errors.New("the keytab holds no keys")
	}
	return entries, nil
}

func parseKeytabEntry(b []byte) (keytabEntry, error) {
	var (
		e                  keytabEntry
		count, keyType     uint16
		nameType, added    uint32
		realm, part, value cryptobyte.String
		version            uint8
		s                  = cryptobyte.String(b)
	)
	if !s.ReadUint16(&count) || count == 0 || count > maxComponents || !s.ReadUint16LengthPrefixed(&realm) {
		return e, errors.New("its principal is malformed")
	}
	e.info.Principal.Realm = string(realm)
	for range count {
		if !s.ReadUint16LengthPrefixed(&part) {
			return e, errors.New("its principal is malformed")
		}
		e.info.Principal.Components = append(e.info.Principal.Components, string(part))
	}
	if !e.info.Principal.bounded() || e.info.Principal.Realm == "" {
		return e, errors.New("its principal is malformed")
	}
	if !s.ReadUint32(&nameType) || !s.ReadUint32(&added) || !s.ReadUint8(&version) ||
		!s.ReadUint16(&keyType) || !s.ReadUint16LengthPrefixed(&value) {
		return e, errors.New("it is cut off")
	}
	e.info.Added = time.Unix(int64(added), 0)
	e.info.KVNO = uint32(version)
	e.info.Enctype = Enctype(int16(keyType))
	// Versions beyond 255 follow as 32 bits, which old writers leave out or zero.
	var wide uint32
	if s.ReadUint32(&wide) && wide != 0 {
		e.info.KVNO = wide
	}
	if encryptions[e.info.Enctype] == nil {
		return e, nil
	}
	var err error
	if e.key, err = newKey(e.info.Enctype, value); err != nil {
		return e, fmt.Errorf("%s, version %d: %w", e.info.Principal.shown(), e.info.KVNO, err)
	}
	return e, nil
}

// readKeytab reads a file and tells how it looked, so that a change can be
// noticed later. Its errors name the file and the fix.
func readKeytab(file string) ([]keytabEntry, fs.FileInfo, error) {
	// Stat first: opening a named pipe would wait for its other end.
	info, err := os.Stat(file)
	switch {
	case err != nil:
	case info.IsDir():
		err = errKeytabDirectory
	case !info.Mode().IsRegular():
		err = errors.New("it is not a regular file")
	case info.Size() == 0:
		err = errKeytabEmpty
	}
	if err != nil {
		return nil, nil, keytabError(file, err)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, keytabError(file, err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, nil, keytabError(file, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeytab+1))
	defer clear(b)
	if err != nil {
		return nil, nil, keytabError(file, err)
	}
	if len(b) > maxKeytab {
		return nil, nil, keytabError(file, fmt.Errorf("larger than %d octets", maxKeytab))
	}
	entries, err := parseKeytab(b, file)
	if err != nil {
		return nil, nil, keytabError(file, err)
	}
	return entries, info, nil
}

var (
	errKeytabDirectory = errors.New("it is a directory")
	errKeytabEmpty     = errors.New("it is empty")
)

// keytabError adds the name of the file and the fix.
func keytabError(file string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err // the file is named once already
	}
	named := fmt.Errorf("keytab %s: %w", file, err)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errKeytabEmpty):
		return diagnose.WithFix(named, "export the key of DNS/HOST to it (kadmin: ktadd -k %s DNS/HOST)", file)
	case errors.Is(err, fs.ErrPermission):
		return diagnose.WithFix(named, "let the server's user (uid %d) read it", os.Getuid())
	case errors.Is(err, errKeytabDirectory):
		return diagnose.WithFix(named, "name the keytab file in it")
	}
	return diagnose.WithFix(named, "see what it has by \"klist -kte %s\", and export the keys again", file)
}
