package gsstsig

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// ContextInfo describes an established context to those who administer the
// server. It holds no key.
type ContextInfo struct {
	KeyName   string         // presentation form, lower case
	Principal krb5.Principal // the client, as its ticket names it
	Account   krb5.Account   // as the PAC of the ticket names it
	Service   krb5.Principal // that the ticket is for
	Enctype   krb5.Enctype   // of the key that makes the MICs
	Client    netip.AddrPort // that finished the negotiation; zero for an imported context
	Created   time.Time      // zero for an imported context
	Expires   time.Time      // unless it is deleted before
	LastUse   time.Time      // of the last message that verified; zero if there was none
	Messages  uint64         // that verified, here
	Shared    bool           // other servers have it too
	Maker     string         // the server that made it, as Sharing names it; empty if it was never shared
}

// Contexts lists the established contexts by the names of their principals and
// keys. It takes time that grows with the table.
func (t *Table) Contexts() []ContextInfo {
	now := t.now()
	var list []ContextInfo
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, c := range s.contexts {
			if !c.over(now, now.Sub(started)) && !t.deletedElsewhere(c) {
				list = append(list, c.info())
			}
		}
		s.mu.Unlock()
	}
	sortInfo(list)
	return list
}

func sortInfo(list []ContextInfo) {
	slices.SortFunc(list, func(a, b ContextInfo) int {
		if c := strings.Compare(a.Principal.String(), b.Principal.String()); c != 0 {
			return c
		}
		return strings.Compare(a.KeyName, b.KeyName)
	})
}

// Drop drops the established contexts for which match returns true, and returns
// what they were. Their clients have to negotiate new ones. match must not use
// the table. Contexts that are shared are dropped at all servers; the error says that
// these could not be told yet.
func (t *Table) Drop(match func(ContextInfo) bool) (dropped []ContextInfo, err error) {
	var shared []*securityContext
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, c := range s.contexts {
			if info := c.info(); match(info) {
				s.remove(c)
				dropped = append(dropped, info)
				if c.record != nil && !c.kept.Load() {
					shared = append(shared, c)
				}
			}
		}
		s.mu.Unlock()
	}
	if in := t.shared.Load(); in != nil && len(shared) > 0 {
		err = in.remove(shared...)
	}
	return dropped, err
}

func (c *securityContext) info() ContextInfo {
	info := ContextInfo{
		KeyName: c.identity.KeyName, Principal: c.identity.Principal,
		Client: c.client, Created: c.created, Expires: c.expires, Messages: c.messages.Load(),
		Shared: c.filed.Load() && !c.kept.Load(), Maker: c.maker,
	}
	if c.mechanism != nil {
		info.Account, info.Service, info.Enctype = c.mechanism.Account(), c.mechanism.Service(), c.mechanism.SessionEnctype()
	}
	if last := c.lastUse.Load(); last != 0 {
		info.LastUse = time.Unix(last, 0)
	}
	return info
}

// verified notes a message that verified.
func (c *securityContext) verified(now time.Time) {
	c.messages.Add(1)
	if second := now.Unix(); c.lastUse.Load() != second {
		c.lastUse.Store(second)
	}
}
