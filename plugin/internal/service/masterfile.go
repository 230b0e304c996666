package service

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
)

// A zone's master file is read when its database is made, and never again. A digest of the file beside the database shows
// whether it was edited since.

// MasterFileFindings returns a warning if a zone's master file has something that its database was not made from: an
// administrator who edits the file must learn that the edit has no effect. There is none for a zone without a database or
// without a master file.
func (s *Service) MasterFileFindings(origin string) ([]diagnose.Finding, error) {
	file, ok := s.Seeds[origin]
	if !ok || !s.HasDatabase(origin) {
		return nil, nil
	}
	f := diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + origin}
	content, err := os.ReadFile(file)
	if err != nil {
		f.Problem = fmt.Sprintf("its master file cannot be read: %v. The zone is complete without it: the database has all records", err)
		f.Fix = "remove the property file, or correct it"
		return []diagnose.Finding{f}, nil
	}
	recorded, err := os.ReadFile(digestFile(s.Block, origin))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// The zone came from the generated apex or from load, and the file property later.
		f.Problem = fmt.Sprintf("the master file %s is not read: the database %s was not made from it", file, s.DatabaseOf(origin))
		f.Fix = "remove the property file, or stop the server and load the file into an empty database: coredns gsstsig load"
	case err != nil:
		return nil, err
	case strings.TrimSpace(string(recorded)) != digest(content):
		f.Problem = fmt.Sprintf("the master file %s has changed since the database %s was made from it, and the changes are not in the zone",
			file, s.DatabaseOf(origin))
		f.Fix = "make the changes by dynamic updates, or stop the server and load the file into an empty database: coredns gsstsig load"
	default:
		return nil, nil
	}
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
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return replaceFile(digestFile(b, origin), digest(content)+"\n")
}

// digestFile is the file with the digest of the master file that a database was made from.
func digestFile(b *corefile.Block, origin string) string { return b.DatabaseOf(origin) + ".seed" }

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
