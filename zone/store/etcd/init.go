package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// initTimeout bounds how long a server waits for one that fills the zone.
const initTimeout = 5 * time.Minute

var errInterrupted = errors.New("store: etcd: filling the zone was interrupted, because this server's lease expired; it may be done again")

// Init implements store.Shared. The names are written first, in many transactions, and the head last, so that a
// zone without a head is empty. Servers that call it at once wait for each other, by a key under the lease of the
// one that writes; if that one ends, what it has left is removed. Each record is encoded and held in memory
// meanwhile.
func (z *Zone) Init(ctx context.Context, c store.Contents) (store.Position, error) {
	ctx, leave, err := z.enter(ctx, "init")
	if err != nil {
		return store.Position{}, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	if err := z.cluster.requireVersion(ctx); err != nil {
		return store.Position{}, z.fail("init", err)
	}
	names, soa, err := z.encodeContents(c)
	if err != nil {
		return store.Position{}, err
	}
	f := &filler{z: z, ctx: ctx}
	if err := f.begin(); err != nil {
		return store.Position{}, z.fail("init", err)
	}
	at, err := f.fill(c.Serial, soa, names)
	if err != nil {
		f.giveUp()
		return store.Position{}, z.fail("init", err)
	}
	return at, nil
}

// encodeContents returns the value of each name, and the SOA.
func (z *Zone) encodeContents(c store.Contents) (names map[string]*encodedName, soa store.Record, err error) {
	names = make(map[string]*encodedName)
	if c.Owners != nil {
		for o := range c.Owners {
			names[o.Name] = &encodedName{value: appendNameStart(nil, &o), spelled: o.Name}
		}
	}
	var buffer [dnswire.MaxName]byte
	for r := range c.Records {
		if err := checkRecord(&r); err != nil {
			return nil, soa, err
		}
		if z.isSOA(&r) {
			soa = r
			continue
		}
		lower := dnswire.AppendLower(buffer[:0], []byte(r.Name))
		n, ok := names[string(lower)]
		if !ok {
			n = &encodedName{value: appendNameStart(nil, nil), spelled: string(lower)}
			names[n.spelled] = n
		}
		n.value, n.spelled = appendRecord(n.value, n.spelled, &r), r.Name
	}
	return names, soa, nil
}

// An encodedName is the value of a name, whose last record spells it so.
type encodedName struct {
	value   []byte
	spelled string
}

// A filler fills a zone.
type filler struct {
	z     *Zone
	ctx   context.Context
	lease clientv3.LeaseID
	// since is the revision at which it was given the key that keeps others out.
	since int64
}

// begin keeps others out, and removes what was left by somebody who was interrupted.
func (f *filler) begin() error {
	for wait := firstWait; ; wait = nextWait(wait) {
		if f.lease = f.z.cluster.session.id(); f.lease != 0 {
			done, err := f.tryBegin()
			if done || err != nil {
				return err
			}
		} else if cause := f.z.cluster.members.outOfReach(); cause != nil {
			return f.z.cluster.explain(cause)
		}
		if !sleep(f.ctx, wait) {
			return f.ctx.Err()
		}
	}
}

func (f *filler) tryBegin() (done bool, err error) {
	z := f.z
	mine := z.cluster.options.Server + " " + encodeHex(newIDBytes())
	answer, err := f.txn(
		[]clientv3.Cmp{absent(z.headKey()), absent(z.initKey())},
		[]clientv3.Op{clientv3.OpPut(z.initKey(), mine, clientv3.WithLease(f.lease)), clientv3.OpDelete(z.nameRoot(), clientv3.WithPrefix()), clientv3.OpDelete(z.logRoot(), clientv3.WithPrefix()),
			clientv3.OpDelete(z.marksRoot(), clientv3.WithPrefix())},
		[]clientv3.Op{clientv3.OpGet(z.headKey(), clientv3.WithKeysOnly()), clientv3.OpGet(z.initKey())})
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		z.cluster.session.lost(f.lease)
		return false, nil
	case err != nil:
		return false, err
	case answer.Succeeded:
		f.since = answer.Header.Revision
		return true, nil
	case len(answer.Responses[0].GetResponseRange().Kvs) > 0:
		return false, store.ErrNotEmpty
	}
	if kvs := answer.Responses[1].GetResponseRange().Kvs; len(kvs) > 0 && string(kvs[0].Value) == mine {
		f.since = kvs[0].ModRevision
		return true, nil
	}
	return false, nil
}

func newIDBytes() []byte {
	i := newID(0)
	return i[4:]
}

func absent(key string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
}

