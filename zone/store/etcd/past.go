package etcd

import (
	"context"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// What a server publishes goes with its lease. That it was there stays, so that the others can tell that it is missing: each
// server notes now and then that it is there, and when it is closed, that it has stopped in order.

const (
	// presenceInterval is how often a server that publishes something notes that it is there.
	presenceInterval = 10 * time.Second
	// PastLifetime is for how long a server is remembered that is not there any more.
	PastLifetime = 24 * time.Hour
	// maxPast is how many of them are remembered: those that were seen last.
	maxPast = 32

	presenceVersion = 1
)

// A PastServer is one that has published something and is not there any more.
type PastServer struct {
	Server string
	// Seen is when it last noted that it was there, by its clock: presenceInterval before its end at most.
	Seen time.Time
	// Stopped says that it was closed. Another one was killed, or does not reach etcd.
	Stopped bool
}

// appendPresence appends what a server notes of itself.
func appendPresence(dst []byte, seen time.Time, stopped bool) []byte {
	var flag byte
	if stopped {
		flag = 1
	}
	return append(appendTime(append(dst, presenceVersion), seen), flag)
}

func decodePresence(value []byte) (seen time.Time, stopped bool, err error) {
	d := decode(value, presenceVersion)
	seen = d.time()
	stopped = d.octet() != 0
	return seen, stopped, d.end()
}

// past reads which servers are missing among those that run. It deletes what was remembered for long enough.
func (c *Cluster) past(ctx context.Context, running []ServerStatus) ([]PastServer, error) {
	root := c.options.Prefix + presences
	answer, err := c.getWithin(ctx, pageTimeout, pagesTimeout, root, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	var list []PastServer
	revisions := make(map[string]int64)
	for _, kv := range answer.Kvs {
		server := strings.TrimPrefix(string(kv.Key), root)
		seen, stopped, err := decodePresence(kv.Value)
		if err != nil || slices.ContainsFunc(running, func(s ServerStatus) bool { return s.Server == server }) {
			continue
		}
		list = append(list, PastServer{server, seen, stopped})
		revisions[server] = kv.ModRevision
	}
	slices.SortFunc(list, func(a, b PastServer) int { return b.Seen.Compare(a.Seen) })
	since := c.options.Now().Add(-PastLifetime)
	kept := list
	for i, p := range list {
		if i >= maxPast || p.Seen.Before(since) {
			kept = list[:i]
			break
		}
	}
	for _, p := range list[len(kept):] {
		c.forget(ctx, root+p.Server, revisions[p.Server])
	}
	slices.SortFunc(kept, func(a, b PastServer) int { return strings.Compare(a.Server, b.Server) })
	return kept, nil
}

// forget deletes a key unless it has changed. If that fails, another server does it later.
func (c *Cluster) forget(ctx context.Context, key string, revision int64) {
	_ = c.members.attempt(ctx, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).Then(clientv3.OpDelete(key)).Commit()
		return err
	})
}
