package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A Cluster is a store of one zone in memory that several servers share, for tests of what stands on
// store.Shared. All methods are safe for concurrent use.
type Cluster struct {
	options ClusterOptions

	mu       sync.Mutex // guards what follows
	contents *store.Memory
	found    bool
	head     store.Position
	log      []store.Committed // oldest first, and its last is head
	frozen   store.Freeze
	changed  chan struct{} // closed with the next commit, heartbeat or heal
	epoch    uint64        // of the contents: Restore begins another
}

// ClusterOptions bound what is kept. Zero values have defaults.
type ClusterOptions struct {
	// Batches is how many batches the log keeps for servers that have missed them; 0 means 1,000.
	Batches int
	// Changes is how many changes the log keeps for transfers; 0 means 10,000.
	Changes int
	// BatchRecords is how many records the changes of a batch may add: one with more is
	// store.ErrTooLarge. 0 means any.
	BatchRecords int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// NewCluster returns an empty store.
func NewCluster(options ClusterOptions) *Cluster {
	if options.Batches <= 0 {
		options.Batches = 1_000
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Cluster{
		options:  options,
		contents: store.NewMemory(store.MemoryOptions{MaxChanges: options.Changes, Now: options.Now}),
		changed:  make(chan struct{}),
	}
}

// Server returns the store as a server has it. The name is that in Committed.
func (c *Cluster) Server(name string) *Server {
	return &Server{cluster: c, name: name, closed: make(chan struct{})}
}

// Trim drops all but the newest batches from the log.
func (c *Cluster) Trim(keep int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if drop := len(c.log) - keep; drop > 0 {
		c.log = append([]store.Committed(nil), c.log[drop:]...)
	}
}

// Heartbeat has Follow yield, at each server that can be reached, the newest position.
func (c *Cluster) Heartbeat() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake()
}

// A Backup is what a Cluster had at one time.
type Backup struct {
	contents store.Contents
	head     store.Position
}

// Backup returns what the store has. Its log is not in it.
func (c *Cluster) Backup() Backup {
	c.mu.Lock()
	defer c.mu.Unlock()
	var kept copied
	if _, _, err := c.contents.Load(context.Background(), &kept); err != nil {
		panic(err) // it is in memory, and the visitor has no errors
	}
	return Backup{store.Contents{Serial: c.head.Serial, Records: slices.Values(kept.records), Owners: slices.Values(kept.owners)}, c.head}
}

// copied is a Visitor that keeps all it sees.
type copied struct {
	records []store.Record
	owners  []store.Owner
}

func (c *copied) Record(r store.Record) error {
	r.Data = slices.Clone(r.Data)
	c.records = append(c.records, r)
	return nil
}

func (c *copied) Owner(o store.Owner) error {
	c.owners = append(c.owners, o)
	return nil
}

// Restore makes the store what it was at the time of a backup, as an administrator does behind the
// servers' back. What is committed from then on is another history.
func (c *Cluster) Restore(b Backup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.contents = store.NewMemory(store.MemoryOptions{MaxChanges: c.options.Changes, Now: c.options.Now})
	if err := c.contents.Init(context.Background(), b.contents); err != nil {
		panic(err) // it is empty and in memory
	}
	c.epoch++
	c.head, c.log = b.head, nil
	c.wake()
}

// NewEpoch declares what the store has to be the zone, as an administrator does after a backup was restored, and
// makes it continue behind all batches that there were. The serial stays.
func (c *Cluster) NewEpoch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head = c.next(c.head)
	c.head.Epoch++
	c.head.Sequence += 1 << 32
	c.log = nil
	c.wake()
}

// Copied gives the newest batch another revision, as if the keys of a store had been copied elsewhere.
func (c *Cluster) Copied() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head.Revision++
	c.log = nil
	c.wake()
}

// Head returns the newest position.
func (c *Cluster) Head() store.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head
}

// wake wakes everyone who waits in Follow. The caller holds c.mu.
func (c *Cluster) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// missed returns the batches after a position. The caller holds c.mu.
func (c *Cluster) missed(at store.Position) ([]store.Committed, error) {
	switch first := c.head.Sequence - uint64(len(c.log)); {
	case at.Epoch < c.head.Epoch:
		return nil, fmt.Errorf("%w: an epoch has begun since batch %d", store.ErrHistory, at.Sequence)
	case at.Sequence == c.head.Sequence && at.Batch == c.head.Batch && at.Revision < c.head.Revision:
		return nil, fmt.Errorf("%w: batch %d was copied", store.ErrHistory, at.Sequence)
	case at.Sequence > c.head.Sequence, at.Sequence == c.head.Sequence && at != c.head:
		return nil, fmt.Errorf("%w: at batch %d, the store is at %d", store.ErrDiverged, at.Sequence, c.head.Sequence)
	case at.Sequence < first:
		return nil, fmt.Errorf("%w: batch %d", store.ErrHistory, at.Sequence+1)
	case at.Sequence > first && c.log[at.Sequence-first-1].Position != at:
		return nil, fmt.Errorf("%w: another batch %d", store.ErrDiverged, at.Sequence)
	default:
		return append([]store.Committed(nil), c.log[at.Sequence-first:]...), nil
	}
}

