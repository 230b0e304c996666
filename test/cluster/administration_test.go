//go:build e2e

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// command runs a command of the administrator where a server runs or ran, and returns its exit status and what it printed.
func (d *deployment) command(i int, stdin string, args ...string) (int, string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, shared.binary, append([]string{"gsstsig"}, args...)...)
	cmd.Dir = d.servers[i].Dir()
	cmd.Stdin = strings.NewReader(stdin)
	for _, port := range []string{"READY", "METRICS", "PPROF"} {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", port, d.servers[i].Port(port).Port()))
	}
	cmd.Env = append(os.Environ(), cmd.Env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// must runs a command that succeeds and says the words.
func (d *deployment) must(i int, stdin string, words []string, args ...string) string {
	d.t.Helper()
	status, out := d.command(i, stdin, args...)
	if status != 0 {
		d.t.Fatalf("%v at server %d: exit status %d\n%s", args, i, status, out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			d.t.Errorf("%v at server %d does not say %q:\n%s", args, i, w, out)
		}
	}
	return out
}

// get reads what a server tells on one of its ports.
func (d *deployment) get(i int, port, path string) string {
	d.t.Helper()
	request, err := http.NewRequestWithContext(d.ctx, http.MethodGet, fmt.Sprintf("http://%s%s", d.servers[i].Port(port), path), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

// TestCommands: what the administrator does at any server holds for all of them, and works while no server runs.
func TestCommands(t *testing.T) {
	d := deploy(t, config{inside: []string{"control control.sock"}})
	s := d.newSender()
	d.takes(s, 0, add("a", "by alice"))
	for i := range size {
		d.learns(i, "a", "by alice")
	}
	d.must(0, "", []string{"a.example.test.", "alice@EXAMPLE.TEST", "by alice"}, "show", "example.test")
	d.must(1, "update add b.example.test 60 TXT \"by the administrator\"\n", []string{"1 added"}, "update", "example.test")
	d.learns(2, "b", "by the administrator")
	d.must(2, "", []string{"belongs to bob@EXAMPLE.TEST now"}, "own", "a.example.test", "bob@EXAMPLE.TEST")
	d.until("the owner at another server", func() error {
		if out := d.must(0, "", nil, "show", "example.test", "a"); !strings.Contains(out, "bob@EXAMPLE.TEST") {
			return errors.New(out)
		}
		return nil
	})
	d.must(1, "", []string{"by administrator", "by the administrator"}, "changes", "example.test")
	d.must(0, "", []string{"by the administrator", ";gsstsig: owner a.example.test. bob@EXAMPLE.TEST"}, "dump", "example.test")

	d.must(0, "", []string{"is frozen"}, "freeze", "example.test")
	d.until("a refusal at another server", func() error {
		reply, err := s.exchange(2, alice, add("c", "while it is frozen"))
		if err == nil && reply.Rcode != dns.RcodeRefused {
			err = fmt.Errorf("%v", reply)
		}
		return err
	})
	d.must(2, "", []string{"not frozen"}, "thaw", "example.test")
	d.until("an update after it", func() error {
		reply, err := s.exchange(0, alice, add("c", "after it was thawed"))
		if err == nil && reply.Rcode != dns.RcodeSuccess {
			err = fmt.Errorf("%v", reply)
		}
		return err
	})

	krb5conf, err := shared.realm.Config()
	if err != nil {
		t.Fatal(err)
	}
	// Every server tells of all of them, and what etcd has.
	d.until("the servers in the status", func() error {
		out := d.must(1, "", nil, "status")
		for _, words := range []string{"this server is ns1", "on etcd", "AT ns0", "AT ns1", "AT ns2", "leads", "follows", " of 2048 MiB"} {
			if !strings.Contains(out, words) {
				return fmt.Errorf("no %q in %s", words, out)
			}
		}
		if strings.Count(out, "current") != size {
			return fmt.Errorf("a server is not current:\n%s", out)
		}
		return nil
	})
	d.conflict()
	d.until("all of it in JSON", func() error {
		conflicts := int64(0)
		for i := range size {
			var s statusJSON
			if err := json.Unmarshal([]byte(d.must(i, "", nil, "status", "-o", "json")), &s); err != nil {
				return err
			}
			z, c := s.Zones[0], s.Clusters[0]
			if z.Confirmed == nil || z.Commits == nil || z.Commits.Unknown == nil || len(c.Servers) != size || len(c.Members) != size || len(c.Zones) != 1 || c.Zones[0].Serial != z.Serial || c.Zones[0].Epoch != 1 || c.Members[0].Quota == 0 {
				return fmt.Errorf("%+v", s)
			}
			for _, server := range c.Servers {
				if at := server.Zones[0]; at.Behind == nil || *at.Behind != 0 || at.Confirmed == nil {
					return fmt.Errorf("%+v", server)
				}
			}
			conflicts += z.Commits.Conflicts
		}
		if conflicts == 0 {
			return errors.New("no conflict is counted")
		}
		return nil
	})
	d.must(1, "", []string{"member m0, version 3.5", " of 2048 MiB", "its history ", "servers that run: ns0, ns1, ns2", "rules, aging and limits are those of all servers that run"}, "check", "-krb5conf", krb5conf, "-server", d.address(1).String())

	metrics := d.get(0, "METRICS", "/metrics")
	for _, series := range []string{`zone_loaded{zone="example.test."} 1`, `zone_unconfirmed_seconds{zone="example.test."} `,
		`commit_conflicts_total{zone="example.test."} `, `commit_unknown_total{zone="example.test."} 0`, `cluster_servers{state="running"} 3`, `cluster_servers{state="gone"} 0`} {
		if !strings.Contains(metrics, "coredns_gsstsig_"+series) {
			t.Errorf("the metrics have no %s", series)
		}
	}

	d.endOfServers()

	// One decides by other rules.
	d.config.inside = append(d.config.inside, "grant EXAMPLE.TEST zonesub ANY")
	if err := d.servers[2].Reload(d.ctx, d.corefile(2)); err != nil {
		t.Fatal(err)
	}
	d.until("another server that tells the difference", func() error {
		if !strings.Contains(d.servers[0].Log().String(), "rules (grant, deny) differs from that of ns2") {
			return errors.New("not in the log")
		}
		return nil
	})
	if _, out := d.command(2, "", "check", "-krb5conf", krb5conf, "-server", d.address(2).String()); !strings.Contains(out, "rules (grant, deny) differs from that of ns0, ns1") {
		t.Errorf("check does not tell it:\n%s", out)
	}

	for _, s := range d.servers {
		s.Kill()
	}
	const note = "note: the server is not running: "
	d.must(0, "", []string{note + "reading etcd", "by the administrator"}, "show", "example.test")
	d.must(1, "update add d.example.test 60 TXT \"while none runs\"\n", []string{note + "changing etcd", "1 added"}, "update", "example.test")
	d.must(2, "", []string{"while none runs"}, "changes", "example.test")
	d.must(2, "", []string{"while none runs"}, "dump", "example.test")
	d.must(2, "", []string{"is the administrator's now"}, "release", "a.example.test")
	d.must(0, "", []string{"is frozen"}, "freeze", "example.test")
	if status, out := d.command(0, "", "load", "example.test", "db"); status != 1 || !strings.Contains(out, "has the zone already") || !strings.Contains(out, "etcdctl del --prefix /gsstsig/zone/example.test./") {
		t.Errorf("load: exit status %d\n%s", status, out)
	}
	d.damagedZone(krb5conf)
	for i := range size {
		if err := d.servers[i].Relaunch(d.ctx); err != nil {
			t.Fatal(err)
		}
	}
	d.learns(0, "d", "while none runs")
	if reply, err := d.newSender().exchange(1, alice, add("e", "still frozen")); err != nil || reply.Rcode != dns.RcodeRefused {
		t.Errorf("an update of a zone that was frozen before the start: %v, %v", reply, err)
	}
}

// damagedZone has check find a zone on etcd that cannot be read, which keeps no server from starting.
func (d *deployment) damagedZone(krb5conf string) {
	d.t.Helper()
	client, err := d.members.Client()
	if err != nil {
		d.t.Fatal(err)
	}
	defer client.Close()
	const head = "/gsstsig/zone/" + zoneName + "/head"
	was, err := client.Get(d.ctx, head)
	if err != nil || len(was.Kvs) != 1 {
		d.t.Fatal(was, err)
	}
	if _, err := client.Put(d.ctx, head, "no head"); err != nil {
		d.t.Fatal(err)
	}
	status, out := d.command(0, "", "check", "-krb5conf", krb5conf)
	if status != 1 || strings.Count(out, "zone "+zoneName+": it cannot be read on etcd") != 1 || strings.Contains(out, "does not start") || strings.Contains(out, "zone "+zoneName+": serial") {
		d.t.Errorf("check of a damaged zone: exit status %d\n%s", status, out)
	}
	if _, err := client.Put(d.ctx, head, string(was.Kvs[0].Value)); err != nil {
		d.t.Fatal(err)
	}
}

// endOfServers: a server that was killed stays in the status of the others, with a warning, and one that has stopped in order without.
func (d *deployment) endOfServers() {
	d.t.Helper()
	ended := func(state, gone string) string {
		d.t.Helper()
		var out string
		d.until("a server that is "+state, func() error {
			out = d.must(0, "", nil, "status")
			if metrics := d.get(0, "METRICS", "/metrics"); !regexp.MustCompile(`(?m)^ns2 +`+state+` `).MatchString(out) || !strings.Contains(metrics, `coredns_gsstsig_cluster_servers{state="gone"} `+gone+"\n") {
				return fmt.Errorf("it is not:\n%s", out)
			}
			return nil
		})
		return out
	}
	const warning = "server ns2: it is gone since "
	d.servers[2].Kill()
	if out := ended("gone", "1"); !strings.Contains(out, warning) || strings.Contains(out, "AT ns2") {
		d.t.Errorf("status:\n%s", out)
	}
	if err := d.servers[2].Relaunch(d.ctx); err != nil {
		d.t.Fatal(err)
	}
	if out := ended("running", "0"); strings.Contains(out, warning) {
		d.t.Errorf("status:\n%s", out)
	}
	if err := d.servers[2].Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	<-d.servers[2].Done()
	if out := ended("stopped", "0"); strings.Contains(out, warning) {
		d.t.Errorf("status:\n%s", out)
	}
	if err := d.servers[2].Relaunch(d.ctx); err != nil {
		d.t.Fatal(err)
	}
	ended("running", "0")
}

// statusJSON is what status prints for programs.
type statusJSON struct {
	Zones []struct {
		Serial    uint32     `json:"serial"`
		Confirmed *time.Time `json:"confirmed"`
		Commits   *struct {
			Conflicts int64  `json:"conflicts"`
			Unknown   *int64 `json:"unknown"`
		} `json:"commits"`
	} `json:"zones"`
	Clusters []struct {
		Zones []struct {
			Serial uint32 `json:"serial"`
			Epoch  uint32 `json:"epoch"`
		} `json:"zones"`
		Members []struct {
			Quota int64 `json:"quota"`
		} `json:"members"`
		Servers []struct {
			Zones []struct {
				Behind    *uint32    `json:"behind"`
				Confirmed *time.Time `json:"confirmed"`
			} `json:"zones"`
		} `json:"servers"`
	} `json:"clusters"`
}

// conflict has all servers change the zone at once.
func (d *deployment) conflict() {
	d.t.Helper()
	var writing sync.WaitGroup
	for i := range size {
		s := d.newSender()
		writing.Go(func() {
			for n := range 20 {
				reply, err := s.exchange(i, alice, add(fmt.Sprintf("conflict%d-%d", i, n), "at once"))
				if err != nil || reply.Rcode != dns.RcodeSuccess {
					d.t.Errorf("an update at server %d: %v, %v", i, reply, err)
				}
			}
		})
	}
	writing.Wait()
}

// writer sends one update after the other to a server, and counts those that were acknowledged.
type writer struct {
	acknowledged atomic.Int64
	refused      atomic.Int64
	stop         chan struct{}
	done         chan error
}

// write begins to write names w0, w1 and so on.
func (d *deployment) write(server int) *writer {
	w := &writer{stop: make(chan struct{}), done: make(chan error, 1)}
	s := d.newSender()
	go func() {
		for n := 0; ; {
			select {
			case <-w.stop:
				w.done <- nil
				return
			default:
			}
			reply, err := s.exchange(server, alice, add(fmt.Sprintf("w%d", n), "written"))
			switch {
			case err != nil:
				w.done <- err
				return
			case reply.Rcode == dns.RcodeSuccess:
				w.acknowledged.Add(1)
				n++
			case reply.Rcode == dns.RcodeRefused:
				w.refused.Add(1)
			default:
				w.done <- fmt.Errorf("%v", reply)
				return
			}
		}
	}()
	return w
}

// more waits until more updates were acknowledged.
func (d *deployment) more(w *writer) {
	d.t.Helper()
	before := w.acknowledged.Load()
	d.until("more updates", func() error {
		select {
		case err := <-w.done:
			d.t.Fatalf("an update: %v", err)
		default:
		}
		if n := w.acknowledged.Load(); n < before+20 {
			return fmt.Errorf("%d were acknowledged", n)
		}
		return nil
	})
}

// end ends it, and compares what was acknowledged with what a server has.
func (d *deployment) end(w *writer, server int) {
	d.t.Helper()
	close(w.stop)
	if err := <-w.done; err != nil {
		d.t.Fatal(err)
	}
	records, err := d.transfer(server)
	if err != nil {
		d.t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, rr := range records {
		found[rr.Header().Name] = true
	}
	for n := range w.acknowledged.Load() {
		if name := fmt.Sprintf("w%d.%s", n, zoneName); !found[name] {
			d.t.Errorf("%s was acknowledged, and is not there", name)
		}
	}
}

// TestMigrate: a zone moves from a database to etcd and back while its server answers and clients update it. Nothing that was
// acknowledged is lost, and a server that has another zone there is not reloaded.
func TestMigrate(t *testing.T) {
	d := deploy(t, config{inside: []string{"control control.sock"}})
	onEtcd := d.corefile(0)
	// The first server alone, with a database, and etcd empty.
	for _, s := range d.servers {
		s.Kill()
	}
	client, err := d.members.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	empty := func() {
		t.Helper()
		if _, err := client.Delete(d.ctx, "/gsstsig/zone/", clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
	}
	empty()
	lines := strings.Split(onEtcd, "\n")
	for i, line := range lines {
		if strings.Contains(line, "etcd http") {
			lines[i] = "        database zones"
		} else if strings.Contains(line, "etcd_server") {
			lines[i] = ""
		}
	}
	inDatabase := strings.Join(lines, "\n")
	d.servers[0], err = server.Start(shared.ctx, server.Config{Binary: shared.binary, Corefile: inDatabase, Probe: zoneName,
		Files: map[string]string{"db": d.config.zoneFile(0), "Corefile.etcd": onEtcd, "Corefile.database": strings.Replace(inDatabase, "database zones", "database back", 1)},
		Ports: []string{"READY", "METRICS", "PPROF"}})
	if err != nil {
		t.Fatal(err)
	}
	refused := func(corefile, words string) {
		t.Helper()
		if err := d.servers[0].Reload(d.ctx, corefile); !errors.Is(err, server.ErrReload) || !strings.Contains(err.Error(), words) {
			t.Errorf("a reload: %v, want an error with %q", err, words)
		}
		if err := os.WriteFile(filepath.Join(d.servers[0].Dir(), "Corefile"), []byte(inDatabase), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused(onEtcd, "cannot move to etcd http")

	w := d.write(0)
	d.more(w)
	d.must(0, "", []string{"is frozen"}, "freeze", "example.test")
	refused(onEtcd, "because it is not there")
	d.must(0, "", nil, "thaw", "example.test")
	d.more(w)

	out := d.must(0, "", []string{"copied from database", "to etcd http"}, "migrate", "example.test", "-to", "Corefile.etcd")
	if n := w.acknowledged.Load(); n != func() int64 { time.Sleep(300 * time.Millisecond); return w.acknowledged.Load() }() {
		t.Errorf("an update was acknowledged after the zone was copied:\n%s", out)
	}
	// What the administrator changes now would not be in the copy. If he thaws the zone, he gives up.
	const late = "update add late.example.test 60 TXT late\n"
	if status, out := d.command(0, late, "update", "example.test"); status != 1 || !strings.Contains(out, "for the administrator too") {
		t.Errorf("the administrator's update: exit status %d\n%s", status, out)
	}
	if status, out := d.command(0, "", "thaw", "example.test"); status != 1 || !strings.Contains(out, "thaw -all example.test.") {
		t.Errorf("a zone that moves is thawed: exit status %d\n%s", status, out)
	}
	d.must(0, "", nil, "thaw", "-all", "example.test")
	d.must(0, late, nil, "update", "example.test")
	d.must(0, "", []string{"is frozen"}, "freeze", "example.test")
	refused(onEtcd, "is no copy of it, or the zone has changed")
	empty()
	d.must(0, "", []string{"copied from"}, "migrate", "example.test", "-to", "Corefile.etcd")
	if err := d.servers[0].Reload(d.ctx, onEtcd); err != nil {
		t.Fatal(err)
	}
	d.more(w)
	var status struct {
		Zones []struct {
			Etcd string `json:"etcd"`
		} `json:"zones"`
	}
	if out := d.must(0, "", nil, "status", "-o", "json"); json.Unmarshal([]byte(out), &status) != nil || !strings.HasPrefix(status.Zones[0].Etcd, "etcd http") {
		t.Errorf("status:\n%s", out)
	}
	// Another server of the cluster has it too.
	if err := d.servers[1].Relaunch(d.ctx); err != nil {
		t.Fatal(err)
	}
	d.learns(1, "w0", "written")
	d.learns(1, "late", "late")

	// And back, to another directory: the first one has the former zone.
	d.must(0, "", []string{"copied from etcd http", "to database back"}, "migrate", "example.test", "-to", "Corefile.database")
	if err := d.servers[0].Reload(d.ctx, strings.Replace(inDatabase, "database zones", "database back", 1)); err != nil {
		t.Fatal(err)
	}
	d.more(w)
	if w.refused.Load() == 0 {
		t.Error("no update met a frozen zone: this test tests too little")
	}
	d.end(w, 0)
	if reply, err := d.newSender().exchange(1, alice, add("x", "on etcd")); err != nil || reply.Rcode != dns.RcodeRefused {
		t.Errorf("the zone on etcd takes updates after it moved away: %v, %v", reply, err)
	}
	if status, out := d.command(1, late, "update", "example.test"); status != 1 {
		t.Errorf("the zone on etcd takes those of the administrator: exit status %d\n%s", status, out)
	}
}

// TestRestored: after a backup of etcd was brought back, servers refuse updates until the administrator says that it is the zone. Then
// all of them load it again, with a serial above all that was served.
func TestRestored(t *testing.T) {
	d := deploy(t, config{inside: []string{"control control.sock"}})
	s := d.newSender()
	d.takes(s, 0, add("old", "in the backup"))
	if err := d.members.Save(d.ctx); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		d.takesAgain(s, n%size, add(fmt.Sprintf("new%d", n), "lost"))
	}
	served := d.sameSerial()
	if err := d.members.Restore(d.ctx); err != nil {
		t.Fatal(err)
	}
	d.until("servers that see it", func() error {
		for i := range size {
			if !strings.Contains(d.servers[i].Log().String(), "etcd has another history of it than this server knows") {
				return fmt.Errorf("server %d does not", i)
			}
		}
		return nil
	})
	d.fails(s, 1, add("x", "refused"))
	d.has(2, "new0", "lost") // queries go on
	d.must(1, "", []string{"All servers load it again"}, "restored", "example.test")
	for i := range size {
		d.until("the restored zone", func() error {
			reply, err := d.query(i, "new0."+zoneName, dns.TypeTXT)
			if err == nil && reply.Rcode != dns.RcodeNameError {
				err = fmt.Errorf("server %d: %v", i, reply)
			}
			return err
		})
		d.takesAgain(s, i, add(fmt.Sprintf("again%d", i), "taken"))
	}
	if serial := d.sameSerial(); int32(serial-served) <= 1<<20 {
		t.Errorf("serial %d after %d", serial, served)
	}
}

// TestStartWithoutEtcd: a server that starts while etcd is out of reach serves its other zones, says what is missing, and loads the zone
// as soon as etcd answers.
func TestStartWithoutEtcd(t *testing.T) {
	d := deploy(t, config{inside: []string{"control control.sock"}})
	s := d.newSender()
	d.takes(s, 0, add("before", "the stop"))
	for i := range size {
		d.servers[i].Kill()
		d.killMember(i)
	}
	const other = "other.test."
	corefile := d.corefile(0) + fmt.Sprintf("%s {\n    bind 127.0.0.1\n    gsstsig {\n        keytab %s\n    }\n}\n", other, shared.keytab)
	var err error
	d.servers[0], err = server.Start(shared.ctx, server.Config{Binary: shared.binary, Corefile: corefile, Probe: other,
		Files: map[string]string{"db": d.config.zoneFile(0)}, Ports: []string{"READY", "METRICS", "PPROF"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, qtype := range []uint16{dns.TypeSOA, dns.TypeAXFR} {
		if reply, err := d.query(0, zoneName, qtype); err != nil || reply.Rcode != dns.RcodeServerFailure {
			t.Errorf("type %d of a zone that is not loaded: %v, %v", qtype, reply, err)
		}
	}
	d.fails(d.newSender(), 0, add("x", "not now"))
	d.becomes(0, false)
	d.must(0, "", []string{"not ready", "not loaded", "cannot be loaded from etcd http", "Fix: "}, "status")
	d.must(0, "", []string{"cannot be loaded"}, "status", "example.test")
	if status, out := d.command(0, "", "show", "example.test"); status != 1 || !strings.Contains(out, "cannot be loaded from etcd") {
		t.Errorf("show: exit status %d\n%s", status, out)
	}
	if metrics := d.get(0, "METRICS", "/metrics"); !strings.Contains(metrics, `coredns_gsstsig_zone_loaded{zone="example.test."} 0`) {
		t.Error("the metrics do not tell that the zone is not loaded")
	}
	if n := strings.Count(d.servers[0].Log().String(), "cannot be loaded from etcd"); n == 0 || n > 8 {
		t.Errorf("the log tells it %d times", n)
	}

	// Two members are a majority.
	started := make(chan error, 2)
	for i := range 2 {
		go func() { started <- d.members.Restart(d.ctx, i) }()
	}
	for range 2 {
		if err := <-started; err != nil {
			t.Fatal(err)
		}
	}
	d.learns(0, "before", "the stop")
	d.becomes(0, true)
	d.takesAgain(d.newSender(), 0, add("after", "the start"))
	// What was loaded late is protected as if it had been there: the primary server is no client's.
	m := new(dns.Msg).SetUpdate(zoneName)
	m.Insert([]dns.RR{text("ns1", "mine")})
	if reply, err := d.newSender().exchange(0, alice, m); err != nil || reply.Rcode != dns.RcodeRefused {
		t.Errorf("an update of the primary server's name: %v, %v", reply, err)
	}
}
