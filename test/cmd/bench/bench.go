package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
)

const (
	realmName = "EXAMPLE.TEST"
	service   = "DNS/ns1.example.test"
	updater   = "updater" // may change everything in every zone
)

// bench is the comparison under way.
type bench struct {
	settings
	dir         string
	realm       *realm.Realm
	credentials *client.Credentials
	small       zoneSpec
	middle      zoneSpec
	large       zoneSpec
	ours, bind  *subject // serve small and middle
	file, knot  *subject // serve middle
	recommended *subject // serves middle
	bigOurs     *subject // serve large
	bigBIND     *subject
	queries     string        // dnsperf's input, for middle
	keytab      string        // of the service
	patience    time.Duration // of clients, for an answer
	table       table
	onEtcdTable table
	others      []float64 // share of the machine that other processes used, by measurement
}

// start makes the realm and the zones, and starts the servers of the smaller ones.
func (b *bench) start(ctx context.Context) (err error) {
	if err := process.Require("named", "knotd", "dnsperf"); err != nil {
		return err
	}
	if b.realm, err = realm.Start(ctx, realm.Config{Name: realmName}); err != nil {
		return err
	}
	for _, name := range []string{service, updater} {
		if err := b.realm.AddPrincipal(name); err != nil {
			return err
		}
	}
	keytab, err := b.realm.Keytab("dns.keytab", service)
	if err != nil {
		return err
	}
	b.keytab = keytab
	clientKeytab, err := b.realm.Keytab("client.keytab", updater)
	if err != nil {
		return err
	}
	krb5conf, err := b.realm.Config()
	if err != nil {
		return err
	}
	if b.credentials, err = client.FromKeytab(krb5conf, clientKeytab, updater); err != nil {
		return err
	}
	for _, z := range []struct {
		zone  *zoneSpec
		hosts int
	}{{&b.small, 100}, {&b.middle, 10_000}, {&b.large, 1_000_000}} {
		*z.zone = zoneSpec{origin: fmt.Sprintf("zone%d.test.", z.hosts), hosts: z.hosts}
		z.zone.file = filepath.Join(b.dir, z.zone.origin+"db")
		if err := z.zone.write(); err != nil {
			return err
		}
	}
	b.queries = filepath.Join(b.dir, "queries")
	if err := queriesFile(b.queries, b.middle); err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(b.dir, name) }
	profiled := b.profiles != ""
	b.ours = newCoreDNS(in("gsstsig"), b.binary, keytab, b.memory, profiled, nil, b.small, b.middle)
	b.bind = newBIND(in("bind"), keytab, krb5conf, b.small, b.middle)
	b.file = newFile(in("file"), b.binary, b.middle)
	b.knot = newKnot(in("knot"), b.middle)
	b.recommended = newRecommended(in("recommended"), b.binary, keytab, b.middle)
	b.bigOurs = newCoreDNS(in("gsstsig-large"), b.binary, keytab, b.memory, profiled, nil, b.large)
	b.bigBIND = newBIND(in("bind-large"), keytab, krb5conf, b.large)
	for _, s := range []*subject{b.ours, b.bind, b.file, b.knot, b.recommended} {
		if _, err := s.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) stop() {
	for _, s := range []*subject{b.ours, b.bind, b.file, b.knot, b.recommended, b.bigOurs, b.bigBIND} {
		if s != nil {
			s.stop()
		}
	}
	if b.realm != nil {
		b.realm.Stop()
	}
}

// write makes the zone's master file.
func (z zoneSpec) write() error {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s\n$TTL 300\n@ SOA ns1.example.test. hostmaster.example.test. 1 3600 600 86400 60\n@ NS ns1.example.test.\n", z.origin)
	for i := range z.hosts {
		fmt.Fprintf(&b, "host%07d A %v\n", i, z.address(i))
	}
	return os.WriteFile(z.file, []byte(b.String()), 0o600)
}

// sample is one measurement.
type sample struct {
	counts
	usage
}

// serverTime is the CPU time that an operation cost the server, in microseconds.
func (s sample) serverTime() float64 { return s.usage.server.Seconds() * 1e6 / float64(s.completed) }

