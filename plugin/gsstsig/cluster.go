package gsstsig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/etcd"
)

// Zones on etcd. A zone that cannot be loaded at the start is answered SERVFAIL, and loaded as soon as etcd answers: the other
// zones of the server are served meanwhile. One that is loaded is served from memory, also while etcd is out of reach, for as
// long as a secondary server would serve it: until the SOA record's EXPIRE (RFC 1035 section 3.3.13).

const (
	// loadPause is the time between two attempts to load a zone.
	loadPause = 2 * time.Second
	// watchInterval is how often it is looked how old a zone is.
	watchInterval = time.Second
	// rejoinInterval is how often a server looks whether etcd has a newer serial in another history.
	rejoinInterval = 10 * time.Second
	// unconfirmedLimit is how long etcd may be out of reach before a server is not ready.
	unconfirmedLimit = 30 * time.Second
)

// Reasons why a zone on etcd is answered SERVFAIL.
var (
	errNotLoaded = errors.New("it is not loaded from etcd yet")
	errExpired   = errors.New("it has expired, since etcd is out of reach for longer than the SOA record's EXPIRE")
)

// cluster is a connection to etcd, which all blocks with the same words share.
type cluster struct {
	*etcd.Cluster
	conf  corefile.Etcd
	state clusterState
	// failed is why the last zone could not be loaded; nil if it could. A start does not wait for each of many zones.
	failed atomic.Pointer[error]
}

// close ends the connection.
func (c *cluster) close() error {
	close(c.state.done)
	return c.Close()
}

// acquireCluster returns the connection to the etcd of a block.
func (p *process) acquireCluster(b *block, e *corefile.Etcd) (*cluster, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.clusters[e.Key()]; ok {
		s.users[b] = true
		return s.value, nil
	}
	opened, err := service.OpenCluster(e, "", func(text string) { log.Warning(text) })
	if err != nil {
		return nil, err
	}
	c := &cluster{Cluster: opened, conf: *e, state: clusterState{done: make(chan struct{})}}
	go p.announce(c)
	p.clusters[e.Key()] = &shared[*cluster]{value: c, users: map[*block]bool{b: true}}
	log.Infof("%s: this server is %s there", e, c.Server())
	return c, nil
}

// openOnEtcd opens a zone that is kept on etcd. An error says that the Corefile is wrong: without etcd the zone is loaded later.
func (b *block) openOnEtcd(s *service.Service, origin, place string, addresses []net.IP, copied bool) (*servedZone, error) {
	z := &servedZone{origin: origin, place: place, applied: make(chan struct{}, 1), closed: make(chan struct{})}
	z.settings = zoneSettings{s.Limits, s.Tombstones, s.Aging(origin)}
	l := &zoneLoader{process: b.process, service: s, cluster: b.cluster, zone: z, addresses: addresses, mustExist: copied}
	z.loader = l
	var err error
	if before := b.cluster.failed.Load(); before != nil && !copied {
		err = *before
	} else {
		err = l.attempt()
	}
	if errors.Is(err, errSeed) {
		return nil, errors.Unwrap(err)
	}
	if err != nil && copied {
		return nil, fmt.Errorf("zone %s: %w", origin, err)
	}
	if err != nil {
		z.fail(b.cluster, err)
		go l.run()
		return z, nil
	}
	go b.process.watch(z)
	return z, nil
}

// zoneLoader loads a zone from etcd.
type zoneLoader struct {
	process   *process
	service   *service.Service
	cluster   *cluster
	zone      *servedZone
	addresses []net.IP
	mustExist bool // the zone is not made if etcd does not have it
}

// firstFill notes that a zone on etcd was filled by this server, and not by another one at the same moment.
type firstFill struct {
	store.Shared
	done bool
}

// Init implements store.Shared.
func (f *firstFill) Init(ctx context.Context, c store.Contents) (store.Position, error) {
	at, err := f.Shared.Init(ctx, c)
	f.done = err == nil
	return at, err
}

// errSeed says that the master file of a new zone is wrong.
var errSeed = errors.New("master file")

// seedError is an error of the master file.
type seedError struct{ error }

// Is implements what errors.Is calls.
func (seedError) Is(target error) bool { return target == errSeed }

// Unwrap returns the error itself.
func (e seedError) Unwrap() error { return e.error }

