package etcd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// epochSequences is how far an epoch begins behind the one before, so that it is behind all that was lost.
const epochSequences = 1 << 32

var (
	errNoSOA = errors.New("has no SOA record")
	errRaise = errors.New("store: etcd: a serial can be raised by 1 to 2147483647 (RFC 1982)")
	errEpoch = errors.New("has the last epoch that there can be")
)

// nextEpoch is the number of the epoch after another: the seconds of Unix time, or one more. What a backup brings
// back does not tell of an epoch that was begun since, and that one must not be taken for the next.
func nextEpoch(before uint32, now time.Time) (uint32, error) {
	if before == math.MaxUint32 {
		return 0, errEpoch
	}
	return max(before+1, uint32(min(max(now.Unix(), 0), math.MaxUint32))), nil
}

// Epoch returns the epoch of the zone as etcd has it; store.ErrEmpty if there is no zone.
func (z *Zone) Epoch(ctx context.Context) (uint32, error) {
	ctx, leave, err := z.enter(ctx, "epoch")
	if err != nil {
		return 0, err
	}
	defer leave()
	h, kv, _, err := z.readHead(ctx)
	switch {
	case err != nil:
		return 0, z.fail("epoch", err)
	case kv == nil:
		return 0, store.ErrEmpty
	}
	return h.batch.epoch(), nil
}

// NewEpoch declares what etcd holds of the zone to be the zone, after a backup was restored: the serial is raised by
// the given number, which has to lead beyond all serials that were ever served (RFC 1982), and the log is emptied.
// Servers with another history, which have returned store.ErrDiverged, and all others get store.ErrHistory and load
// the zone again; secondary servers transfer it whole. Marks are forgotten with the log, so that a message of the
// last minutes could be replayed. It returns the new serial. store.ErrEmpty if there is no zone.
func (z *Zone) NewEpoch(ctx context.Context, raise uint32) (serial uint32, err error) {
	if raise == 0 || raise > 1<<31-1 {
		return 0, errRaise
	}
	ctx, leave, err := z.enter(ctx, "new epoch")
	if err != nil {
		return 0, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, pagesTimeout)
	defer cancel()
	var begun id
	for {
		h, kv, _, err := z.readHead(ctx)
		switch {
		case err != nil:
			return 0, z.fail("new epoch", err)
		case kv == nil:
			return 0, store.ErrEmpty
		case begun != (id{}) && h.batch == begun:
			return h.serial, nil
		}
		epoch, err := nextEpoch(h.batch.epoch(), z.cluster.options.Now())
		if err != nil {
			return 0, z.fail("new epoch", damaged(z.headKey(), err))
		}
		next := head{
			sequence: h.sequence + epochSequences, serial: h.serial + raise, batch: newID(epoch),
			frozen: h.frozen, server: z.cluster.options.Server,
		}
		next.oldest, next.marks = next.sequence+1, next.sequence+1
		if next.soa, err = raised(h.soa, next.serial); err != nil {
			return 0, z.fail("new epoch", damaged(z.headKey(), err))
		}
		begun = next.batch
		var answer *clientv3.TxnResponse
		err = z.cluster.members.attempt(ctx, func(ctx context.Context, client *clientv3.Client) (err error) {
			answer, err = client.Txn(ctx).If(
				clientv3.Compare(clientv3.ModRevision(z.headKey()), "=", kv.ModRevision),
			).Then(
				clientv3.OpPut(z.headKey(), string(next.append(nil))),
				clientv3.OpDelete(z.logRoot(), clientv3.WithPrefix()), clientv3.OpDelete(z.marksRoot(), clientv3.WithPrefix()),
			).Commit()
			return err
		})
		switch {
		case err == nil && answer.Succeeded:
			return next.serial, nil
		case err != nil && refused(err) && !transient(err):
			return 0, z.fail("new epoch", z.cluster.explain(err))
		case !sleep(ctx, firstWait):
			return 0, z.fail("new epoch", fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err()))
		}
	}
}

// raised returns an SOA record with another serial.
func raised(soa store.Record, serial uint32) (store.Record, error) {
	at := 0
	for range 2 { // MNAME, RNAME
		at += dnswire.NameLen(soa.Data[at:])
	}
	if len(soa.Data)-at != 20 {
		return soa, errNoSOA
	}
	soa.Data = append([]byte{}, soa.Data...)
	binary.BigEndian.PutUint32(soa.Data[at:], serial)
	return soa, nil
}