// is returns nil if the zone is at a position, and otherwise what Propose and Confirm return. The caller
// holds c.mu.
func (c *Cluster) is(at store.Position) ([]store.Committed, error) {
	if !c.found {
		return nil, store.ErrEmpty
	}
	missed, err := c.missed(at)
	if err != nil || len(missed) == 0 {
		return nil, err
	}
	return missed, fmt.Errorf("%w: at batch %d, not %d", store.ErrConflict, c.head.Sequence, at.Sequence)
}

// commit commits a batch of a server at a position.
func (c *Cluster) commit(ctx context.Context, server string, at store.Position, b store.Batch) (store.Position, []store.Committed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if missed, err := c.is(at); err != nil {
		return store.Position{}, missed, err
	}
	added := 0
	for _, change := range b.Changes {
		added += len(change.Added)
	}
	if most := c.options.BatchRecords; most > 0 && added > most {
		return store.Position{}, nil, fmt.Errorf("%w: %d records, the limit is %d", store.ErrTooLarge, added, most)
	}
	if err := c.contents.Commit(ctx, b.Changes); err != nil {
		return store.Position{}, nil, err
	}
	next := c.next(c.head)
	if n := len(b.Changes); n > 0 {
		next.Serial = b.Changes[n-1].To
	}
	if b.Frozen != nil {
		c.frozen = *b.Frozen
	}
	c.head = next
	b.At = nil
	c.log = append(c.log, store.Committed{Batch: b, Position: next, Server: server, Time: c.options.Now()})
	if drop := len(c.log) - c.options.Batches; drop > 0 {
		c.log = c.log[drop:]
	}
	c.wake()
	return next, nil, nil
}

// next returns the position after one. The caller holds c.mu.
func (c *Cluster) next(p store.Position) store.Position {
	p.Sequence++
	p.Revision++
	binary.BigEndian.PutUint64(p.Batch[:], c.epoch)
	binary.BigEndian.PutUint64(p.Batch[8:], p.Sequence)
	return p
}

// A Call is one of a Server, for Faults.
type Call int

// The calls that faults are for.
const (
	Load Call = iota
	Propose
	Confirm
	// Deliver is that of one batch, or of a heartbeat, by Follow.
	Deliver
)

// A Fault is what goes wrong in a call.
type Fault int

// The faults. Those of Propose and Confirm return ErrUnknown, that of Load another error.
const (
	// None is that nothing goes wrong.
	None Fault = iota
	// Lost is that the call does not reach the store, or that Follow never yields that batch.
	Lost
	// Unanswered is that Propose commits the batch, if it can, but the answer is lost.
	Unanswered
	// Delayed is that Propose commits the batch, if it can, when Server.Release is called.
	Delayed
	// Silent is that the call does not reach the store, and has no answer until its context ends.
	Silent
)

// A Server is the store of a Cluster as one server has it. Faults are of that server alone.
type Server struct {
	cluster *Cluster
	name    string

	mu      sync.Mutex // guards what follows
	fault   func(Call) Fault
	cut     bool
	delayed []func()

	once   sync.Once
	closed chan struct{}
}

var _ store.Shared = (*Server)(nil)

