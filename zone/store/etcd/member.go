package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/peer"
)

const (
	// attemptTimeout is how long one member has for one request.
	attemptTimeout = 600 * time.Millisecond
	// loginTimeout is how long a member has to check the password, which takes long on purpose.
	loginTimeout = 2 * time.Second
	// silentFor is how long a member that did not answer is passed over, if there is another.
	silentFor = 3 * time.Second
	// window is how many octets a member may send before they are read. An answer with a page of names is the largest.
	window = 4 << 20
	// returnAfter is how long after another member took over the first one is tried again.
	returnAfter = 30 * time.Second
)

// etcd's client with several endpoints spreads requests over all, and finds out that one is silent by a keepalive
// after ten seconds at the earliest. So each member has a client of its own, one is used at a time, and the first
// request that it does not answer in time makes the next member take over.

// A member is one endpoint.
type member struct {
	endpoint string
	index    int

	mu     sync.Mutex
	client *clientv3.Client // guarded by mu; nil until it is used
	login  *login           // guarded by mu; nil unless a client is being made
	// version is that of its etcd, once it was found to be new enough; guarded by mu.
	version string
	// quota is that of its database, and quotaRead when it was read from the metrics; guarded by mu.
	quota     int64
	quotaRead time.Time
	// silent is until when others are preferred, because it did not answer; guarded by members.mu.
	silent time.Time
}

// A login is a client that is being made: with a password the member is asked for that.
type login struct {
	done   chan struct{} // closed at its end
	client *clientv3.Client
	err    error
}

// members are all endpoints, of which one is in use.
type members struct {
	all []*member
	// config makes a client, but for its endpoint.
	config clientv3.Config
	// credentials are asked for at each login.
	credentials func() (username, password string, err error)
	log         func(string)

	mu      sync.Mutex
	current int           // guarded by mu
	since   time.Time     // guarded by mu: when current took over
	changed chan struct{} // guarded by mu: closed when current changes
	// failures counts requests in a row, of whichever member, that were not answered; guarded by mu.
	failures int
	// cause is the last error of a member that did not answer; guarded by mu.
	cause  error
	closed bool // guarded by mu
}

func newMembers(o *Options) *members {
	m := &members{credentials: o.Credentials, log: o.Log, changed: make(chan struct{}), since: time.Now()}
	m.config = clientv3.Config{
		TLS:         o.TLS,
		DialTimeout: loginTimeout,
		// A dead connection that has no request is found by pings; gRPC sends none more often.
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
		// The second attempt is for a token that has expired.
		MaxUnaryRetries: 2, BackoffWaitBetween: 5 * time.Millisecond,
		Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 2 * time.Second,
		}), grpc.WithChainUnaryInterceptor(failFast),
			// gRPC finds windows of its own otherwise, for which it sends a ping after every answer and every event.
			grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(2 * window)},
	}
	for i, endpoint := range o.Endpoints {
		m.all = append(m.all, &member{endpoint: endpoint, index: i})
	}
	return m
}

// failFast makes requests to a member that refuses connections fail at once, so that the next member takes over,
// and counts the requests that were sent.
func failFast(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	var to peer.Peer
	err := invoke(ctx, method, request, reply, conn, append(options, grpc.WaitForReady(false), grpc.Peer(&to))...)
	if sent, ok := ctx.Value(sentKey{}).(*atomic.Int32); ok && to.Addr != nil {
		sent.Add(1)
	}
	return err
}

// sentKey is the key of an atomic.Int32 in the context of a request: how often the request may have reached a
// member.
type sentKey struct{}

var errClosed = errors.New("closed")

