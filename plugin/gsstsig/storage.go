package gsstsig

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// inMemory is the place of a zone without a database.
const inMemory = "memory"

// openZone gives the zone of that origin: the one that is being served already, or a new one from its database or seed.
// memoryKey finds it again if it has no database.
func (b *block) openZone(service *Service, origin, memoryKey string, addresses []net.IP) (*zone.Zone, error) {
	key, place := memoryKey, inMemory
	if service.Database != "" {
		place = service.DatabaseOf(origin)
		key = place
	}
	z, found, err := b.holdZone(key, origin, place, func() (*zone.Zone, error) { return openNew(service, origin, addresses) })
	if err != nil {
		return nil, fmt.Errorf("zone %s: %w", origin, err)
	}
	b.effects = append(b.effects, func() { z.Configure(service.Limits, service.Tombstones) })
	if !found {
		return z, nil
	}
	if place == inMemory {
		// The next start is going to need the seed: one that is missing or broken is told now, while something runs.
		source, seed := service.Seed(origin, addresses)
		if _, err := seed(); err != nil {
			return nil, err
		}
		log.Infof("zone %s: kept over the reload, serial %d, updates %s; %s was not read into it",
			origin, z.Snapshot().Serial(), service.Mode(origin), source)
	} else {
		if err := compareSeed(service, origin, false); err != nil {
			return nil, err
		}
		log.Infof("zone %s: kept over the reload, serial %d, updates %s", origin, z.Snapshot().Serial(), service.Mode(origin))
	}
	return z, nil
}

// openNew opens a zone that is not being served yet.
func openNew(service *Service, origin string, addresses []net.IP) (*zone.Zone, error) {
	source, seed := service.Seed(origin, addresses)
	var contents store.Store = store.NewMemory(store.MemoryOptions{})
	place := "in memory"
	if service.Database != "" {
		opened, err := openDatabase(service, origin)
		if err != nil {
			return nil, err
		}
		contents, place = opened, "database "+service.DatabaseOf(origin)
	}
	planted := false
	z, err := zone.Open(zone.Config{
		Origin: origin, Store: contents,
		Seed: func() ([]dns.RR, error) {
			planted = true
			return seed()
		},
		Limits: service.Limits, TombstoneLifetime: service.Tombstones,
	})
	if err != nil {
		return nil, errors.Join(err, contents.Close())
	}
	if !planted {
		source = "its database"
	}
	if err := compareSeed(service, origin, planted); err != nil {
		return nil, errors.Join(err, z.Close())
	}
	soa := z.Snapshot().SOA()
	log.Infof("zone %s: serial %d, primary server %s, from %s, %s, updates %s",
		origin, soa.Serial, soa.Ns, source, place, service.Mode(origin))
	return z, nil
}

// openDatabase opens a zone's database, which it makes if there is none.
func openDatabase(service *Service, origin string) (*disk.Disk, error) {
	err := os.MkdirAll(service.Database, 0o700)
	if err == nil {
		var opened *disk.Disk
		if opened, err = disk.Open(service.DatabaseOf(origin), disk.Options{Origin: origin}); err == nil {
			return opened, nil
		}
	}
	switch {
	case errors.Is(err, syscall.ENOSPC):
		err = fmt.Errorf("%w; make room on the disk: without any the database cannot be opened", err)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w; the database %s and all that is in it must belong to the user that the server runs as, who is number %d",
			err, service.Database, os.Getuid())
	}
	return nil, err
}

// compareSeed says when a zone's master file is no longer the one that its database was made from: the database is the
// truth, and who edits the file instead shall know. What tells is a digest beside the database.
func compareSeed(service *Service, origin string, planted bool) error {
	file, ok := service.Seeds[origin]
	if !ok || service.Database == "" {
		return nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		if planted {
			return err // it was there a moment ago
		}
		log.Warningf("zone %s: %v; its database is the truth, so nothing is missing", origin, err)
		return nil
	}
	digest := digestOf(content)
	if planted {
		return writeMark(markOf(service.Block, origin), digest)
	}
	before, err := os.ReadFile(markOf(service.Block, origin))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// The zone came from the generated apex or from load, and the file property later.
		log.Warningf("zone %s: %s is not read: the zone's database %s has contents of its own", origin, file, service.DatabaseOf(origin))
	case err != nil:
		return err
	case strings.TrimSpace(string(before)) != digest:
		log.Warningf("zone %s: %s has changed since the database %s was made from it; the database is the truth and the "+
			"changes are not taken over. Make them by dynamic updates, or stop the server and load the file into an "+
			"empty database: coredns gsstsig load", origin, file, service.DatabaseOf(origin))
	}
	return nil
}

// MarkSeed notes that the zone's database is as new as its master file, as after a load: only what is written there later
// is a change that was not taken over. It does nothing for a zone without one of both.
func MarkSeed(b *corefile.Block, origin string) error {
	file, ok := b.Seeds[origin]
	if !ok || b.Database == "" {
		return nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return writeMark(markOf(b, origin), digestOf(content))
}

// markOf is the file with the digest of the master file that a database was made from.
func markOf(b *corefile.Block, origin string) string { return b.DatabaseOf(origin) + ".seed" }

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// writeMark writes a small file whole or not at all.
func writeMark(path, content string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".seed-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	if _, err := f.WriteString(content + "\n"); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
