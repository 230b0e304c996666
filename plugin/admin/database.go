package admin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/msdnsp"
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
func dump(flags *flag.FlagSet) runner {
	database := addDatabaseFlags(flags)
	output := addOutputFlag(flags)
	return func(s Streams, args []string) (int, error) {
		origin, err := onlyZone(args)
		if err != nil {
			return 0, err
		}
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
		p := newProgress(s.Err, "records written", snapshot.Len(), recordStep)
		defer p.end()
		return ExitOK, writeMaster(s.Out, snapshot, p)
	}
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

// load fills an empty database from a master file or a dump.
func load(flags *flag.FlagSet) runner {
	database := addDatabaseFlags(flags)
	previous := flags.String("previous", "", "directory `DIR` of the zone's former database, which was moved away: the serial becomes greater than its")
	var served serials
	flags.Var(&served, "served", "`SERIAL` that a secondary server has: that of the zone becomes greater; may be given several times")
	ownership := addOwnershipFlags(flags)
	remote := addServerFlags(flags)
	output := addOutputFlag(flags)
	return func(s Streams, args []string) (int, error) {
		if len(args) != 2 {
			return 0, &usageError{"ZONE and FILE are needed"}
		}
		origin, err := zoneWord(args[0])
		if err != nil {
			return 0, err
		}
		server, err := serverSource(args[1])
		if err != nil {
			return 0, err
		}
		if err := remote.validate(server); err != nil {
			return 0, err
		}
		file := args[1]
		directory, block, err := database.find(origin)
		if err != nil {
			return 0, err
		}
		if *previous != "" {
			serial, err := serialOf(*previous, origin)
			if err != nil {
				return 0, diagnose.WithFix(fmt.Errorf("former database: %w", err), "if it cannot be read, ask a secondary server for its serial and give that by -served")
			}
			served = append(served, serial)
		}
		source := seedSource{origin: origin, served: served, ownership: ownership,
			warn: func(f diagnose.Finding) { fmt.Fprintf(s.Err, "warning: %s\n", f) },
		}
		if server != nil {
			source.get = func() (seed, error) {
				p := newProgress(s.Err, "records fetched", 0, recordStep)
				defer p.end()
				return remote.readServer(context.Background(), server, origin, p, source.warn)
			}
		} else {
			in, size, err := openSeed(file, s.In)
			if err != nil {
				return 0, err
			}
			defer in.Close()
			source.get = func() (seed, error) {
				p := newProgress(s.Err, "octets read", size, octetStep)
				defer p.end()
				records, owners, err := readMaster(observedReader{in, p}, origin, in.name, source.warn)
				return seed{records: records, owners: owners}, err
			}
		}
		from, err := source.read()
		if err != nil {
			return 0, err
		}
		loaded, err := fill(directory, source, from, s.Err, block)
		if err != nil {
			return 0, err
		}
		if output.json {
			return ExitOK, printJSON(s.Out, loadedJSON{Zone: origin, Serial: loaded.Serial(), Records: loaded.Len(), Database: directory,
				Settings: from.settingsJSON()})
		}
		fmt.Fprintf(s.Out, "zone %s: %s, serial %d, loaded into %s\n", origin, count(loaded.Len(), "record"), loaded.Serial(), directory)
		if lines := from.corefileLines(origin); lines != nil {
			fmt.Fprintf(s.Out, "The gsstsig block needs these lines to be as the zone was in Active Directory:\n    %s\n", strings.Join(lines, "\n    "))
		}
		return ExitOK, nil
	}
}

// serials is a flag that may be given several times.
type serials []uint32

// String implements flag.Value.
func (s *serials) String() string { return fmt.Sprint([]uint32(*s)) }

func (s *serials) repeated() {}

// Set implements flag.Value.
func (s *serials) Set(v string) error {
	serial, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		return errors.New("must be a number of 32 bits")
	}
	*s = append(*s, uint32(serial))
	return nil
}

// serialOf returns the serial of the zone in a database.
func serialOf(directory, origin string) (uint32, error) {
	snapshot, err := readDatabase(directory, origin)
	if err != nil {
		return 0, err
	}
	return snapshot.Serial(), nil
}

// seedFile is a file that load reads, or standard input, which it does not close.
type seedFile struct {
	io.Reader
	name  string // in messages
	close func() error
}

// Close closes the file.
func (f *seedFile) Close() error { return f.close() }

// openSeed opens a file, or standard input for "-". The size is 0 if it is not known.
func openSeed(file string, input io.Reader) (in *seedFile, size int, err error) {
	if file == "-" {
		return &seedFile{input, "standard input", func() error { return nil }}, 0, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = int(info.Size())
	}
	return &seedFile{f, file, f.Close}, size, nil
}

// seedSource is what load reads.
type seedSource struct {
	origin    string
	get       func() (seed, error)
	served    []uint32 // serials that the zone had before
	ownership *ownership
	warn      func(diagnose.Finding)
}

// seed is what a database is filled with.
type seed struct {
	records  []store.Record
	owners   []store.Owner
	settings *msdnsp.Settings // of a zone from Active Directory, else nil
}

// read returns the zone with a serial that secondaries take for newer than what they have: the file may have been edited.
func (s *seedSource) read() (seed, error) {
	from, err := s.get()
	if err != nil {
		return seed{}, err
	}
	if from.owners, err = s.ownership.assign(s.origin, from.records, from.owners); err != nil {
		return seed{}, err
	}
	return from, zone.RaiseSerial(from.records, s.served...)
}

// fill fills a database, and notes what its block's master file was. All files that it makes get the owner of the directory
// that was there before.
func fill(directory string, source seedSource, from seed, messages io.Writer, block *corefile.Block) (snapshot *zone.Snapshot, err error) {
	made := []string{directory}
	if block != nil {
		made = append(made, service.RecordOf(block, source.origin))
	}
	inherit, err := inheritOwner(directory)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, inherit(made)) }()
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	snapshot, err = fillDatabase(directory, source.origin, from.records, from.owners, newProgress(messages, "records stored", len(from.records), recordStep))
	if err == nil && block != nil {
		// From now on the start of the server is to warn of later changes of the master file only.
		if err := service.RecordMasterFile(block, source.origin); err != nil {
			source.warn(diagnose.Finding{Subject: "zone " + source.origin, Problem: fmt.Sprintf("the next start will warn that the master file has changed: %v", err)})
		}
	}
	return snapshot, err
}

func fillDatabase(directory, origin string, records []store.Record, owners []store.Owner, progress *progress) (snapshot *zone.Snapshot, err error) {
	database, err := disk.Open(directory, disk.Options{Origin: origin})
	if err != nil {
		return nil, err
	}
	isEmpty := false
	z, err := zone.Open(zone.Config{Origin: origin, Store: observedStore{database, progress}, Owners: owners, Seed: func() ([]store.Record, error) {
		isEmpty = true
		return records, nil
	}})
	if err != nil {
		return nil, errors.Join(err, database.Close())
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	if !isEmpty {
		return nil, diagnose.WithFix(fmt.Errorf("%s has the zone already, at serial %d, and load fills only an empty database", directory, z.Snapshot().Serial()),
			"stop the server, move the directory away and name it by -previous, so that the serial goes on; keep it until the new zone is as it should be")
	}
	return z.Snapshot(), nil
}
