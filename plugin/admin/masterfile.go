package admin

import (
	"bufio"
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
//
// The first is the first line.
const (
	zoneAnnotation  = "zone"
	ownerAnnotation = "owner"
	dumpBegins      = ";gsstsig: " + zoneAnnotation + " "
)

// writeMaster writes a zone as a dump.
func writeMaster(w io.Writer, s *zone.Snapshot, progress *progress) error {
	out := masterfile.NewWriter(w)
	if err := out.Annotate(zoneAnnotation, s.Origin(), "serial", strconv.FormatUint(uint64(s.Serial()), 10)); err != nil {
		return err
	}
	if err := out.Comment(fmt.Sprintf("%d records", s.Len())); err != nil {
		return err
	}
	for r := range s.WireRecords() {
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
	config.Annotate = dump.annotation
	config.Signed = string(begins) == dumpBegins
	records, err := zone.ParseSeed(in, config)
	return records, dump.owners, err
}

// dumpReader collects what the annotations of a dump say.
type dumpReader struct {
	apex   []byte // the zone's name in wire form
	owners []store.Owner
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
