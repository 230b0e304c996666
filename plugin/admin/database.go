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
	"github.com/gsstsig/coredns-gsstsig/zone/store/etcd"
)

// databaseFlags name the database that a command uses.
type databaseFlags struct{ conf, directory *string }

func addDatabaseFlags(flags *flag.FlagSet) databaseFlags {
	return databaseFlags{
		conf:      flags.String("conf", "Corefile", "find the database by the Corefile `FILE`"),
		directory: flags.String("database", "", "use the directory of databases `DIR`, as the property database names it; no Corefile is read"),
	}
}

// find returns where a zone is kept, with its block if the Corefile was read.
func (f databaseFlags) find(origin string) (home, error) {
	if *f.directory != "" {
		return home{origin: origin, directory: disk.Path(*f.directory, origin)}, nil
	}
	return findHome(*f.conf, origin)
}

// findHome returns where a zone of a Corefile is kept.
func findHome(conf, origin string) (home, error) {
	servers, err := corefile.ReadFile(conf)
	if err != nil {
		return home{}, err
	}
	for _, server := range servers {
		for _, o := range server.Origins {
			if o == origin {
				return homeOf(server.Block, origin)
			}
		}
	}
	return home{}, fmt.Errorf("%s: no gsstsig block has the zone %s", conf, origin)
}

// dump prints a zone from where it is kept. It works while a server runs: what it prints is one state of the zone.
func dump(flags *flag.FlagSet) runner {
	database := addDatabaseFlags(flags)
	output := addOutputFlag(flags)
	return func(s Streams, args []string) (int, error) {
		origin, err := onlyZone(args)
		if err != nil {
			return 0, err
		}
		h, err := database.find(origin)
		if err != nil {
			return 0, err
		}
		snapshot, err := h.read()
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
	previous := flags.String("previous", "", "the zone's former database was moved to `DIR`: set a serial greater than the one there")
	var served serials
	flags.Var(&served, "served", "a secondary server has `SERIAL`: set a greater one; may be given several times")
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
		h, err := database.find(origin)
		if err != nil {
			return 0, err
		}
		if *previous != "" {
			serial, err := serialOf(*previous, origin)
			if err != nil {
				// The error's own advice is for the directory of the server.
				return 0, diagnose.WithFix(errors.New("former database: "+diagnose.FromError("", err).Problem),
					"name the directory that the zone's own was moved to; if that is lost or damaged, ask a secondary server for its serial (dig SOA) and give it by -served")
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
		loaded, err := fill(h, source, from, s.Err)
		if err != nil {
			return 0, err
		}
		if output.json {
			return ExitOK, printJSON(s.Out, loadedJSON{Zone: origin, Serial: loaded.Serial(), Records: loaded.Len(), Database: h.directory, Etcd: h.etcdName(),
				Settings: from.settingsJSON()})
		}
		fmt.Fprintf(s.Out, "zone %s: %s, serial %d, loaded into %s\n", origin, count(loaded.Len(), "record"), loaded.Serial(), h.place())
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

// fill fills the home of a zone, and notes what its block's master file was. All files that it makes get the owner of the directory
// that was there before.
func fill(h home, source seedSource, from seed, messages io.Writer) (snapshot *zone.Snapshot, err error) {
	p := newProgress(messages, "records stored", len(from.records), recordStep)
	config := zone.Config{Owners: from.owners, Seed: func() ([]store.Record, error) { return from.records, nil }}
	if h.onEtcd() {
		return fillHome(h, config, p)
	}
	made := []string{h.directory}
	if h.block != nil {
		made = append(made, service.RecordOf(h.block, source.origin))
	}
	inherit, err := inheritOwner(h.directory)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, inherit(made)) }()
	if err := os.MkdirAll(h.directory, 0o700); err != nil {
		return nil, err
	}
	snapshot, err = fillHome(h, config, p)
	if err == nil && h.block != nil {
		// From now on the start of the server is to warn of later changes of the master file only.
		if err := service.RecordMasterFile(h.block, source.origin); err != nil {
			source.warn(diagnose.Finding{Subject: "zone " + source.origin, Problem: fmt.Sprintf("the next start will warn that the master file has changed: %v", err)})
		}
	}
	return snapshot, err
}

// fillHome fills the home of a zone, which has to be empty.
func fillHome(h home, config zone.Config, progress *progress) (snapshot *zone.Snapshot, err error) {
	isEmpty := false
	seed := config.Seed
	config.Seed = func() ([]store.Record, error) {
		isEmpty = true
		return seed()
	}
	err = h.open(config, progress, func(z *zone.Zone) error {
		snapshot = z.Snapshot()
		if isEmpty {
			return nil
		}
		return h.notEmpty(snapshot.Serial())
	})
	return snapshot, err
}

// notEmpty is the error that a home has the zone already.
func (h home) notEmpty(serial uint32) error {
	if h.onEtcd() {
		return diagnose.WithFix(fmt.Errorf("%v has the zone already, at serial %d, and load fills only what is empty", h, serial),
			"to replace the zone, stop the servers, remove it by \"etcdctl del --prefix %s\", and load it with -served %d, so that the serial goes on; keep a dump of it until the new zone is as it should be",
			etcd.ZonePrefix(h.block.Etcd.Prefix, h.origin), serial)
	}
	return diagnose.WithFix(fmt.Errorf("%s has the zone already, at serial %d, and load fills only an empty database", h.directory, serial),
		"stop the server, move the directory away and name it by -previous, so that the serial goes on; keep it until the new zone is as it should be")
}
