//go:build e2e

package etcd

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	etcdtest "github.com/gsstsig/coredns-gsstsig/internal/test/etcd"
	"github.com/gsstsig/coredns-gsstsig/internal/test/link"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// TestRefusedAfterAnswerLost: when an attempt whose answer was lost is followed by one that etcd refuses for good, the outcome is
// unknown, and not a failure.
func TestRefusedAfterAnswerLost(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{TLS: true})
	way, first := startLink(t, c, 0)
	other, second := startLink(t, c, 0)
	admin := etcdClient(t, c)
	try := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	try(admin.UserAdd(ctx, "root", "secret of root"))
	try(admin.UserGrantRole(ctx, "root", "root"))
	try(admin.RoleAdd(ctx, "dns"))
	try(admin.RoleGrantPermission(ctx, "dns", DefaultPrefix, clientv3.GetPrefixRangeEnd(DefaultPrefix), clientv3.PermissionType(clientv3.PermReadWrite)))
	try(admin.UserAdd(ctx, "dns", "secret"))
	try(admin.UserGrantRole(ctx, "dns", "dns"))
	try(admin.AuthEnable(ctx))
	config, err := c.TLSFiles().Load()
	if err != nil {
		t.Fatal(err)
	}
	root, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), TLS: config, Username: "root", Password: "secret of root", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	endpoints := []string{strings.Replace(first, "http:", "https:", 1), strings.Replace(second, "http:", "https:", 1)}
	r := load(ctx, t, openZone(t, connectWith(t, Options{Endpoints: endpoints, Server: "a", TLS: config, Username: "dns", Password: "secret"}), ZoneOptions{}))
	way.Cut(link.FromServer)
	other.Cut(link.ToServer) // no second attempt before the right is gone
	outcome := make(chan error, 1)
	go func() {
		_, _, err := r.z.Propose(ctx, r.at, r.batch(nil, []store.Record{address("a.example.test.", 1)}))
		outcome <- err
	}()
	for {
		answer, err := root.Get(ctx, r.z.headKey())
		if err != nil {
			t.Fatal(err)
		}
		if answer.Kvs[0].ModRevision > r.at.Revision {
			break
		}
	}
	try(root.UserRevokeRole(ctx, "dns", "dns"))
	other.Cut(0)
	if err := <-outcome; !errors.Is(err, store.ErrUnknown) {
		t.Errorf("a commit that was done: %v", err)
	}
}

// TestAccess uses certificates, a user and a role as an administrator would set them up.
func TestAccess(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{Members: 3, TLS: true})
	admin := etcdClient(t, c)
	try := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	try(admin.UserAdd(ctx, "root", "secret of root"))
	try(admin.UserGrantRole(ctx, "root", "root"))
	try(admin.RoleAdd(ctx, "dns"))
	try(admin.RoleGrantPermission(ctx, "dns", DefaultPrefix, clientv3.GetPrefixRangeEnd(DefaultPrefix), clientv3.PermissionType(clientv3.PermReadWrite)))
	try(admin.UserAdd(ctx, "dns", "secret"))
	try(admin.UserGrantRole(ctx, "dns", "dns"))
	try(admin.AuthEnable(ctx))
	config, err := c.TLSFiles().Load()
	if err != nil {
		t.Fatal(err)
	}
	options := Options{Endpoints: c.Endpoints(), Server: "a", TLS: config, Username: "dns", Password: "secret"}
	cluster := connectWith(t, options)
	r := load(ctx, t, openZone(t, cluster, ZoneOptions{}))
	f := follow(ctx, r.z, load(ctx, t, r.z))
	if err := r.commit(ctx, func() store.Batch { return r.batch(nil, []store.Record{address("a.example.test.", 1)}) }); err != nil {
		t.Fatal(err)
	}
	f.until(ctx, t, "the batch", func() bool { return f.replica.at.Sequence == r.at.Sequence })
	mustAdd(ctx, t, cluster.Contexts(), "one", "1", true)
	mustSync(ctx, t, cluster.Contexts())
	if s, err := cluster.Status(ctx); err != nil || len(s.Zones) != 1 || s.Members[0].Version == "" || s.Members[0].Quota != 2<<30 {
		t.Errorf("%+v, %v", s, err)
	}
	// Members forget tokens when they restart.
	for i := range 3 {
		c.Kill(i)
		if err := c.Restart(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		err := r.commit(ctx, func() store.Batch { return r.batch(nil, []store.Record{address("b.example.test.", byte(i))}) })
		if err != nil && !errors.Is(err, store.ErrUnknown) {
			t.Fatal(err)
		}
	}
	f.until(ctx, t, "the batches", func() bool { return f.replica.at.Sequence == r.at.Sequence })

	// The password is another one, and the file has it before it is needed.
	var changed atomic.Bool
	renewing := options
	renewing.Server, renewing.Endpoints = "b", options.Endpoints[:1] // another member would be logged in to again in any case
	renewing.Credentials = func() (string, string, error) {
		if changed.Load() {
			return "dns", "new secret", nil
		}
		return "dns", "secret", nil
	}
	renewed := load(ctx, t, openZone(t, connectWith(t, renewing), ZoneOptions{}))
	changed.Store(true)
	root, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), TLS: config, Username: "root", Password: "secret of root", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	try(root.UserChangePassword(ctx, "dns", "new secret"))
	for _, err = renewed.z.Confirm(ctx, renewed.at); err != nil; _, err = renewed.z.Confirm(ctx, renewed.at) {
		if ctx.Err() != nil {
			t.Fatalf("after the password has changed: %v", err)
		}
	}
	try(root.UserChangePassword(ctx, "dns", "secret"))

	for _, test := range []struct {
		what, text string
		change     func(*Options)
	}{
		{"wrong password", "authentication failed", func(o *Options) { o.Password = "wrong" }},
		{"no password", "permission denied", func(o *Options) { o.Username, o.Password = "", "" }},
		{"other prefix", "permission denied", func(o *Options) { o.Prefix = "/other/" }},
		{"no certificate", "", func(o *Options) { o.TLS = o.TLS.Clone(); o.TLS.Certificates = nil }},
		{"other authority", "", func(o *Options) {
			if o.TLS, err = c.OtherTLSFiles().Load(); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		o := options
		test.change(&o)
		z := openZone(t, connectWith(t, o), ZoneOptions{})
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, _, err := z.Load(short, r)
		cancel()
		switch {
		case err == nil:
			t.Errorf("%s: accepted", test.what)
		case test.text != "" && (!strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), "Fix: ")):
			t.Errorf("%s: %v", test.what, err)
		case strings.Contains(err.Error(), o.Password) && o.Password != "":
			t.Errorf("%s: the error tells the password: %v", test.what, err)
		default:
			t.Logf("%s: %v", test.what, err)
		}
	}
}
