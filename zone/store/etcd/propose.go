package etcd

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// etcd takes 1.5 MiB in one request, and 128 operations at one level of a transaction, unless it is configured
// otherwise.
const (
	maxRequest = 1 << 20
	maxNames   = 1000
	maxLevel   = 100
)

const (
	// maxMissed is how many missed batches come with the answer of a transaction. More are read behind it.
	maxMissed = 16
	// maxBehind is how many batches a server may have missed. Loading the zone is faster than more.
	maxBehind = 10_000
	// maxTrimmed is how many entries of the log one commit removes.
	maxTrimmed = 4
)

// A proposal is a transaction for one position: either it commits, or its answer has what was missed.
type proposal struct {
	at   store.Position
	then []clientv3.Op
	// writes says whether then changes anything.
	writes bool
	// entry is the one in the log, of a proposal that writes.
	entry entry
	marks []store.Mark // of the batch
	soa   store.Record // after the batch; without a name if it stays
}

// Propose implements store.Shared. Attempts that are not answered are followed by the same transaction at another
// member, which finds out whether the first was done: the head's revision is compared, so that it is done once at
// most. If the head is the next member's to tell after 2.5 seconds still, the outcome is store.ErrUnknown. A ctx
// that ends before the outcome is known is store.ErrUnknown too, once something was sent.
//
// A batch of more than 1,000 names, or of more than 1 MiB with the whole contents of all its names, is
// store.ErrTooLarge.
func (z *Zone) Propose(ctx context.Context, at store.Position, b store.Batch) (store.Position, []store.Committed, error) {
	ctx, leave, err := z.enter(ctx, "commit")
	if err != nil {
		return store.Position{}, nil, err
	}
	defer leave()
	if err := store.CheckChanges(at.Serial, b.Changes); err != nil {
		return store.Position{}, nil, err
	}
	if err := z.ensure(ctx); err != nil {
		return store.Position{}, nil, z.fail("commit", err)
	}
	p, err := z.proposal(at, &b)
	if err != nil {
		return store.Position{}, nil, err
	}
	z.awaitTurn(ctx)
	if missed, err := z.passed(at); err != nil {
		return store.Position{}, missed, err
	}
	begun := time.Now()
	way := &underWay{p.entry.batch, make(chan struct{})}
	z.underWay.Store(way)
	after, missed, err := z.submit(ctx, p, true)
	z.underWay.Store(nil)
	close(way.ended)
	if err == nil {
		z.turns.note(time.Since(begun))
	}
	return after, missed, err
}

// Confirm implements store.Shared. It is one read, unless this server has just lost several times in a row.
func (z *Zone) Confirm(ctx context.Context, at store.Position) ([]store.Committed, error) {
	ctx, leave, err := z.enter(ctx, "confirm")
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := z.ensure(ctx); err != nil {
		return nil, z.fail("confirm", err)
	}
	p := &proposal{at: at}
	if z.turns.isMine() {
		p.then = append(p.then, clientv3.OpDelete(z.wantRoot()+z.cluster.options.Server))
	}
	// A write in either branch makes it a commit of etcd's. So the turn is asked for only when it is needed.
	const often = 2
	lost := z.lost.Load()
	if lost >= often {
		z.awaitTurn(ctx)
	}
	if missed, err := z.passed(at); err != nil {
		z.lost.Add(1)
		return missed, err
	}
	_, missed, err := z.submit(ctx, p, lost >= often)
	if errors.Is(err, store.ErrConflict) {
		z.lost.Add(1)
	} else {
		z.lost.Store(0)
	}
	return missed, err
}

// passed returns store.ErrConflict and the batches that were missed if this server has already been told that the
// zone is not at that position any more.
func (z *Zone) passed(at store.Position) ([]store.Committed, error) {
	entries := z.history.since(at)
	if len(entries) == 0 {
		return nil, nil
	}
	missed, err := z.chain(at, entries)
	if err != nil {
		return nil, z.fail("commit", err)
	}
	return missed, store.ErrConflict
}

