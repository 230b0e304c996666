//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/masterfile"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

// TestMasterFilesAsBIND reads the master files of internal/masterfile with named-compilezone too, which writes what it has read in
// wire form. Both must have the same records, or refuse the file. Files whose first line begins with "; differs:" are those
// where they deliberately do not; masterfile's package comment has the reasons.
func TestMasterFilesAsBIND(t *testing.T) {
	t.Parallel()
	if err := process.Require("named-compilezone"); err != nil {
		t.Fatal(err)
	}
	directory, err := filepath.Abs("../../internal/masterfile/testdata")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(directory, "*.zone"))
	if err != nil || len(files) < 200 {
		t.Fatalf("%d files in %s: %v", len(files), directory, err)
	}
	ctx := testContext(t)
	refused := 0
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		ours, ourErr := readMasterFile(bytes.NewReader(content), path)
		theirs, theirErr := compileZone(ctx, directory, name)
		same := (ourErr == nil) == (theirErr == nil) && slices.Equal(ours, theirs)
		if differs := bytes.HasPrefix(content, []byte("; differs:")); differs == same {
			t.Errorf("%s: %v, differs: %v\nread here:\n%s%v\nread by named-compilezone:\n%s%v", name, same, differs,
				strings.Join(ours, ""), ourErr, strings.Join(theirs, ""), theirErr)
		}
		if ourErr != nil {
			refused++
		}
		if ourErr != nil || theirErr != nil {
			continue
		}
		// What the writer makes of it is the same zone for BIND.
		written := filepath.Join(t.TempDir(), name)
		if err := rewriteMasterFile(written, bytes.NewReader(content), path); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if again, err := compileZone(ctx, filepath.Dir(written), name); err != nil || !slices.Equal(again, ours) {
			t.Errorf("%s was read as\n%s and written again; named-compilezone reads that as\n%s%v", name,
				strings.Join(ours, ""), strings.Join(again, ""), err)
		}
	}
	t.Logf("%d files, %d of them refused", len(files), refused)
}

// masterOrigin is the name of the zone in every file.
var masterOrigin = []byte("\x07example\x04test\x00")

func masterConfig(path string) masterfile.Config {
	return masterfile.Config{
		Origin: masterOrigin, File: path,
		Open: func(name string) (io.ReadCloser, error) { return os.Open(name) },
	}
}

// readMasterFile returns the records of a file as a zone takes them: without those outside of it, without duplicates, and with
// one TTL for each RRset.
func readMasterFile(content io.Reader, path string) ([]string, error) {
	var set masterSet
	r := masterfile.NewReader(content, masterConfig(path))
	for {
		record, err := r.Next()
		if err == io.EOF {
			return set.lines(), nil
		}
		if err != nil {
			return nil, err
		}
		if bytes.HasSuffix(bytes.ToLower(record.Name), masterOrigin) {
			set.add(record.Name, record.Type, record.TTL, record.Data)
		}
	}
}

func rewriteMasterFile(to string, content io.Reader, path string) error {
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	defer file.Close()
	w := masterfile.NewWriter(file)
	r := masterfile.NewReader(content, masterConfig(path))
	for {
		record, err := r.Next()
		if err == io.EOF {
			return errors.Join(w.Flush(), file.Close())
		}
		if err != nil {
			return err
		}
		if err := w.Record(record); err != nil {
			return err
		}
	}
}

// masterSet is a set of records.
type masterSet struct {
	ttls map[string]uint32 // of each RRset, the first
	data map[string]string // of each record: the RRset it belongs to
}

func (s *masterSet) add(name []byte, rrtype uint16, ttl uint32, data []byte) {
	if s.ttls == nil {
		s.ttls, s.data = make(map[string]uint32), make(map[string]string)
	}
	rrset := fmt.Sprintf("%s %s", dnswire.NameText(bytes.ToLower(name)), dnswire.TypeText(rrtype))
	if rrtype == dnswire.TypeRRSIG || rrtype == dnswire.TypeSIG { // a set for each type covered
		rrset += fmt.Sprintf(" %x", data[:2])
	}
	if _, found := s.ttls[rrset]; !found {
		s.ttls[rrset] = ttl
	}
	s.data[fmt.Sprintf("%s %x", rrset, data)] = rrset
}

func (s *masterSet) lines() []string {
	var lines []string
	for record, rrset := range s.data {
		lines = append(lines, fmt.Sprintf("%s %d\n", record, s.ttls[rrset]))
	}
	slices.Sort(lines)
	return lines
}

// compileZone returns what named-compilezone reads. All that checks a zone instead of reading its file is switched off.
func compileZone(ctx context.Context, directory, name string) ([]string, error) {
	out, err := os.CreateTemp("", "raw-")
	if err != nil {
		return nil, err
	}
	out.Close()
	defer os.Remove(out.Name())
	compile := exec.CommandContext(ctx, "named-compilezone", "-w", directory, "-F", "raw", "-o", out.Name(),
		"-k", "ignore", "-i", "none", "-n", "ignore", "-m", "ignore", "-r", "ignore", "-M", "ignore", "-S", "ignore", "-W", "ignore",
		"example.test", name)
	if message, err := compile.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, message)
	}
	raw, err := os.ReadFile(out.Name())
	if err != nil {
		return nil, err
	}
	return readRawZone(raw)
}

var errRawZone = errors.New("not a zone in BIND's raw format, version 1")

// readRawZone reads BIND's raw format, which has the records in wire form.
func readRawZone(raw []byte) ([]string, error) {
	const format, version, header = 2, 1, 24
	if len(raw) < header || binary.BigEndian.Uint32(raw) != format || binary.BigEndian.Uint32(raw[4:]) != version {
		return nil, errRawZone
	}
	var set masterSet
	for raw = raw[header:]; len(raw) > 0; {
		// Length of the RRset, class, type, type covered, TTL, number of records, length of the name.
		const fixed = 4 + 2 + 2 + 2 + 4 + 4 + 2
		if len(raw) < fixed {
			return nil, errRawZone
		}
		total := int(binary.BigEndian.Uint32(raw))
		if total < fixed || total > len(raw) {
			return nil, errRawZone
		}
		rrset := raw[:total]
		raw = raw[total:]
		rrtype, ttl := binary.BigEndian.Uint16(rrset[6:]), binary.BigEndian.Uint32(rrset[10:])
		count, length := binary.BigEndian.Uint32(rrset[14:]), int(binary.BigEndian.Uint16(rrset[18:]))
		rest := rrset[fixed:]
		if length > len(rest) {
			return nil, errRawZone
		}
		name := rest[:length]
		rest = rest[length:]
		for range count {
			if len(rest) < 2 {
				return nil, errRawZone
			}
			length := int(binary.BigEndian.Uint16(rest))
			if rest = rest[2:]; length > len(rest) {
				return nil, errRawZone
			}
			set.add(name, rrtype, ttl, rest[:length])
			rest = rest[length:]
		}
	}
	return set.lines(), nil
}
