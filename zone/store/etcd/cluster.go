package etcd

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A Cluster is a connection to an etcd cluster, shared by the zones and contexts of one server. Its methods are
// safe for concurrent use.
type Cluster struct {
	options Options
	members *members
	session session
	list    zoneList

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	closing  sync.Once
	starting sync.Once // of contexts
	contexts *Contexts
}

// Open checks the options. It does not wait for etcd: what needs an answer says so when there is none.
func Open(options Options) (*Cluster, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Cluster{options: options, members: newMembers(&options)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.running.Go(c.keep)
	return c, nil
}

// Server is the name that this server has in the cluster.
func (c *Cluster) Server() string { return c.options.Server }

// Close ends all connections, and gives up the lease: what this server published is removed. Zones are closed too.
// It may be called again.
func (c *Cluster) Close() error {
	c.closing.Do(func() {
		c.cancel()
		c.running.Wait()
		c.session.revoke(c)
		c.members.close()
	})
	return nil
}

func (c *Cluster) isClosed() bool { return c.ctx.Err() != nil }

// bind returns a context that ends with ctx or with Close.
func (c *Cluster) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// readTimeout is how long a read tries to find a member that answers, and how long a request of unknown outcome is
// followed up.
const readTimeout = 2500 * time.Millisecond

// get reads a few keys. Errors are explained.
func (c *Cluster) get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return c.getWithin(ctx, attemptTimeout, readTimeout, key, options...)
}

// A member has pageTimeout for a page of many keys, and all have pagesTimeout for it.
const (
	pageTimeout  = 5 * time.Second
	pagesTimeout = 20 * time.Second
)

func (c *Cluster) getWithin(ctx context.Context, each, limit time.Duration, key string, options ...clientv3.OpOption) (answer *clientv3.GetResponse, err error) {
	err = c.members.read(ctx, each, limit, func(ctx context.Context, client *clientv3.Client) error {
		var err error
		answer, err = client.Get(ctx, key, options...)
		return err
	})
	if err != nil {
		if c.isClosed() {
			return nil, store.ErrClosed
		}
		if outer := ctx.Err(); outer != nil {
			return nil, outer
		}
		return nil, c.explain(err)
	}
	return answer, nil
}

// keep is what is done once a second while the cluster is open: the lease is kept alive, which also finds out
// whether the member in use answers, and the first member is tried again.
func (c *Cluster) keep() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		c.session.keep(c)
		if x := c.members.first(); x != nil {
			err := c.members.ask(c.ctx, x, attemptTimeout, func(ctx context.Context, client *clientv3.Client) error {
				_, err := client.Get(ctx, c.options.Prefix+"c")
				return err
			})
			if err == nil {
				c.members.back()
			}
		}
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
	}
}
