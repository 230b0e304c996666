//go:build e2e

package realm_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
)

func start(t *testing.T, ctx context.Context, config realm.Config) *realm.Realm {
	t.Helper()
	r, err := realm.Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	return r
}

// TestSideBySide runs realms of the same name at the same time, each with its own keys.
func TestSideBySide(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			r, err := realm.Start(t.Context(), realm.Config{})
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Stop()
			if err := errors.Join(r.AddPrincipal("DNS/ns1.example.test"), r.AddPrincipal("user")); err != nil {
				t.Error(err)
				return
			}
			cache, err := r.CCache("user")
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := r.Ticket(cache, "DNS/ns1.example.test"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestTicketTypes makes sure that session key and service key are what a test asks for, each for itself.
func TestTicketTypes(t *testing.T) {
	t.Parallel()
	r := start(t, t.Context(), realm.Config{Enctypes: append([]realm.Enctype{realm.RC4}, realm.AES...)})
	if err := r.AddPrincipal("user"); err != nil {
		t.Fatal(err)
	}
	types := append([]realm.Enctype{realm.RC4}, realm.AES...)
	for _, key := range types {
		service := "DNS/" + key.String() + ".example.test"
		if err := r.AddPrincipal(service, key); err != nil {
			t.Fatal(err)
		}
		for _, session := range types {
			cache, err := r.CCache("user", session)
			if err != nil {
				t.Fatal(err)
			}
			ticket, err := r.Ticket(cache, service, session)
			if err != nil {
				t.Fatal(err)
			}
			if ticket.Session != session || ticket.Key != key {
				t.Errorf("asked for a session key of %v in a key of %v, got %+v", session, key, ticket)
			}
		}
	}
}

// TestErrors makes sure that what kadmin.local only prints comes back as an error.
func TestErrors(t *testing.T) {
	t.Parallel()
	r := start(t, t.Context(), realm.Config{})
	if err := r.AddPrincipal("user"); err != nil {
		t.Fatal(err)
	}
	if err := r.AddPrincipal("user"); err == nil {
		t.Error("a principal was added twice")
	}
	if _, err := r.Keytab("k", "nobody"); err == nil {
		t.Error("a keytab for nobody")
	}
	if err := r.ChangeKeys("nobody"); err == nil {
		t.Error("changed keys of nobody")
	}
	if _, err := r.CCache("nobody"); err == nil {
		t.Error("a ticket for nobody")
	}
}

// TestEndsWithContext makes sure that nothing stays behind.
func TestEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r := start(t, ctx, realm.Config{})
	cancel()
	r.Stop() // waits for the one that the context has caused
	if _, err := os.Stat(r.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
}