// Faults has f called at the beginning of each call, to say what goes wrong in it. f may use other
// servers of the cluster. nil is that nothing does.
func (s *Server) Faults(f func(Call) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Cut parts the server from the store, and joins it again with false. While it is parted, every call
// but Follow fails at once, as it would after its time is over, and Follow waits.
func (s *Server) Cut(cut bool) {
	s.mu.Lock()
	s.cut = cut
	s.mu.Unlock()
	s.cluster.Heartbeat()
}

// Release does, in their order, the commits that were Delayed. Each succeeds only if nobody else has
// committed since.
func (s *Server) Release() {
	s.mu.Lock()
	delayed := s.delayed
	s.delayed = nil
	s.mu.Unlock()
	for _, commit := range delayed {
		commit()
	}
}

// begin returns what goes wrong in a call.
func (s *Server) begin(ctx context.Context, call Call) (Fault, error) {
	select {
	case <-s.closed:
		return None, store.ErrClosed
	default:
	}
	s.mu.Lock()
	fault, cut := s.fault, s.cut
	s.mu.Unlock()
	if cut {
		return Lost, nil
	}
	if fault == nil {
		return None, nil
	}
	f := fault(call)
	if f == Silent {
		<-ctx.Done()
	}
	return f, nil
}

func (s *Server) isCut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

var errUnreachable = errors.New("storetest: the store cannot be reached")

// Load implements store.Shared.
func (s *Server) Load(ctx context.Context, v store.SharedVisitor) (store.Position, bool, error) {
	fault, err := s.begin(ctx, Load)
	if err == nil && fault != None {
		err = errUnreachable
	}
	if err != nil {
		return store.Position{}, false, err
	}
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, found, err := c.contents.Load(ctx, v); err != nil || !found {
		return store.Position{}, found, err
	}
	for _, b := range c.log {
		for _, m := range b.Marks {
			if err := v.Mark(m); err != nil {
				return store.Position{}, true, err
			}
		}
	}
	if c.frozen != (store.Freeze{}) {
		if err := v.Frozen(c.frozen); err != nil {
			return store.Position{}, true, err
		}
	}
	return c.head, true, nil
}

// Init implements store.Shared.
func (s *Server) Init(ctx context.Context, contents store.Contents) (store.Position, error) {
	fault, err := s.begin(ctx, Propose)
	if err == nil && fault != None {
		err = errUnreachable
	}
	if err != nil {
		return store.Position{}, err
	}
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.contents.Init(ctx, contents); err != nil {
		return store.Position{}, err
	}
	c.found = true
	c.head = c.next(store.Position{Serial: contents.Serial})
	return c.head, nil
}

// Propose implements store.Shared.
func (s *Server) Propose(ctx context.Context, at store.Position, b store.Batch) (store.Position, []store.Committed, error) {
	fault, err := s.begin(ctx, Propose)
	if err != nil {
		return store.Position{}, nil, err
	}
	if err := ctx.Err(); err != nil && fault != Silent {
		return store.Position{}, nil, fmt.Errorf("storetest: propose: %w", err)
	}
	switch fault {
	case Lost, Silent:
		return store.Position{}, nil, unknown("the batch was lost")
	case Unanswered:
		_, _, err := s.cluster.commit(ctx, s.name, at, b)
		return store.Position{}, nil, unknown(fmt.Sprint("the answer was lost: ", err))
	case Delayed:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.delayed = append(s.delayed, func() { s.cluster.commit(context.Background(), s.name, at, b) })
		return store.Position{}, nil, unknown("the batch was delayed")
	}
	return s.cluster.commit(ctx, s.name, at, b)
}

func unknown(why string) error { return fmt.Errorf("%w: %s", store.ErrUnknown, why) }

// Confirm implements store.Shared.
func (s *Server) Confirm(ctx context.Context, at store.Position) ([]store.Committed, error) {
	fault, err := s.begin(ctx, Confirm)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil && fault != Silent {
		return nil, fmt.Errorf("storetest: confirm: %w", err)
	}
	if fault != None {
		return nil, unknown("no answer")
	}
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	return s.cluster.is(at)
}

// Follow implements store.Shared. It yields a position without a batch when there is no further batch,
// and after Cluster.Heartbeat.
func (s *Server) Follow(ctx context.Context, from store.Position) iter.Seq2[store.Committed, error] {
	return func(yield func(store.Committed, error) bool) {
		at := from
		for {
			begun := time.Now()
			s.cluster.mu.Lock()
			missed, err := s.cluster.missed(at)
			head, changed := s.cluster.head, s.cluster.changed
			s.cluster.mu.Unlock()
			select {
			case <-ctx.Done():
				err = ctx.Err()
			case <-s.closed:
				err = store.ErrClosed
			default:
				if s.isCut() {
					missed, err = nil, nil
				}
			}
			if err != nil {
				yield(store.Committed{}, err)
				return
			}
			for _, b := range missed {
				at = b.Position
				fault, err := s.begin(ctx, Deliver)
				if err == nil && fault == None && !yield(b, nil) {
					return
				}
			}
			if len(missed) > 0 {
				continue
			}
			if !s.isCut() {
				if fault, err := s.begin(ctx, Deliver); err == nil && fault == None && !yield(store.Committed{Position: head, Time: begun}, nil) {
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
			case <-s.closed:
			}
		}
	}
}

// Changes implements store.Shared.
func (s *Server) Changes(ctx context.Context, from, to uint32) iter.Seq2[store.Change, error] {
	return s.read(func(m *store.Memory) iter.Seq2[store.Change, error] { return m.Changes(ctx, from, to) })
}

// Log implements store.Shared.
func (s *Server) Log(ctx context.Context) iter.Seq2[store.Change, error] {
	return s.read(func(m *store.Memory) iter.Seq2[store.Change, error] { return m.Log(ctx) })
}

func (s *Server) read(from func(*store.Memory) iter.Seq2[store.Change, error]) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		err := error(nil)
		select {
		case <-s.closed:
			err = store.ErrClosed
		default:
			if s.isCut() {
				err = errUnreachable
			}
		}
		if err != nil {
			yield(store.Change{}, err)
			return
		}
		s.cluster.mu.Lock()
		contents := s.cluster.contents
		s.cluster.mu.Unlock()
		from(contents)(yield)
	}
}

// Close implements store.Shared.
func (s *Server) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}
