package gsstsig

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// inMemory is the place of a zone without a database.
const inMemory = "memory"

// openZone returns the zone of that origin: the one that is being served already, or a new one from its database, its
// master file or the generated apex. memoryKey finds it again after a reload if it has no database. Errors name the zone.
func (b *block) openZone(s *service.Service, origin, memoryKey string, addresses []net.IP) (*servedZone, error) {
	key, place := memoryKey, inMemory
	switch {
	case s.Database != "":
		place = s.DatabaseOf(origin)
		key = place
	case s.OnEtcd():
		place = s.Etcd.String()
		key = s.Etcd.Key() + origin
	}
	z, found, err := b.process.acquireZone(b, key, origin, place, func(copied bool) (*servedZone, error) {
		if s.OnEtcd() {
			return b.openOnEtcd(s, origin, place, addresses, copied)
		}
		opened, err := b.openNew(s, origin, addresses, copied)
		if err != nil {
			return nil, err
		}
		return newServedZone(opened, place), nil
	})
	if err != nil {
		return nil, err
	}
	if place == inMemory && b.process.hasOtherCopy(b.instance, origin, z) {
		logFinding(diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + origin,
			Problem: "several server blocks have it in memory, each in a copy of its own: an update changes one of them",
			Fix:     "add the same \"database DIR\" to all of these blocks"})
	}
	if !found {
		return z, nil
	}
	if z.loaded() == nil {
		logFinding(*z.failure.Load())
		return z, nil
	}
	if place != inMemory {
		if err := logMasterFileFindings(s, origin); err != nil {
			return nil, err
		}
		log.Infof("zone %s: kept across the reload, serial %d, updates %s", origin, z.loaded().Snapshot().Serial(), s.Mode(origin))
		return z, nil
	}
	// The next start needs the master file: an error in it is reported now, while the server runs.
	source, seed := s.Seed(origin, addresses, logFinding)
	if _, err := seed(); err != nil {
		return nil, fmt.Errorf("zone %s: %w", origin, err)
	}
	log.Infof("zone %s: kept across the reload, serial %d, updates %s; %s was not loaded",
		origin, z.loaded().Snapshot().Serial(), s.Mode(origin), source)
	return z, nil
}

// openNew opens a zone that is not served yet.
func (b *block) openNew(s *service.Service, origin string, addresses []net.IP, copied bool) (*zone.Zone, error) {
	if copied && !s.HasDatabase(origin) {
		return nil, notCopied(origin, s.DatabaseOf(origin))
	}
	source, seed := s.Seed(origin, addresses, logFinding)
	var contents store.Store = store.NewMemory(store.MemoryOptions{})
	place := ", in memory"
	if s.Database != "" {
		opened, err := openDatabase(s, origin)
		if err != nil {
			return nil, fmt.Errorf("zone %s: %w", origin, err)
		}
		contents, place = opened, ", database "+s.DatabaseOf(origin)
	}
	isNew := false
	z, err := zone.Open(zone.Config{
		Origin: origin, Store: contents,
		Seed: func() ([]store.Record, error) {
			isNew = true
			return seed()
		},
		Limits: s.Limits, TombstoneLifetime: s.Tombstones, Aging: s.Aging(origin), Now: b.process.now,
		Committed: observeCommits(origin),
	})
	if err != nil {
		return nil, errors.Join(err, contents.Close()) // names the zone
	}
	switch {
	case !isNew:
		source, place = "its database "+s.DatabaseOf(origin), ""
		err = logMasterFileFindings(s, origin)
	case s.Database != "":
		logFinding(diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + origin,
			Problem: fmt.Sprintf("a new, empty database was made in %s and filled from %s", s.DatabaseOf(origin), source),
			Fix:     "if the zone has had a database before, stop the server and correct the property database"})
		if err = service.RecordMasterFile(s.Block, origin); err != nil {
			err = fmt.Errorf("zone %s: %w", origin, err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, z.Close())
	}
	returnMemory(z)
	soa := z.Snapshot().SOA()
	log.Infof("zone %s: serial %d, primary server %s, from %s%s, updates %s",
		origin, soa.Serial, soa.Ns, source, place, s.Mode(origin))
	return z, nil
}

// openDatabase opens a zone's database, or makes it.
func openDatabase(s *service.Service, origin string) (*disk.Disk, error) {
	err := os.MkdirAll(s.Database, 0o700)
	if err == nil {
		var opened *disk.Disk
		if opened, err = disk.Open(s.DatabaseOf(origin), disk.Options{Origin: origin}); err == nil {
			return opened, nil
		}
	}
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrNotExist):
		err = diagnose.WithFix(err, "correct the property database, which names a directory that exists or can be made")
	case errors.Is(err, syscall.ENOSPC):
		err = diagnose.WithFix(err, "free some space on the disk: the database cannot be opened without it")
	case errors.Is(err, fs.ErrPermission):
		err = diagnose.WithFix(err, "make the user that the server runs as (uid %d) the owner of %s and of everything in it", os.Getuid(), s.Database)
	}
	return nil, err
}

// logMasterFileFindings warns if the zone's master file is not the one that its database was made from.
func logMasterFileFindings(s *service.Service, origin string) error {
	findings, err := s.MasterFileFindings(origin)
	if err != nil {
		return fmt.Errorf("zone %s: %w", origin, err)
	}
	logFindings(findings)
	return nil
}
