//go:build e2e

package etcd

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

func begin(t *testing.T, config Config) (context.Context, *Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	c, err := Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return ctx, c
}

func client(t *testing.T, c *Cluster, members ...int) *clientv3.Client {
	t.Helper()
	client, err := c.Client(members...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// put tries again: what a member has sent to a leader that is gone is lost, and a new leader takes a second to be found.
func put(ctx context.Context, t *testing.T, client *clientv3.Client, key, value string) {
	t.Helper()
	for {
		_, err := client.Put(ctx, key, value)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		t.Log(err)
	}
}

func expect(ctx context.Context, t *testing.T, client *clientv3.Client, key, value string) {
	t.Helper()
	answer, err := client.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	if len(answer.Kvs) > 0 {
		got = string(answer.Kvs[0].Value)
	}
	if got != value {
		t.Fatalf("%s is %q, want %q", key, got, value)
	}
}

// TestCluster loses members one by one, and moves the leader.
func TestCluster(t *testing.T) {
	ctx, c := begin(t, Config{Members: 3})
	put(ctx, t, client(t, c), "a", "1")
	c.Kill(0)
	put(ctx, t, client(t, c, 1), "a", "2")
	if err := c.Restart(ctx, 0); err != nil {
		t.Fatal(err)
	}
	expect(ctx, t, client(t, c, 0), "a", "2")
	for _, to := range []int{1, 2} {
		if err := c.MoveLeader(ctx, to); err != nil {
			t.Fatal(err)
		}
		if leader, err := c.Leader(ctx); err != nil || leader != to {
			t.Fatalf("%d leads: %v", leader, err)
		}
	}
	if err := c.Pause(0); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := client(t, c, 0).Get(short, "a"); err == nil {
		t.Error("a member that is paused answers")
	}
	if err := c.Resume(0); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(ctx, 0); err != nil {
		t.Fatal(err)
	}
	expect(ctx, t, client(t, c, 0), "a", "2")
}

func TestTLS(t *testing.T) {
	ctx, c := begin(t, Config{TLS: true})
	put(ctx, t, client(t, c), "a", "1")
	config, err := c.OtherTLSFiles().Load()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), TLS: config, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := stranger.Get(short, "a"); err == nil {
		t.Error("a client with a certificate of another authority is served")
	}
}

func TestBackup(t *testing.T) {
	ctx, c := begin(t, Config{})
	put(ctx, t, client(t, c), "a", "1")
	if err := c.Save(ctx); err != nil {
		t.Fatal(err)
	}
	put(ctx, t, client(t, c), "a", "2")
	if err := c.Restore(ctx); err != nil {
		t.Fatal(err)
	}
	expect(ctx, t, client(t, c), "a", "1")
}
