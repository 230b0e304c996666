package etcd

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A Status is what an administrator wants to know of a cluster.
type Status struct {
	// Members are those of Options.Endpoints, in their order.
	Members []MemberStatus
	// Servers are those that have published something, this one too, by name.
	Servers []ServerStatus
	// Past are those that have published something within PastLifetime, and are not there any more, by name.
	Past []PastServer
	// Zones are all below the prefix, by origin.
	Zones []ZoneStatus
	// Revision is etcd's, and Compacted the one up to which its history is compacted; 0 if it never was.
	Revision, Compacted int64
	// HistorySince is the time of the oldest batch of a zone whose revision is not compacted: etcd's history
	// goes back to it at least. If that is long ago, etcd does not compact its history by itself. Zero if there
	// is no batch.
	HistorySince time.Time
}

// A MemberStatus is that of one endpoint.
type MemberStatus struct {
	Endpoint string
	// Err is why the member did not answer. What follows is then zero.
	Err error
	// ID and Name identify the member. Leader says that it leads.
	ID     uint64
	Name   string
	Leader bool
	// Version is that of its etcd, and VersionErr wraps ErrVersion if that is too old.
	Version    string
	VersionErr error
	// Size is how many octets its database has, and InUse how many of them are in use: defragmentation frees
	// the others. Quota is how many it may have; 0 if it does not tell.
	Size, InUse, Quota int64
	// Problems are those that it tells of, such as an alarm because the quota is reached.
	Problems []string
}

// A ServerStatus is what a server has published by [Cluster.Publish].
type ServerStatus struct {
	Server string // its name
	Value  []byte // as it was given to Publish
}

// A ZoneStatus is that of one zone.
type ZoneStatus struct {
	// Origin is the zone's name.
	Origin string
	// Err is why the zone cannot be read. What follows is then zero.
	Err error
	// Sequence counts batches, Serial is the zone's, Epoch is 1, and after [Zone.NewEpoch] higher each time.
	Sequence uint64
	Serial   uint32
	Epoch    uint32
	// Batches is how many batches the log has.
	Batches uint64
	// Server committed last.
	Server string
	// Frozen is zero if the zone is not.
	Frozen store.Freeze
}

// Status asks all members and reads what the servers share. It returns an error if no member answers for the
// latter; Members are then complete all the same.
func (c *Cluster) Status(ctx context.Context) (Status, error) {
	ctx, cancel := c.bind(ctx)
	defer cancel()
	var s Status
	s.Members = make([]MemberStatus, len(c.members.all))
	var asking sync.WaitGroup
	for i, x := range c.members.all {
		asking.Go(func() { s.Members[i] = c.memberStatus(ctx, x) })
	}
	asking.Wait()
	names, err := c.memberNames(ctx)
	if err != nil {
		return s, err
	}
	for i := range s.Members {
		s.Members[i].Name = names[s.Members[i].ID]
	}
	if s.Servers, s.Revision, err = c.servers(ctx); err != nil {
		return s, err
	}
	if s.Past, err = c.past(ctx, s.Servers); err != nil {
		return s, err
	}
	if s.Zones, err = c.zones(ctx); err != nil {
		return s, err
	}
	s.Compacted = c.compacted(ctx)
	s.HistorySince, err = c.historySince(ctx, s.Zones, s.Compacted)
	return s, err
}

func (c *Cluster) memberStatus(ctx context.Context, x *member) MemberStatus {
	m := MemberStatus{Endpoint: x.endpoint}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	client, err := c.members.get(ctx, x)
	var status *clientv3.StatusResponse
	if err == nil {
		status, err = client.Status(ctx, x.endpoint)
	}
	if err != nil {
		m.Err = c.explain(err)
		return m
	}
	m.ID, m.Leader = status.Header.MemberId, status.Header.MemberId == status.Leader
	m.Version, m.VersionErr = status.Version, checkVersion(x.endpoint, status.Version)
	m.Size, m.InUse, m.Quota = status.DbSize, status.DbSizeInUse, status.DbSizeQuota
	if m.Quota == 0 {
		m.Quota = c.quota(ctx, x)
	}
	m.Problems = slices.Clone(status.Errors)
	return m
}

// memberNames returns the names of all members by their ids.
func (c *Cluster) memberNames(ctx context.Context) (map[uint64]string, error) {
	names := make(map[uint64]string)
	err := c.members.read(ctx, attemptTimeout, readTimeout, func(ctx context.Context, client *clientv3.Client) error {
		answer, err := client.MemberList(ctx)
		if err == nil {
			for _, m := range answer.Members {
				names[m.ID] = m.Name
			}
		}
		return err
	})
	return names, c.explain(err)
}

