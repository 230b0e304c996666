package admin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/masterfile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A dump is a master file (RFC 1035 section 5). What master files have no place for is in the annotations of package masterfile:
//
//	;gsstsig: zone NAME serial SERIAL
//	;gsstsig: owner NAME PRINCIPAL [deleted TIME]
//	;gsstsig: refreshed TIME
//
// The first is the first line. The last is in front of each record that is not static, and belongs to that record alone. Its time
// is in whole hours.
const (
	refreshedAnnotation = "refreshed"
	zoneAnnotation      = "zone"
	ownerAnnotation     = "owner"
	dumpBegins          = ";gsstsig: " + zoneAnnotation + " "
)

// writeMaster writes a zone as a dump.
func writeMaster(w io.Writer, s *zone.Snapshot, progress *progress) error {
	out := masterfile.NewWriter(w)
	if err := out.Annotate(zoneAnnotation, s.Origin(), "serial", strconv.FormatUint(uint64(s.Serial()), 10)); err != nil {
		return err
	}
	if err := out.Comment(count(s.Len(), "record")); err != nil {
		return err
	}
	for r := range s.WireRecords() {
		if r.Hours != 0 {
			if err := out.Annotate(refreshedAnnotation, timeOf(min(r.Hours, maxHours)).Format(time.RFC3339)); err != nil {
				return err
			}
		}
		if err := out.Record(masterfile.Record{Name: []byte(r.Name), Type: r.Type, Class: r.Class, TTL: r.TTL, Data: r.Data}); err != nil {
			return err
		}
		progress.add(1)
	}
	for owner := range s.Owners() {
		words := []string{ownerAnnotation, dnswire.NameText([]byte(owner.Name)), owner.Principal}
		if !owner.Deleted.IsZero() {
			words = append(words, "deleted", owner.Deleted.UTC().Format(time.RFC3339))
		}
		if err := out.Annotate(words...); err != nil {
			return fmt.Errorf("owner of %s: %w", words[1], err)
		}
	}
	return out.Flush()
}

// readMaster reads a master file, and the owners in its annotations if it is a dump. A dump keeps all records. Of another
// file those that DNSSEC signing adds are left out.
func readMaster(r io.Reader, origin, file string, warn func(diagnose.Finding)) ([]store.Record, []store.Owner, error) {
	in := bufio.NewReader(r)
	begins, _ := in.Peek(len(dumpBegins)) // an error of reading comes again
	apex, err := dnswire.ParseName(dns.Fqdn(origin), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("zone %q: %w", origin, err)
	}
	dump := dumpReader{apex: apex}
	config := service.SeedConfig(origin, file, warn)
	config.Annotate, config.Hours = dump.annotation, dump.takeHours
	config.Signed = string(begins) == dumpBegins
	records, err := zone.ParseSeed(in, config)
	return records, dump.owners, err
}

// dumpReader collects what the annotations of a dump say.
type dumpReader struct {
	apex   []byte // the zone's name in wire form
	owners []store.Owner
	hours  uint32 // of the next record
}

// takeHours returns the time of a record that was read.
func (d *dumpReader) takeHours() uint32 {
	hours := d.hours
	d.hours = 0
	return hours
}

// timeOf is the beginning of an hour of Unix time.
func timeOf(hours uint32) time.Time { return time.Unix(3600*int64(hours), 0).UTC() }

// maxHours is the last hour that has a form in RFC 3339, which is in the year 9999.
var maxHours = uint32(time.Date(9999, 12, 31, 23, 0, 0, 0, time.UTC).Unix() / 3600)

// parseRefreshed reads an annotation of a record's time.
func parseRefreshed(words []string) (hours uint32, err error) {
	if len(words) != 2 {
		return 0, fmt.Errorf("not of the form %s TIME", refreshedAnnotation)
	}
	at, err := time.Parse(time.RFC3339, words[1])
	if err != nil {
		return 0, fmt.Errorf("time %q: %w", words[1], err)
	}
	seconds := at.Unix()
	if seconds < 3600 || seconds%3600 != 0 || seconds/3600 > int64(maxHours) {
		return 0, fmt.Errorf("time %q is not a whole hour after 1970-01-01T00:00:00Z", words[1])
	}
	return uint32(seconds / 3600), nil
}

func (d *dumpReader) annotation(words []string) error {
	switch words[0] {
	case zoneAnnotation:
		if len(words) != 4 || words[2] != "serial" {
			return fmt.Errorf("not of the form %s NAME serial SERIAL", zoneAnnotation)
		}
		if name, err := dnswire.ParseName(words[1], nil); err != nil || !dnswire.EqualNames(name, d.apex) {
			return fmt.Errorf("this is a dump of another zone, %q", words[1])
		}
		return nil
	case ownerAnnotation:
		owner, err := parseOwner(words, d.apex)
		if err == nil {
			d.owners = append(d.owners, owner)
		}
		return err
	case refreshedAnnotation:
		hours, err := parseRefreshed(words)
		if err == nil && d.hours != 0 {
			err = errors.New("there is no record between this time and the one before")
		}
		d.hours = hours
		return err
	}
	return diagnose.WithFix(fmt.Errorf("%q is not known to this release", words[0]), "load the dump with the release that wrote it")
}

// parseOwner reads an annotation of an owner.
func parseOwner(words []string, apex []byte) (store.Owner, error) {
	if len(words) != 3 && (len(words) != 5 || words[3] != "deleted") {
		return store.Owner{}, fmt.Errorf("not of the form %s NAME PRINCIPAL [deleted TIME]", ownerAnnotation)
	}
	name, err := dnswire.ParseName(words[1], nil)
	if err != nil {
		return store.Owner{}, fmt.Errorf("name %q: %w", words[1], err)
	}
	if !dnswire.IsSubdomain(name, apex) {
		return store.Owner{}, fmt.Errorf("name %q is not in the zone %s", words[1], dnswire.NameText(apex))
	}
	if words[2] == "" {
		return store.Owner{}, fmt.Errorf("name %q has an empty principal", words[1])
	}
	owner := store.Owner{Name: string(dnswire.AppendLower(nil, name)), Principal: words[2]}
	if len(words) == 5 {
		if owner.Deleted, err = time.Parse(time.RFC3339, words[4]); err != nil {
			return store.Owner{}, fmt.Errorf("time %q: %w", words[4], err)
		}
		owner.Deleted = owner.Deleted.UTC()
	}
	return owner, nil
}