// progress tells of a measurement on standard error.
func (b *bench) progress(what string, s *subject, m sample) {
	fmt.Fprintf(os.Stderr, "%-28s %-8s %8.0f/s   CPU µs each: server %6.1f, generator %6.1f   others %3.0f %%",
		what, s.name, m.perSecond(), m.serverTime(), m.generator.Seconds()*1e6/float64(m.completed), 100*m.others)
	if m.failed > 0 {
		fmt.Fprintf(os.Stderr, "   %d failed, %d of them unanswered", m.failed, m.unanswered)
	}
	if m.failure != nil {
		fmt.Fprintf(os.Stderr, ": %v", m.failure)
	}
	fmt.Fprintln(os.Stderr)
}

// repetitions is how often a measurement is repeated that others have disturbed.
const repetitions = 8

// undisturbed measures, again if other processes used too much of the machine meanwhile. What has failed is that of all
// attempts.
func (b *bench) undisturbed(measure func() (sample, error)) (m sample, err error) {
	failed, unanswered := 0, 0
	for range 1 + repetitions {
		m, err = measure()
		failed, unanswered = failed+m.failed, unanswered+m.unanswered
		if err != nil || 100*m.others <= float64(b.busiest) {
			break
		}
	}
	m.failed, m.unanswered = failed, unanswered
	b.others = append(b.others, m.others)
	return m, err
}

// load measures a server under the clients' operations.
func (b *bench) load(ctx context.Context, what string, s *subject, all []operation) (sample, error) {
	return b.undisturbed(func() (sample, error) { return b.loadOnce(ctx, what, s, all) })
}

func (b *bench) loadOnce(ctx context.Context, what string, s *subject, all []operation) (sample, error) {
	var m sample
	m.counts = drive(ctx, all, b.duration/10, func() {
		stop := b.profile(ctx, what, s)
		meter := newMeter(s)
		pause(ctx, b.duration)
		m.usage = meter.read()
		stop()
	})
	if ctx.Err() != nil {
		return m, ctx.Err()
	}
	b.progress(what, s, m)
	if m.completed == 0 {
		return m, fmt.Errorf("%s: %s: nothing completed: %w", s.name, what, m.failure)
	}
	return m, nil
}

// ask measures a server under queries, while the clients' operations, if any, go on.
func (b *bench) ask(ctx context.Context, what string, s *subject, meanwhile []operation) (queries sample, operations counts, err error) {
	queries, err = b.undisturbed(func() (m sample, err error) {
		m, operations, err = b.askOnce(ctx, what, s, meanwhile)
		return m, err
	})
	return queries, operations, err
}

func (b *bench) askOnce(ctx context.Context, what string, s *subject, meanwhile []operation) (queries sample, operations counts, err error) {
	stop := b.profile(ctx, what, s)
	operations = drive(ctx, meanwhile, b.duration/10, func() {
		meter := newMeter(s)
		var rate float64
		if rate, queries.unanswered, err = query(ctx, s, b.queries, b.duration); err == nil {
			queries.failed = queries.unanswered
			queries.usage = meter.read()
			queries.elapsed = max(time.Second, b.duration.Truncate(time.Second))
			queries.completed = int(rate * queries.elapsed.Seconds())
		}
	})
	stop()
	if err == nil {
		b.progress(what, s, queries)
		if len(meanwhile) > 0 {
			fmt.Fprintf(os.Stderr, "%-28s %-8s %8.0f/s   %d failed\n", "  updates meanwhile", s.name, operations.perSecond(), operations.failed)
		}
	}
	return queries, operations, err
}

// profile takes a CPU profile of our server for about as long as a measurement takes, once for each kind. The function
// returned waits for its end.
func (b *bench) profile(ctx context.Context, what string, s *subject) (stop func()) {
	if b.profiles == "" || !s.pprof.IsValid() {
		return func() {}
	}
	return b.profileOf(ctx, what, "http://"+s.pprof.String())
}

// profileOf does so for what serves profiles at a URL.
func (b *bench) profileOf(ctx context.Context, what, url string) (stop func()) {
	file := filepath.Join(b.profiles, strings.NewReplacer(" ", "-", ",", "").Replace(what)+".pb.gz")
	if _, err := os.Stat(file); err == nil {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := fetch(ctx, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", url, max(1, int(b.duration.Seconds()))), file); err != nil {
			fmt.Fprintf(os.Stderr, "profile of %s: %v\n", what, err)
		}
	}()
	return func() { <-done }
}

func fetch(ctx context.Context, url, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	content, err := io.ReadAll(reply.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o600)
}
