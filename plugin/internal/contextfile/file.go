// Package contextfile keeps the records of contexts in a file while the server does not run.
//
// A record may be used once: of two copies of a context each would accept the same message. So a file is removed, durably,
// before its records are returned, and a server that ends without writing the file leaves none. The records are sealed; the
// file does not protect them further than by its mode, 0600.
package contextfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The file is a line that tells what it is, the number of records, and before each record its length.
const (
	header    = "gsstsig contexts 1\n"
	maxRecord = 1 << 20
	// maxRecords is above what a table of contexts holds, maxOctets above what that many take.
	maxRecords = 1 << 20
	maxOctets  = 1 << 30
)

// ErrDamaged is wrapped by the errors of [Take] for a file that is no file of this package, or is cut.
var ErrDamaged = errors.New("the file is damaged")

// Write writes the file in one step, durably. Path must be in a directory that others cannot write to. Without records it
// makes no file, and removes one that is there.
func Write(path string, records [][]byte) error {
	dir := filepath.Dir(path)
	if len(records) == 0 {
		return remove(path)
	}
	octets := binary.BigEndian.AppendUint32([]byte(header), uint32(len(records)))
	for _, r := range records {
		octets = binary.BigEndian.AppendUint32(octets, uint32(len(r)))
		octets = append(octets, r...)
	}
	if err := remove(path + newSuffix); err != nil {
		return err
	}
	f, err := os.OpenFile(path+newSuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(octets)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}

// newSuffix ends the name of a file that is not whole yet.
const newSuffix = ".new"

// Take reads the file and removes it, and what a Write left that did not end. There are no records if there is no file, nor if it cannot be removed. If the file is
// damaged, the records up to there are returned with the error.
func Take(path string) ([][]byte, error) {
	if err := remove(path + newSuffix); err != nil {
		return nil, err
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: %w: it is no regular file", path, ErrDamaged)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	octets, err := io.ReadAll(io.LimitReader(f, maxOctets))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if err := remove(path); err != nil {
		return nil, err
	}
	records, err := parse(octets)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return records, err
}

// parse returns the records of a file, which refer to its octets.
func parse(octets []byte) (records [][]byte, err error) {
	if len(octets) < len(header)+4 || string(octets[:len(header)]) != header {
		return nil, fmt.Errorf("%w: it does not begin as such a file does", ErrDamaged)
	}
	count := binary.BigEndian.Uint32(octets[len(header):])
	if count > maxRecords {
		return nil, fmt.Errorf("%w: it claims to have %d contexts", ErrDamaged, count)
	}
	rest := octets[len(header)+4:]
	for n := range count {
		if len(rest) < 4 {
			return records, fmt.Errorf("%w: it ends after %d of %d contexts", ErrDamaged, n, count)
		}
		size := binary.BigEndian.Uint32(rest)
		rest = rest[4:]
		if size > maxRecord || int(size) > len(rest) {
			return records, fmt.Errorf("%w: it ends after %d of %d contexts", ErrDamaged, n, count)
		}
		records = append(records, rest[:size:size])
		rest = rest[size:]
	}
	if len(rest) > 0 {
		return records, fmt.Errorf("%w: %d octets follow its contexts", ErrDamaged, len(rest))
	}
	return records, nil
}

// remove removes the file, durably. It need not be there.
func remove(path string) error {
	switch err := os.Remove(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
