package admin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// databaseFlags say which database a command is about.
type databaseFlags struct{ conf, directory *string }

func addDatabaseFlags(flags *flag.FlagSet) databaseFlags {
	return databaseFlags{
		conf:      flags.String("conf", "Corefile", "Corefile that says where the database is"),
		directory: flags.String("database", "", "directory of the databases, as in the Corefile, which is not read then"),
	}
}

// find returns the directory of one zone's database, and the block that has the zone if the Corefile was read.
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
				return "", nil, fmt.Errorf("%s: zone %s has no database", server.Position, origin)
			}
			return server.DatabaseOf(origin), server.Block, nil
		}
	}
	return "", nil, fmt.Errorf("%s: no gsstsig block has the zone %s", *f.conf, origin)
}

// dump prints a database's zone as a master file. It works beside a running server: what it prints is the state of one
// moment.
func dump(s Streams, flags *flag.FlagSet, args []string) (int, error) {
	database := addDatabaseFlags(flags)
	args, err := parse(flags, args)
	if err != nil {
		return 0, err
	}
	if len(args) != 1 {
		return 0, &usageError{"one zone is needed"}
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
	return ExitOK, writeMaster(s.Out, snapshot)
}

// readDatabase reads a zone from its database, whether or not a server has it open.
func readDatabase(directory, origin string) (snapshot *zone.Snapshot, err error) {
	source, err := disk.OpenSnapshot(context.Background(), directory)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	if source.Origin() != origin {
		return nil, fmt.Errorf("%s is the database of zone %s", directory, source.Origin())
	}
	return zone.Read(origin, source)
}

// load fills an empty database from a master file.
func load(s Streams, flags *flag.FlagSet, args []string) (int, error) {
	database := addDatabaseFlags(flags)
	args, err := parse(flags, args)
	if err != nil {
		return 0, err
	}
	if len(args) != 2 {
		return 0, &usageError{"a zone and a master file are needed"}
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
		// From here on the database is the truth: the start shall tell of later changes of the seed alone.
		if err := gsstsig.MarkSeed(block, origin); err != nil {
			fmt.Fprintf(s.Err, "the start will say that the seed has changed: %v\n", err)
		}
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
	planted := false
	z, err := zone.Open(zone.Config{Origin: origin, Store: database, Owners: owners, Seed: func() ([]dns.RR, error) {
		planted = true
		return records, nil
	}})
	if err != nil {
		return nil, errors.Join(err, database.Close())
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	if !planted {
		return nil, fmt.Errorf("%s holds the zone already, at serial %d: load fills an empty database alone; "+
			"move the directory away first, and keep it until all is well", directory, z.Snapshot().Serial())
	}
	return z.Snapshot(), nil
}