// chain decodes entries that follow a position.
func (z *Zone) chain(at store.Position, entries []entry) ([]store.Committed, error) {
	missed := make([]store.Committed, 0, len(entries))
	for i := range entries {
		if err := entries[i].after(at); err != nil {
			return nil, err
		}
		c, err := z.committed(&entries[i])
		if err != nil {
			return nil, err
		}
		missed = append(missed, c)
		at = c.Position
	}
	return missed, nil
}

// newID returns an id of a batch in an epoch.
func newID(epoch uint32) (i id) {
	_, _ = rand.Read(i[4:]) // it does not fail
	binary.BigEndian.PutUint32(i[:], epoch)
	return i
}

// touched returns the names, in lower case and in order, whose values changes concern.
func (z *Zone) touched(changes []store.Change) []string {
	names := make(map[string]bool)
	var buffer [dnswire.MaxName]byte
	add := func(name string) {
		// The compiler does not allocate for a lookup.
		lower := dnswire.AppendLower(buffer[:0], []byte(name))
		if !names[string(lower)] {
			names[string(lower)] = true
		}
	}
	for i := range changes {
		c := &changes[i]
		for _, list := range [][]store.Record{c.Removed, c.Added, c.Refreshed} {
			for j := range list {
				if !z.isSOA(&list[j]) && (j == 0 || list[j].Name != list[j-1].Name || z.isSOA(&list[j-1])) {
					add(list[j].Name)
				}
			}
		}
		for j := range c.Owners {
			add(c.Owners[j].Name)
		}
		for _, name := range c.Disowned {
			add(name)
		}
	}
	list := make([]string, 0, len(names))
	for name := range names {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

var errNoContents = errors.New("store: a batch with changes that does not tell what names hold after it")

// proposal makes the transaction that commits a batch.
func (z *Zone) proposal(at store.Position, b *store.Batch) (*proposal, error) {
	names := z.touched(b.Changes)
	if len(names) > maxNames {
		return nil, fmt.Errorf("%w: it changes %d names, and %d are allowed", store.ErrTooLarge, len(names), maxNames)
	}
	if len(names) > 0 && b.At == nil {
		return nil, errNoContents
	}
	before, _, _ := z.history.state()
	h := head{
		sequence: at.Sequence + 1, serial: at.Serial, batch: newID(id(at.Batch).epoch()), oldest: before.oldest, frozen: before.frozen,
		server: z.cluster.options.Server, soa: before.soa,
	}
	soa := z.lastSOA(b.Changes)
	if soa.Name != "" {
		if err := checkRecord(&soa); err != nil {
			return nil, err
		}
		h.soa = soa
	}
	if n := len(b.Changes); n > 0 {
		h.serial = b.Changes[n-1].To
	}
	if b.Frozen != nil {
		h.frozen = *b.Frozen
	}
	trimmed := z.history.trim(&z.options, maxTrimmed)
	h.oldest += uint64(len(trimmed))
	var unmarked []uint64
	unmarked, h.marks = z.history.trimMarks(z.options.MarkAge, maxUnmarked)
	e := entry{entryHeader: entryHeader{
		sequence: h.sequence, batch: h.batch, before: at.Batch, oldest: h.oldest, marks: h.marks, from: at.Serial, to: h.serial,
		time: z.cluster.options.Now().UTC(), server: h.server, frozen: b.Frozen,
	}}
	var err error
	if e.raw, err = appendEntry(nil, &e.entryHeader, b); err != nil {
		return nil, err
	}
	e.size = len(e.raw)
	value := string(h.append(nil))
	p := &proposal{at: at, entry: e, marks: b.Marks, soa: soa, writes: true}
	octets := len(value) + len(e.raw)
	p.then = append(p.then, clientv3.OpPut(z.headKey(), value), clientv3.OpPut(z.logKey(h.sequence), string(e.raw)))
	for i, marks := range trimmed {
		sequence := before.oldest + uint64(i)
		p.then = append(p.then, clientv3.OpDelete(z.logKey(sequence)))
		if marks != nil {
			octets += len(marks)
			p.then = append(p.then, clientv3.OpPut(z.marksKey(sequence), string(marks)))
		}
	}
	for _, sequence := range unmarked {
		p.then = append(p.then, clientv3.OpDelete(z.marksKey(sequence)))
	}
	if z.turns.isMine() {
		p.then = append(p.then, clientv3.OpDelete(z.wantRoot()+h.server))
	}
	puts := make([]clientv3.Op, 0, len(names))
	var buffer []byte
	for _, name := range names {
		key, err := z.nameKey(name)
		if err != nil {
			return nil, err
		}
		records, owner := b.At(name)
		if name == z.apex {
			records = z.withoutSOA(records)
		}
		if len(records) == 0 && owner == nil {
			puts = append(puts, clientv3.OpDelete(key))
			octets += len(key)
			continue
		}
		if buffer, err = appendName(buffer[:0], name, records, owner); err != nil {
			return nil, err
		}
		puts = append(puts, clientv3.OpPut(key, string(buffer)))
		const overhead = 16
		if octets += len(key) + len(buffer) + overhead; octets > maxRequest {
			return nil, fmt.Errorf("%w: it and the names that it changes have more than %d octets", store.ErrTooLarge, maxRequest)
		}
	}
	if octets > maxRequest {
		return nil, fmt.Errorf("%w: it has more than %d octets", store.ErrTooLarge, maxRequest)
	}
	p.then = append(p.then, nest(puts)...)
	return p, nil
}

// nest puts operations beyond what one level may have into transactions of their own.
func nest(operations []clientv3.Op) []clientv3.Op {
	if len(operations) <= maxLevel {
		return operations
	}
	var nested []clientv3.Op
	for part := range slices.Chunk(operations, maxLevel) {
		nested = append(nested, clientv3.OpTxn(nil, part, nil))
	}
	return nested
}

// submit does a proposal until its outcome is known. want says whether a turn is asked for if it comes too late.
func (z *Zone) submit(ctx context.Context, p *proposal, want bool) (store.Position, []store.Committed, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var sent atomic.Int32
	tracked := context.WithValue(ctx, sentKey{}, &sent)
	wants := clientv3.OpGet(z.wantRoot(), clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(maxWants))
	then := append(p.then[:len(p.then):len(p.then)], wants)
	// unknown is set once an attempt may have been done, or may be later.
	unknown := false
	for wait := firstWait; ; wait = nextWait(wait) {
		lease := clientv3.LeaseID(0)
		if want {
			lease = z.cluster.session.id()
		}
		otherwise := []clientv3.Op{
			clientv3.OpGet(z.headKey()),
			clientv3.OpGet(z.logKey(p.at.Sequence+1), clientv3.WithRange(z.logEnd()), clientv3.WithLimit(maxMissed)),
			wants,
		}
		if lease != 0 {
			otherwise = append(otherwise, clientv3.OpPut(z.wantRoot()+z.cluster.options.Server, "", clientv3.WithLease(lease)))
		}
		var answer *clientv3.TxnResponse
		sent.Store(0)
		err := z.cluster.members.attempt(tracked, func(ctx context.Context, client *clientv3.Client) (err error) {
			answer, err = client.Txn(ctx).
				If(clientv3.Compare(clientv3.ModRevision(z.headKey()), "=", p.at.Revision)).
				Then(then...).Else(otherwise...).Commit()
			return err
		})
		// etcd's client may have repeated it by itself.
		unknown = unknown || sent.Load() > 1
		switch {
		case err == nil && answer.Succeeded:
			return z.succeeded(p, answer)
		case err == nil:
			z.turns.learn(answer.Responses[2].GetResponseRange().Kvs, z.wantRoot(), z.cluster.options.Server)
			z.turns.put(z.cluster.options.Server, lease != 0 || z.turns.isMine())
			return z.tooLate(ctx, p, answer, unknown)
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			z.cluster.session.lost(lease)
			continue
		case refused(err) && !transient(err) && !unknown:
			return store.Position{}, nil, z.fail("commit", z.cluster.explain(err))
		case !refused(err) && sent.Load() > 0:
			unknown = true
		}
		if ctx.Err() != nil || z.ctx.Err() != nil || !sleep(ctx, wait) {
			if unknown {
				return store.Position{}, nil, z.fail("commit", fmt.Errorf("%w: %w", store.ErrUnknown, z.cluster.explain(err)))
			}
			return store.Position{}, nil, z.fail("commit", z.cluster.explain(err))
		}
	}
}

// succeeded is for a proposal at whose position the zone was.
func (z *Zone) succeeded(p *proposal, answer *clientv3.TxnResponse) (store.Position, []store.Committed, error) {
	z.turns.put(z.cluster.options.Server, false)
	z.turns.learn(answer.Responses[len(answer.Responses)-1].GetResponseRange().Kvs, z.wantRoot(), z.cluster.options.Server)
	if !p.writes {
		return p.at, nil, nil
	}
	e := p.entry
	e.revision = answer.Header.Revision
	z.history.add(&e, p.marks, p.soa, z.options.CacheOctets)
	return e.position(), nil, nil
}

// tooLate is for a proposal at whose position the zone was not: what was missed tells whether an earlier attempt
// was done, if there was one whose outcome is unknown.
func (z *Zone) tooLate(ctx context.Context, p *proposal, answer *clientv3.TxnResponse, unknown bool) (store.Position, []store.Committed, error) {
	entries, err := z.missed(ctx, p.at, answer.Responses[0].GetResponseRange().Kvs, answer.Responses[1].GetResponseRange().Kvs)
	var missed []store.Committed
	if err == nil {
		missed, err = z.chain(p.at, entries)
	}
	if err != nil {
		if p.writes && unknown {
			err = fmt.Errorf("%w: %w", store.ErrUnknown, err)
		}
		return store.Position{}, nil, z.fail("commit", err)
	}
	for i := range entries {
		z.history.add(&entries[i], missed[i].Marks, z.lastSOA(missed[i].Changes), z.options.CacheOctets)
		z.turns.committed(entries[i].server)
	}
	if p.writes && entries[0].batch == p.entry.batch {
		return entries[0].position(), nil, nil
	}
	return store.Position{}, missed, store.ErrConflict
}

// missed returns the entries after a position, of which an answer had the head and the first ones. There is at
// least one.
func (z *Zone) missed(ctx context.Context, at store.Position, headKey, kvs []*mvccpb.KeyValue) ([]entry, error) {
	if len(headKey) == 0 {
		if at == (store.Position{}) {
			return nil, store.ErrEmpty
		}
		return nil, wiped()
	}
	h, err := decodeHead(headKey[0].Value)
	if err != nil {
		return nil, damaged(z.headKey(), err)
	}
	if err := h.check(at, headKey[0].ModRevision); err != nil {
		return nil, err
	}
	n := h.sequence - at.Sequence
	switch {
	case n == 0:
		// The same batch with another revision: the keys were copied to another cluster.
		return nil, fmt.Errorf("%w: its revisions are others", store.ErrHistory)
	case n > maxBehind:
		return nil, fmt.Errorf("%w: %d batches were missed", store.ErrHistory, n)
	}
	var entries []entry
	for {
		for _, kv := range kvs {
			e, err := z.entry(kv)
			if err != nil {
				return nil, err
			}
			if entries = append(entries, e); uint64(len(entries)) == n {
				return entries, nil
			}
		}
		start := at.Sequence + 1 + uint64(len(entries))
		answer, err := z.cluster.get(ctx, z.logKey(start), clientv3.WithRange(z.logEnd()), clientv3.WithLimit(maxMissed))
		if err != nil {
			return nil, err
		}
		if kvs = answer.Kvs; len(kvs) == 0 {
			return nil, fmt.Errorf("%w: batch %d was trimmed meanwhile", store.ErrHistory, start)
		}
	}
}