func (c *Cluster) servers(ctx context.Context) (list []ServerStatus, revision int64, err error) {
	root := c.options.Prefix + nodes
	answer, err := c.getWithin(ctx, pageTimeout, pagesTimeout, root, clientv3.WithPrefix())
	if err != nil {
		return nil, 0, err
	}
	for _, kv := range answer.Kvs {
		list = append(list, ServerStatus{strings.TrimPrefix(string(kv.Key), root), kv.Value})
	}
	return list, answer.Header.Revision, nil
}

// A zoneList is the origins of all zones as they were found last.
type zoneList struct {
	mu      sync.Mutex
	origins []string
	due     time.Time // when they are to be found again
}

// listShare is for how many times what the last search took no other one begins: for a range etcd visits all of its
// keys, of which a large zone has millions, even if it is to return the first one alone.
const listShare = 100

// origins returns the origins of the zones.
func (c *Cluster) origins(ctx context.Context) ([]string, error) {
	l := &c.list
	l.mu.Lock()
	defer l.mu.Unlock()
	begun := time.Now()
	if begun.Before(l.due) {
		return l.origins, nil
	}
	found, err := c.findZones(ctx)
	if err != nil {
		return nil, err
	}
	l.origins, l.due = found, time.Now().Add(listShare*time.Since(begun))
	return found, nil
}

// findZones finds the zones by the first key of each.
func (c *Cluster) findZones(ctx context.Context) (origins []string, err error) {
	root := c.options.Prefix + zones
	end := clientv3.GetPrefixRangeEnd(root)
	for start := root; ; {
		answer, err := c.getWithin(ctx, pageTimeout, pagesTimeout, start, clientv3.WithRange(end), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		if err != nil || len(answer.Kvs) == 0 {
			return origins, err
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(string(answer.Kvs[0].Key), root), "/")
		start = clientv3.GetPrefixRangeEnd(root + name + "/")
		origins = append(origins, unescapeSlash.Replace(name))
	}
}

// zones tells of all zones.
func (c *Cluster) zones(ctx context.Context) (list []ZoneStatus, err error) {
	origins, err := c.origins(ctx)
	if err != nil {
		return nil, err
	}
	for _, origin := range origins {
		z := &Zone{cluster: c, origin: origin, root: ZonePrefix(c.options.Prefix, origin)}
		s := ZoneStatus{Origin: origin}
		h, kv, _, err := z.readHead(ctx)
		switch {
		case err != nil:
			s.Err = err
		case kv == nil:
			continue // it is being filled, or was not filled to the end, or is gone
		default:
			s.Sequence, s.Serial, s.Epoch, s.Batches = h.sequence, h.serial, h.batch.epoch(), h.sequence+1-h.oldest
			s.Server, s.Frozen = h.server, h.frozen
		}
		list = append(list, s)
	}
	return list, nil
}

// compacted returns the revision up to which etcd has compacted its history: a watch from the beginning of time is
// told. Where there is all history, a watch would have etcd search all of it.
func (c *Cluster) compacted(ctx context.Context) int64 {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if _, err := c.get(ctx, c.options.Prefix, clientv3.WithRev(1)); !errors.Is(err, rpctypes.ErrCompacted) {
		return 0
	}
	events, _, ok := c.members.watch(ctx, c.options.Prefix, c.options.Prefix+"\x00", 1)
	if !ok {
		return 0
	}
	for answer := range events {
		if answer.CompactRevision > 0 {
			return answer.CompactRevision
		}
	}
	return 0
}

// historySince returns the time of the oldest batch of all zones behind a revision.
func (c *Cluster) historySince(ctx context.Context, list []ZoneStatus, compacted int64) (since time.Time, err error) {
	for _, s := range list {
		if s.Err != nil {
			continue
		}
		z := &Zone{cluster: c, origin: s.Origin, root: ZonePrefix(c.options.Prefix, s.Origin)}
		// Revisions grow with the sequence.
		var oldest time.Time
		for low, high := s.Sequence+1-s.Batches, s.Sequence+1; low < high; {
			middle := low + (high-low)/2
			answer, err := c.get(ctx, z.logKey(middle))
			if err != nil {
				return since, err
			}
			if len(answer.Kvs) == 0 || answer.Kvs[0].ModRevision <= compacted {
				low = middle + 1 // trimmed meanwhile, or compacted
				continue
			}
			e, err := z.entry(answer.Kvs[0])
			if err != nil {
				return since, err
			}
			oldest, high = e.time, middle
		}
		if !oldest.IsZero() && (since.IsZero() || oldest.Before(since)) {
			since = oldest
		}
	}
	return since, nil
}
