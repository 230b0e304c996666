package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// leaseSeconds is how long after its end what a server has put there for itself stays.
const leaseSeconds = 10

// keepTimeout is how long a member has to keep the lease alive. A busy one is not the same as one that is gone.
const keepTimeout = 2 * time.Second

// A session is the lease under which this server puts what is to go when it goes.
type session struct {
	mu sync.Mutex
	// lease is 0 while there is none; guarded by mu.
	lease clientv3.LeaseID
	// kept is when it was last known to be alive; guarded by mu.
	kept time.Time
	// value is what Publish was given; nil if nothing. guarded by mu.
	value []byte
	// put says that the lease has the value; guarded by mu.
	put bool
	// replaced counts how often in a row the value was published in the place of one under another lease;
	// guarded by mu.
	replaced int
	// noted is when the server noted last that it is there; guarded by mu.
	noted time.Time
}

// id returns the lease, or 0.
func (s *session) id() clientv3.LeaseID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lease
}

// lost notes that etcd does not know the lease any more.
func (s *session) lost(lease clientv3.LeaseID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == lease {
		s.lease, s.put = 0, false
	}
}

// keep makes a lease, or keeps it alive, and publishes the value if the lease does not have it.
func (s *session) keep(c *Cluster) {
	s.mu.Lock()
	lease, due := s.lease, time.Since(s.kept) > leaseSeconds*time.Second/4
	s.mu.Unlock()
	if lease != 0 && due {
		x, _ := c.members.inUse()
		err := c.members.ask(c.ctx, x, keepTimeout, func(ctx context.Context, client *clientv3.Client) error {
			answer, err := client.KeepAliveOnce(ctx, lease)
			if err == nil && answer.TTL <= 0 {
				return rpctypes.ErrLeaseNotFound
			}
			return err
		})
		switch {
		case err == nil:
			s.mu.Lock()
			s.kept = time.Now()
			s.mu.Unlock()
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			s.lost(lease)
			lease = 0
		}
	}
	if lease == 0 {
		err := c.members.attempt(c.ctx, func(ctx context.Context, client *clientv3.Client) error {
			answer, err := client.Grant(ctx, leaseSeconds)
			if err == nil {
				lease = answer.ID
			}
			return err
		})
		if err != nil {
			return
		}
		s.mu.Lock()
		s.lease, s.kept, s.put = lease, time.Now(), false
		s.mu.Unlock()
	}
	s.mu.Lock()
	value, put := s.value, s.put
	s.mu.Unlock()
	if value != nil && !put {
		_ = s.publish(c.ctx, c, lease, value) // done again in a second
	}
}

// publish puts the value. It replaces one under another lease, which this server has left if it was killed or if its
// lease was lost; otherwise another server has the same name, and does the same.
func (s *session) publish(ctx context.Context, c *Cluster, lease clientv3.LeaseID, value []byte) error {
	key := c.nodeKey(c.options.Server)
	put := clientv3.OpPut(key, string(value), clientv3.WithLease(lease))
	now := c.options.Now()
	s.mu.Lock()
	due := now.Sub(s.noted).Abs() >= presenceInterval
	s.mu.Unlock()
	puts := []clientv3.Op{put}
	if due {
		puts = append(puts, clientv3.OpPut(c.presenceKey(c.options.Server), string(appendPresence(nil, now, false))))
	}
	replaced := false
	err := c.members.attempt(ctx, func(ctx context.Context, client *clientv3.Client) error {
		answer, err := client.Txn(ctx).If(clientv3.Compare(clientv3.LeaseValue(key), "=", lease)).
			Then(puts...).Else(append([]clientv3.Op{clientv3.OpGet(key, clientv3.WithKeysOnly())}, puts...)...).Commit()
		if err == nil && !answer.Succeeded {
			replaced = len(answer.Responses[0].GetResponseRange().Kvs) > 0
		}
		return err
	})
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		s.lost(lease)
	}
	if err != nil {
		return c.explain(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put = s.lease == lease && string(s.value) == string(value)
	if due {
		s.noted = now
	}
	if !replaced {
		s.replaced = 0
		return nil
	}
	if s.replaced++; s.replaced < 3 {
		return nil
	}
	return diagnose.WithFix(fmt.Errorf("%w: %s", ErrNameTaken, c.options.Server), "give each server a name of its own")
}

// revoke gives the lease up, and notes that this server has stopped, if it was seen. If etcd does not answer, the lease
// expires.
func (s *session) revoke(c *Cluster) {
	s.mu.Lock()
	lease, seen := s.lease, !s.noted.IsZero()
	s.mu.Unlock()
	if lease == 0 || c.members.outOfReach() != nil {
		return
	}
	_ = c.members.attempt(context.Background(), func(ctx context.Context, client *clientv3.Client) error {
		if seen {
			if _, err := client.Put(ctx, c.presenceKey(c.options.Server), string(appendPresence(nil, c.options.Now(), true))); err != nil {
				return err
			}
		}
		_, err := client.Revoke(ctx, lease)
		return err
	})
}

// MaxPublished is how many octets a server may publish.
const MaxPublished = 512 << 10

// Publish shows a value to the other servers, in their [Cluster.Status], for as long as this server runs: in etcd
// it is under the server's lease. It replaces the one before. An error, after some seconds at most, means that the
// others may not see it yet; it is put there as soon as possible all the same. But ErrNameTaken means that another
// server has the name of this one, and that each replaces what the other publishes.
func (c *Cluster) Publish(ctx context.Context, value []byte) error {
	if len(value) > MaxPublished {
		return fmt.Errorf("store: etcd: %d octets to publish, %d are allowed", len(value), MaxPublished)
	}
	if c.isClosed() {
		return store.ErrClosed
	}
	s := &c.session
	s.mu.Lock()
	s.value, s.put = append([]byte{}, value...), false
	value, lease := s.value, s.lease
	s.mu.Unlock()
	if lease == 0 {
		return fmt.Errorf("%w: no lease yet", ErrUnreachable)
	}
	ctx, cancel := c.bind(ctx)
	defer cancel()
	return s.publish(ctx, c, lease, value)
}