// run tries until the zone is there, or closed.
func (l *zoneLoader) run() {
	ticker := time.NewTicker(loadPause)
	defer ticker.Stop()
	for {
		select {
		case <-l.zone.closed:
			return
		case <-ticker.C:
		}
		err := l.attempt()
		if err == nil {
			break
		}
		l.zone.fail(l.cluster, err)
	}
	p := l.process
	p.policiesOf(l.zone)
	p.notify(l.zone.loaded())
	p.watch(l.zone)
}

// epoch returns that of the zone on etcd.
func (l *zoneLoader) epoch() (uint32, error) {
	contents, err := l.cluster.Zone(l.zone.origin, etcd.ZoneOptions{})
	if err != nil {
		return 0, err
	}
	epoch, err := contents.Epoch(context.Background())
	return epoch, errors.Join(err, contents.Close())
}

// attempt loads the zone, or fills etcd if it has nothing of it.
func (l *zoneLoader) attempt() error {
	err := l.load()
	if errors.Is(err, etcd.ErrUnreachable) {
		l.cluster.failed.Store(&err)
	} else {
		l.cluster.failed.Store(nil)
	}
	return err
}

func (l *zoneLoader) load() error {
	s, origin := l.service, l.zone.origin
	contents, err := l.cluster.Zone(origin, etcd.ZoneOptions{})
	if err != nil {
		return err
	}
	source, seed := s.Seed(origin, l.addresses, logFinding)
	filling := &firstFill{Shared: contents}
	var wrongSeed error
	z, err := zone.Open(zone.Config{
		Origin: origin, Shared: filling,
		Seed: func() ([]store.Record, error) {
			if l.mustExist {
				return nil, notCopied(origin, l.zone.place)
			}
			records, err := seed()
			wrongSeed = err
			return records, err
		},
		Limits: s.Limits, TombstoneLifetime: s.Tombstones, Aging: s.Aging(origin), Now: l.process.now,
		Committed: l.zone.commits.observe(observeCommits(origin)),
		Applied: func(a zone.Applied) {
			l.process.audit.applied(origin, a)
			l.zone.noteApplied()
		},
	})
	if err != nil {
		err = errors.Join(err, contents.Close())
		if wrongSeed != nil {
			return seedError{err} // names the zone
		}
		return err
	}
	l.mustExist = true // what was there and is not any more is no new zone
	former := l.zone.loaded()
	if former != nil {
		if err := supersedes(z, former); err != nil {
			return errors.Join(err, z.Close())
		}
	}
	if !l.zone.setLoaded(z) {
		return z.Close() // nobody needs it any more
	}
	returnMemory(z)
	if former != nil {
		log.Infof("zone %s: loaded again from etcd, which has another history of it: serial %d -> %d", origin, former.Snapshot().Serial(), z.Snapshot().Serial())
		return former.Close()
	}
	if filling.done {
		logFinding(diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + origin,
			Problem: fmt.Sprintf("it was not on %s, and was made there from %s", &l.cluster.conf, source),
			Fix:     "if the cluster has had the zone before, correct etcd and etcd_prefix"})
	}
	snapshot := z.Snapshot()
	log.Infof("zone %s: serial %d, primary server %s, from %s, updates %s", origin, snapshot.Serial(), snapshot.SOA().Ns, &l.cluster.conf, s.Mode(origin))
	logFindings(s.ApexFindings(snapshot))
	return nil
}

// policiesOf makes the policies of the blocks that have a zone again, since they protect its primary server.
func (p *process) policiesOf(z *servedZone) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.zones {
		if s.value != z {
			continue
		}
		for b := range s.users {
			if h := b.handler.Load(); h != nil {
				if err := h.setPolicies(); err != nil {
					log.Errorf("zone %s: %v", z.origin, err)
				}
			}
		}
	}
}

// watch tells secondaries of what other servers change in a zone, and looks how old it is, until it is closed.
func (p *process) watch(z *servedZone) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-z.closed:
			return
		case <-z.applied:
			p.notify(z.loaded())
		case <-ticker.C:
			if z.loaded().Diverged() != nil {
				z.rejoin(p)
			}
			z.observe()
		}
	}
}

// Reasons why a server keeps what it knows, and does not take over the other history of a zone that etcd has.
var (
	errUndecided = errors.New("no administrator has said that it is the right one")
	errBehind    = errors.New("etcd has no newer serial")
)

// supersedes returns nil if another history of a zone is to take the place of what is served: an administrator has said that it is
// the right one, which begins an epoch, and has raised the serial. A serial alone tells nothing, since servers which know that history
// alone go on with it.
func supersedes(z, served *zone.Zone) error {
	switch {
	case z.Epoch() <= served.Epoch():
		return errUndecided
	case int32(z.Snapshot().Serial()-served.Snapshot().Serial()) <= 0: // RFC 1982
		return errBehind
	}
	return nil
}