// mine compares that nobody else has been let in.
func (f *filler) mine() []clientv3.Cmp {
	return []clientv3.Cmp{absent(f.z.headKey()), clientv3.Compare(clientv3.ModRevision(f.z.initKey()), "=", f.since)}
}

// fillers is how many transactions that fill a zone are under way at once.
const fillers = 4

// fillNames is how many names each of them has: few enough for a busy etcd to answer others meanwhile.
const fillNames = 256

// putAll does operations, in one transaction of many. The same transaction again does no harm.
func (f *filler) putAll(puts []clientv3.Op) error {
	answer, err := f.txn(f.mine(), nest(puts), nil)
	if err == nil && !answer.Succeeded {
		err = errInterrupted
	}
	return err
}

// fill writes the names, and then the head.
func (f *filler) fill(serial uint32, soa store.Record, names map[string]*encodedName) (store.Position, error) {
	z := f.z
	if err := f.putNames(names); err != nil {
		return store.Position{}, err
	}
	h := head{sequence: 1, serial: serial, batch: newID(1), oldest: 2, marks: 2, server: z.cluster.options.Server, soa: soa}
	answer, err := f.txn(f.mine(), []clientv3.Op{clientv3.OpPut(z.headKey(), string(h.append(nil))), clientv3.OpDelete(z.initKey())},
		[]clientv3.Op{clientv3.OpGet(z.headKey())})
	if err != nil {
		return store.Position{}, err
	}
	revision := answer.Header.Revision
	if !answer.Succeeded {
		kvs := answer.Responses[0].GetResponseRange().Kvs
		if len(kvs) == 0 {
			return store.Position{}, errInterrupted
		}
		// An attempt before may have been done without an answer.
		found, err := decodeHead(kvs[0].Value)
		switch {
		case err != nil:
			return store.Position{}, damaged(z.headKey(), err)
		case found.batch != h.batch:
			return store.Position{}, store.ErrNotEmpty
		}
		revision = kvs[0].ModRevision
	}
	z.history.replace(store.Position{}, h, revision, nil, nil, z.options.CacheOctets)
	return h.position(revision), nil
}

// putNames writes the names, several transactions at once.
func (f *filler) putNames(names map[string]*encodedName) error {
	parts := make(chan []clientv3.Op)
	failed := make(chan error, fillers)
	var running sync.WaitGroup
	for range fillers {
		running.Go(func() {
			for puts := range parts {
				if err := f.putAll(puts); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	err := f.split(names, func(puts []clientv3.Op) error {
		select {
		case parts <- puts:
			return nil
		case err := <-failed:
			return err
		}
	})
	close(parts)
	running.Wait()
	if err == nil {
		select {
		case err = <-failed:
		default:
		}
	}
	return err
}

// split hands all names on in parts of one transaction each.
func (f *filler) split(names map[string]*encodedName, part func([]clientv3.Op) error) error {
	var puts []clientv3.Op
	octets := 0
	for name, n := range names {
		key, err := f.z.nameKey(name)
		if err != nil {
			return err
		}
		size := len(key) + len(n.value)
		if size > maxRequest {
			return fmt.Errorf("%w: a name has more than %d octets of records", store.ErrTooLarge, maxRequest)
		}
		if octets += size; octets > maxRequest/4 || len(puts) == fillNames {
			if len(puts) > 0 {
				if err := part(puts); err != nil {
					return err
				}
			}
			puts, octets = nil, size
		}
		puts = append(puts, clientv3.OpPut(key, string(n.value)))
		delete(names, name)
	}
	if len(puts) == 0 {
		return nil
	}
	return part(puts)
}

// giveUp lets others in at once.
func (f *filler) giveUp() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), attemptTimeout)
	defer cancel()
	_ = f.z.cluster.members.attempt(ctx, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Txn(ctx).If(f.mine()...).Then(clientv3.OpDelete(f.z.initKey())).Commit()
		return err
	})
}

// txn does a transaction that may be done again.
func (f *filler) txn(when []clientv3.Cmp, then, otherwise []clientv3.Op) (answer *clientv3.TxnResponse, err error) {
	err = f.z.cluster.members.read(f.ctx, pageTimeout, pagesTimeout, func(ctx context.Context, client *clientv3.Client) error {
		var err error
		answer, err = client.Txn(ctx).If(when...).Then(then...).Else(otherwise...).Commit()
		return err
	})
	if err != nil {
		if f.ctx.Err() != nil {
			return nil, f.ctx.Err()
		}
		return nil, f.z.cluster.explain(err)
	}
	return answer, nil
}
