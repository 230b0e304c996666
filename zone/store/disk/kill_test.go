package disk

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

var (
	killRounds = flag.Int("kill.rounds", 10, "how often TestKill kills a process that commits")
	everywhere = flag.Bool("everywhere", false, "try faults and damage at every place, not at some")
)

// pace returns by how much to go on where trying every place takes long.
func pace(usual int) int {
	if *everywhere {
		return 1
	}
	return usual
}

// killDir, in the environment, makes the test binary commit to the database there until it is
// killed.
const killDir = "DISK_TEST_KILL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		fmt.Fprintln(os.Stderr, commitForever(dir))
		os.Exit(1)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// killOptions make the engine write tables and trim the log all the time.
var killOptions = Options{Origin: origin, memTable: smallTables, MaxChanges: 1000}

// killScript is the script of the commit after commit n.
func killScript(n uint64) *script { return newScript(1000+n, 2000) }

// commitForever prints a line once it is there, and one for each commit that it has been told is
// done.
func commitForever(dir string) error {
	fmt.Println("up")
	s, err := Open(dir, killOptions)
	if err != nil {
		return err
	}
	for {
		n := s.state.commits
		if err := s.Commit(context.Background(), killScript(n).commit(s.state.serial)); err != nil {
			return err
		}
		fmt.Println(s.state.commits)
	}
}

// A process that is killed at any moment leaves what it was told is durable, and at most the commit
// that was under way.
func TestKill(t *testing.T) {
	standard.Requires(t, "RFC 2136", "3.5 stable storage")
	dir := filepath.Join(t.TempDir(), "db")
	s, err := Open(dir, killOptions)
	if err != nil {
		t.Fatal(err)
	}
	m := fillStore(t, s, 100)
	commits := s.state.commits
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	total := 0
	for round := range *killRounds {
		done, err := killAfter(dir, rand.IntN(120))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for commits < done {
			m.apply(killScript(commits).commit(m.serial))
			commits++
			total++
		}
		if s, err = Open(dir, killOptions); err != nil {
			t.Fatalf("round %d, after commit %d: %v", round, commits, err)
		}
		if s.state.commits == commits+1 {
			m.apply(killScript(commits).commit(m.serial))
			commits++
		}
		if s.state.commits != commits {
			t.Errorf("round %d: at commit %d, acknowledged was %d", round, s.state.commits, commits)
		}
		m.log = m.log[max(0, len(m.log)-killOptions.MaxChanges):]
		if err := errors.Join(m.difference(s), m.differenceOfChanges(s)); err != nil {
			t.Fatalf("round %d, after commit %d: %v", round, commits, err)
		}
		if round%2 == 0 {
			err = s.Close()
		} else {
			// The next process gets what a process leaves that was killed before it did anything.
			abandon(s)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d commits, %d records, %d changes", total, len(m.records), len(m.log))
}

// killAfter runs a process that commits and kills it when it has printed so many lines. It returns
// the last commit that it has printed.
func killAfter(dir string, lines int) (commits uint64, err error) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), killDir+"="+dir)
	var complaint strings.Builder
	c.Stderr = &complaint
	out, err := c.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := c.Start(); err != nil {
		return 0, err
	}
	read := bufio.NewScanner(out)
	for range lines {
		if !read.Scan() {
			break
		}
		_, _ = fmt.Sscan(read.Text(), &commits)
	}
	if err := c.Process.Kill(); err != nil {
		return 0, errors.Join(err, errors.New(complaint.String()))
	}
	// What it has printed and was not read yet counts too.
	for read.Scan() {
		_, _ = fmt.Sscan(read.Text(), &commits)
	}
	_ = c.Wait()
	if complaint.Len() > 0 {
		return 0, errors.New(complaint.String())
	}
	return commits, nil
}

// A process that is killed while it fills a database leaves one that is empty, or whole.
func TestKillDuringInit(t *testing.T) {
	// An engine as it is before the last piece.
	dir := filepath.Join(t.TempDir(), "db")
	s, err := Open(dir, Options{Origin: origin, chunk: 1000, memTable: smallTables})
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	func() {
		defer func() { _ = recover() }()
		_ = s.Init(context.Background(), store.Contents{Serial: 1, Records: func(yield func(store.Record) bool) {
			for i := range 5000 {
				yield(store.Record{Name: wire(fmt.Sprint(i, ".", origin)), Type: 1, Class: 1, Data: []byte{192, 0, 2, 1}})
			}
			panic(stop)
		}})
	}()
	abandon(s)
	if s, err = Open(dir, Options{Origin: origin}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if empty, err := s.engine.empty(); empty || err != nil {
		t.Fatalf("nothing of the first attempt is there: %v", err)
	}
	if _, found, err := s.Load(context.Background(), newModel()); found || err != nil {
		t.Fatalf("found %v, %v", found, err)
	}
	m := newModel()
	m.serial, m.records[recordText(soa(1))] = 1, attributes(soa(1))
	if err := s.Init(context.Background(), store.Contents{Serial: 1, Records: slices.Values([]store.Record{soa(1)})}); err != nil {
		t.Fatal(err)
	}
	if err := m.difference(s); err != nil {
		t.Errorf("what the first attempt left is in the zone: %v", err)
	}
}