// rejoin loads a zone again if etcd has another history of it that supersedes what is served. Until then the server keeps what it knows.
func (s *servedZone) rejoin(p *process) {
	if time.Since(s.rejoined) < rejoinInterval {
		return
	}
	s.rejoined = time.Now()
	// A large zone is not loaded only to find that nobody has decided yet.
	if epoch, err := s.loader.epoch(); err != nil || epoch <= s.loaded().Epoch() {
		return
	}
	if err := s.loader.attempt(); err == nil {
		p.policiesOf(s)
		p.notify(s.loaded())
	}
}

// noteApplied notes that another server has changed the zone. It does not block.
func (s *servedZone) noteApplied() {
	select {
	case s.applied <- struct{}{}:
	default: // it is noted already
	}
}

// onEtcd reports whether the zone is kept on etcd.
func (s *servedZone) onEtcd() bool { return s.closed != nil }

// setLoaded takes a zone over that was loaded. It returns false if it was closed meanwhile.
func (s *servedZone) setLoaded(z *zone.Zone) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return false
	default:
	}
	s.zone.Store(z)
	s.failure.Store(nil)
	s.applySettings()
	return true
}

// fail notes why the zone cannot be loaded. It is logged at once, and then when the reason has changed, once a minute at most.
func (s *servedZone) fail(c *cluster, err error) {
	f := service.UnreachableFinding(s.origin, &c.conf, err)
	if before := s.failure.Swap(&f); before == nil || *before != f && time.Since(s.told) > time.Minute {
		s.told = time.Now()
		logFinding(f)
	}
}

// observe looks how old the zone is, and logs what changes.
func (s *servedZone) observe() {
	z := s.loaded()
	s.expired.Store(time.Since(z.Confirmed()) > expiry(z))
	f := s.staleness()
	switch before := s.failure.Swap(f); {
	case f != nil && (before == nil || before.Problem != f.Problem):
		logFinding(*f)
	case f == nil && before != nil:
		log.Infof("zone %s: etcd answers again, serial %d", s.origin, z.Snapshot().Serial())
	}
}

// leastExpiry is for how long a zone is served at least. It is confirmed once a second, and a machine may be busy: a smaller EXPIRE,
// as whoever may change the SOA record can set it, must not end its service while etcd answers.
const leastExpiry = 5 * time.Second

// expiry is for how long a zone is served that etcd does not confirm.
func expiry(z *zone.Zone) time.Duration {
	return max(leastExpiry, time.Duration(z.Snapshot().SOA().Expire)*time.Second)
}

// staleness says what is wrong with a zone on etcd that is loaded; nil if nothing is.
func (s *servedZone) staleness() *diagnose.Finding {
	z := s.loaded()
	confirmed := z.Confirmed()
	f := diagnose.Finding{Severity: diagnose.Error, Subject: "zone " + s.origin}
	unreadable := z.Unreadable()
	switch err := z.Diverged(); {
	case err != nil:
		f = service.DivergedFinding(s.origin, err)
	case unreadable != nil:
		because := diagnose.FromError(f.Subject, unreadable)
		f.Problem = fmt.Sprintf("it is not kept up to date since %s: %s; queries are answered from what was known then, until %s",
			confirmed.UTC().Format(time.RFC3339), because.Problem, confirmed.Add(expiry(z)).UTC().Format(time.RFC3339))
		f.Fix = cmp.Or(because.Fix, fixEtcd)
		if s.expired.Load() {
			f.ClientError = "SERVFAIL"
		}
	case s.expired.Load():
		f.Problem = fmt.Sprintf("etcd is out of reach since %s, for longer than the SOA record's EXPIRE: queries and updates are answered SERVFAIL", confirmed.UTC().Format(time.RFC3339))
		f.Fix = fixEtcd
		f.ClientError = "SERVFAIL"
	case time.Since(confirmed) > unconfirmedLimit:
		f.Problem = fmt.Sprintf("etcd is out of reach since %s: updates are answered SERVFAIL, and queries from what was known then, until %s",
			confirmed.UTC().Format(time.RFC3339), confirmed.Add(expiry(z)).UTC().Format(time.RFC3339))
		f.Fix = fixEtcd
	default:
		return nil
	}
	return &f
}

const fixEtcd = "see that a majority of etcd's members run and that this server reaches one: coredns gsstsig check"
