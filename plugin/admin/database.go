package admin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// databaseFlags name the database that a command uses.
type databaseFlags struct{ conf, directory *string }

func addDatabaseFlags(flags *flag.FlagSet) databaseFlags {
	return databaseFlags{
		conf:      flags.String("conf", "Corefile", "Corefile that names the database, a `FILE`"),
		directory: flags.String("database", "", "directory `DIR` of the databases, as the Corefile has it; no Corefile is read"),
	}
}

// find returns the directory of a zone's database, and the block of the zone if the Corefile was read.
func (f databaseFlags) find(origin string) (string, *corefile.Block, error) {
	if *f.directory != "" {
		return disk.Path(*f.directory, origin), nil, nil
	}
	servers, err := corefile.ReadFile(*f.conf)
	if err != nil {
		return "", nil, err
	}
	for _, server := range servers {
		for _, o := range server.Origins {
			if o != origin {
				continue
			}
			if server.Database == "" {
				return "", nil, diagnose.WithFix(fmt.Errorf("%s: zone %s has no database, it is in memory only", server.Position, origin),
					"add \"database DIR\" to the gsstsig block")
			}
			return server.DatabaseOf(origin), server.Block, nil
		}
	}
	return "", nil, fmt.Errorf("%s: no gsstsig block has the zone %s", *f.conf, origin)
}

// dump prints the zone of a database. It works while a server runs: what it prints is one state of the zone.
func dump(s Streams, flags *flag.FlagSet, args []string) (int, error) {
	database := addDatabaseFlags(flags)
	output := addOutputFlag(flags)
	args, err := parse(flags, args)
	if err != nil {
		return 0, err
	}
	if len(args) != 1 {
		return 0, &usageError{"one ZONE is needed"}
	}
	origin := dns.CanonicalName(args[0])
	directory, _, err := database.find(origin)
	if err != nil {
		return 0, err
	}
	snapshot, err := readDatabase(directory, origin)
	if err != nil {
		return 0, err
	}
	if output.json {
		return ExitOK, printJSON(s.Out, zoneJSON(snapshot))
	}
	return ExitOK, writeMaster(s.Out, snapshot)
}

// readDatabase reads a zone from its database, which a server may have open.
func readDatabase(directory, origin string) (snapshot *zone.Snapshot, err error) {
	source, err := disk.OpenSnapshot(context.Background(), directory)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	if source.Origin() != origin {
		return nil, fmt.Errorf("%s is the database of another zone, %s", directory, source.Origin())
	}
	return zone.Read(origin, source)
}

// load fills an empty database from a master file.
func load(s Streams, flags *flag.FlagSet, args []string) (int, error) {
	database := addDatabaseFlags(flags)
	output := addOutputFlag(flags)
	args, err := parse(flags, args)
	if err != nil {
		return 0, err
	}
	if len(args) != 2 {
		return 0, &usageError{"ZONE and FILE are needed"}
	}
	origin, file := dns.CanonicalName(args[0]), args[1]
	directory, block, err := database.find(origin)
	if err != nil {
		return 0, err
	}
	in := s.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		in = f
	}
	loaded, err := fill(directory, origin, in, file)
	if err != nil {
		return 0, err
	}
	if block != nil {
		// From now on the start of the server is to warn of later changes of the master file only.
		if err := service.RecordMasterFile(block, origin); err != nil {
			fmt.Fprintf(s.Err, "the next start will warn that the master file has changed: %v\n", err)
		}
	}
	if output.json {
		return ExitOK, printJSON(s.Out, loadedJSON{Zone: origin, Serial: loaded.Serial(), Records: loaded.Len(), Database: directory})
	}
	fmt.Fprintf(s.Out, "zone %s: %d records, serial %d, loaded into %s\n", origin, loaded.Len(), loaded.Serial(), directory)
	return ExitOK, nil
}

func fill(directory, origin string, in io.Reader, file string) (snapshot *zone.Snapshot, err error) {
	records, owners, err := readMaster(in, origin, file)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	database, err := disk.Open(directory, disk.Options{Origin: origin})
	if err != nil {
		return nil, err
	}
	isEmpty := false
	z, err := zone.Open(zone.Config{Origin: origin, Store: database, Owners: owners, Seed: func() ([]store.Record, error) {
		isEmpty = true
		return records, nil
	}})
	if err != nil {
		return nil, errors.Join(err, database.Close())
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	if !isEmpty {
		return nil, diagnose.WithFix(fmt.Errorf("%s has the zone already, at serial %d, and load fills only an empty database", directory, z.Snapshot().Serial()),
			"move the directory away first, and keep it until the new zone is as it should be")
	}
	return z.Snapshot(), nil
}
