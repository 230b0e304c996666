package service

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/masterfile"
	"github.com/gsstsig/coredns-gsstsig/internal/regular"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
)

// A zone's master file is read when its database is made, and never again. Digests of the file and of those that it includes,
// beside the database, show whether one was edited since.

// MasterFileFindings returns a warning if a zone's master file has something that its database was not made from: an
// administrator who edits the file must learn that the edit has no effect. There is none for a zone without a database or
// without a master file.
func (s *Service) MasterFileFindings(origin string) ([]diagnose.Finding, error) {
	file, ok := s.Seeds[origin]
	if !ok || !s.HasDatabase(origin) {
		return nil, nil
	}
	f := diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + origin}
	recorded, err := os.ReadFile(RecordOf(s.Block, origin))
	if errors.Is(err, fs.ErrNotExist) {
		// The zone came from the generated apex or from load, and the file property later.
		f.Problem = fmt.Sprintf("the master file %s is not read: the database %s was not made from it", file, s.DatabaseOf(origin))
		f.Fix = "remove the property file, or stop the server and load the file into an empty database: coredns gsstsig load"
		return []diagnose.Finding{f}, nil
	}
	if err != nil {
		return nil, err
	}
	changed, err := changedFile(file, string(recorded))
	if err != nil {
		f.Problem = fmt.Sprintf("its master file cannot be read: %v. The zone is complete without it: the database has all records", err)
		f.Fix = "remove the property file, or correct it"
		return []diagnose.Finding{f}, nil
	}
	if changed == "" {
		return nil, nil
	}
	f.Problem = fmt.Sprintf("the master file %s has changed since the database %s was made from it, and the changes are not in the zone",
		changed, s.DatabaseOf(origin))
	f.Fix = "make the changes by dynamic updates, or stop the server and load the file into an empty database: coredns gsstsig load"
	return []diagnose.Finding{f}, nil
}

// HasDatabase reports whether the database of a zone has been made.
func (s *Service) HasDatabase(origin string) bool {
	if s.Database == "" {
		return false
	}
	_, err := os.Stat(s.DatabaseOf(origin))
	return !errors.Is(err, fs.ErrNotExist)
}

// RecordMasterFile notes that a zone's database was made from its master file as it is now, as after a load. It does
// nothing for a zone without one of both.
func RecordMasterFile(b *corefile.Block, origin string) error {
	file, ok := b.Seeds[origin]
	if !ok || b.Database == "" {
		return nil
	}
	content, err := regular.ReadFile(file)
	if err != nil {
		return err
	}
	record := digest(content) + "\n"
	for _, name := range includedFiles(content, origin, file) {
		// One that cannot be read has changed as soon as it can.
		content, _ := regular.ReadFile(name)
		record += fmt.Sprintf("%s %s\n", digest(content), strconv.Quote(name))
	}
	return replaceFile(RecordOf(b, origin), record)
}

// RecordOf is the file that RecordMasterFile writes. It has the digest of the master file in its first line, and in the others
// the digest and the quoted name of each file that is included.
func RecordOf(b *corefile.Block, origin string) string { return b.DatabaseOf(origin) + ".seed" }

// includedFiles returns the files that a master file includes, as far as it can be read.
func includedFiles(content []byte, origin, file string) []string {
	var names []string
	name, err := dnswire.ParseName(origin, nil)
	if err != nil || !bytes.Contains(bytes.ToUpper(content), []byte("$INCLUDE")) {
		return nil
	}
	r := masterfile.NewReader(bytes.NewReader(content), masterfile.Config{Origin: name, File: file, Open: func(name string) (io.ReadCloser, error) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		return regular.Open(name)
	}})
	for err == nil {
		_, err = r.Next()
	}
	return names
}

// changedFile returns the first of a master file and the files that it includes that is not as it was recorded.
func changedFile(file, record string) (string, error) {
	lines := strings.Split(strings.TrimSpace(record), "\n")
	content, err := regular.ReadFile(file)
	if err != nil {
		return "", err
	}
	if digest(content) != lines[0] {
		return file, nil
	}
	for _, line := range lines[1:] {
		sum, quoted, _ := strings.Cut(line, " ")
		name, err := strconv.Unquote(quoted)
		if err != nil {
			return file, nil
		}
		content, err := regular.ReadFile(name)
		if err != nil {
			return "", err
		}
		if digest(content) != sum {
			return name, nil
		}
	}
	return "", nil
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// replaceFile writes a small file as a whole or not at all.
func replaceFile(path, content string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".seed-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	if _, err := f.WriteString(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