// get returns the client of a member. It waits for a login until ctx ends, and the login goes on.
func (m *members) get(ctx context.Context, x *member) (*clientv3.Client, error) {
	x.mu.Lock()
	if x.client != nil {
		defer x.mu.Unlock()
		return x.client, nil
	}
	l := x.login
	if l == nil {
		l = &login{done: make(chan struct{})}
		x.login = l
		go m.logIn(x, l)
	}
	x.mu.Unlock()
	select {
	case <-l.done:
		return l.client, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// logIn makes the client of a member.
func (m *members) logIn(x *member, l *login) {
	defer close(l.done)
	config := m.config
	config.Endpoints = []string{x.endpoint}
	if !m.isClosed() {
		if config.Username, config.Password, l.err = m.credentials(); l.err == nil {
			l.client, l.err = clientv3.New(config)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.login = nil
	switch {
	case l.err != nil:
	case !m.isClosed():
		x.client = l.client
	default:
		if l.client != nil {
			_ = l.client.Close() // nobody has used it
		}
		l.client, l.err = nil, errClosed
	}
}

// forget has the next request to a member log in again, unless another request did so already.
func (m *members) forget(x *member, client *clientv3.Client) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.client == client {
		x.client = nil
		_ = client.Close() // its requests are refused
	}
}

func (m *members) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// inUse returns the member to use, and a channel that is closed when it is another.
func (m *members) inUse() (*member, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all[m.current], m.changed
}

// failed makes the next member take over from x, if x is still in use.
func (m *members) failed(x *member, cause error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures++
	m.cause = fmt.Errorf("%s: %w", x.endpoint, cause)
	if m.current != x.index || len(m.all) == 1 || m.closed {
		return
	}
	now := time.Now()
	x.silent = now.Add(silentFor)
	next := (x.index + 1) % len(m.all)
	for i := range m.all[1:] {
		if other := (x.index + 1 + i) % len(m.all); now.After(m.all[other].silent) {
			next = other
			break
		}
	}
	m.use(next)
	if m.failures <= len(m.all) {
		m.log(fmt.Sprintf("etcd: %s does not answer (%v); %s takes over", x.endpoint, cause, m.all[m.current].endpoint))
	}
}

// use is called with mu held.
func (m *members) use(index int) {
	m.current, m.since = index, time.Now()
	close(m.changed)
	m.changed = make(chan struct{})
}

// answered notes that x answered.
func (m *members) answered(x *member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failures > len(m.all) {
		m.log(fmt.Sprintf("etcd: %s answers again", x.endpoint))
	}
	m.failures, m.cause, x.silent = 0, nil, time.Time{}
}

// outOfReach returns why no member answers, or nil as long as one does.
func (m *members) outOfReach() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failures < len(m.all)+1 {
		return nil
	}
	return m.cause
}

// first returns the first member if another has been in use for long enough to try it again.
func (m *members) first() *member {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current == 0 || m.closed || time.Since(m.since) < returnAfter {
		return nil
	}
	m.since = time.Now()
	return m.all[0]
}

// back makes the first member the one in use again.
func (m *members) back() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current != 0 && !m.closed {
		m.use(0)
		m.log(fmt.Sprintf("etcd: back to %s", m.all[0].endpoint))
	}
}

func (m *members) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	for _, x := range m.all {
		x.mu.Lock()
		if x.client != nil {
			_ = x.client.Close() // nothing is under way
		}
		x.mu.Unlock()
	}
}

// A request is what a member is asked.
type request func(context.Context, *clientv3.Client) error

// attempt sends one request to the member in use, which has attemptTimeout for it. If ctx ends first, that is not
// the member's fault.
func (m *members) attempt(ctx context.Context, request request) error {
	x, _ := m.inUse()
	return m.ask(ctx, x, attemptTimeout, request)
}

func (m *members) ask(ctx context.Context, x *member, limit time.Duration, request request) error {
	entering, leave := context.WithTimeout(ctx, loginTimeout)
	client, err := m.get(entering, x)
	leave()
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, limit)
		err = request(limited, client)
		cancel()
		if errors.Is(err, rpctypes.ErrAuthFailed) {
			m.forget(x, client) // the password may be another one now
		}
	}
	switch {
	case err == nil || refused(err):
		m.answered(x)
	case ctx.Err() == nil:
		m.failed(x, err)
	}
	return err
}

// read does a request that may be repeated, on one member after the other, until it is answered or refused. Each
// has a time, and all together have limit.
func (m *members) read(ctx context.Context, each, limit time.Duration, request request) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for wait := firstWait; ; wait = nextWait(wait) {
		x, _ := m.inUse()
		err := m.ask(ctx, x, each, request)
		if err == nil || refused(err) && !transient(err) || ctx.Err() != nil || errors.Is(err, errClosed) {
			return err
		}
		if !sleep(ctx, wait) {
			return err
		}
	}
}

// The waits between attempts begin with firstWait.
const firstWait = 10 * time.Millisecond

func nextWait(wait time.Duration) time.Duration { return min(2*wait, 200*time.Millisecond) }

// watchTimeout is how long a member has to begin a watch.
const watchTimeout = 2 * time.Second

// watch begins a watch at the member in use, of keys from start up to end from a revision on. changed is closed when
// another member is in use. It returns false if the watch could not be begun. cancel of ctx ends the watch.
func (m *members) watch(ctx context.Context, start, end string, revision int64, options ...clientv3.OpOption) (events clientv3.WatchChan, changed <-chan struct{}, ok bool) {
	x, changed := m.inUse()
	entering, leave := context.WithTimeout(ctx, watchTimeout)
	client, err := m.get(entering, x)
	leave()
	if err != nil {
		if ctx.Err() == nil {
			m.failed(x, err)
		}
		return nil, changed, false
	}
	// The client returns once the member has begun the watch, and waits for that without end.
	begun := make(chan clientv3.WatchChan, 1)
	go func() {
		begun <- client.Watch(clientv3.WithRequireLeader(ctx), start, append(options, clientv3.WithRange(end), clientv3.WithRev(revision))...)
	}()
	timer := time.NewTimer(watchTimeout)
	defer timer.Stop()
	select {
	case events = <-begun:
		return events, changed, true
	case <-timer.C:
		m.failed(x, errWatch)
	case <-changed:
	case <-ctx.Done():
	}
	return nil, changed, false
}

var errWatch = errors.New("it does not begin a watch")

// sleep reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
