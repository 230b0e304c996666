//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// rotations are the ways in which a service's keys get into its keytab.
var rotations = []struct {
	name   string
	rotate func(r *realm.Realm, keytab, service string) error
}{
	{"ktadd, in place", func(r *realm.Realm, keytab, service string) error { return r.ChangeKeysInto(keytab, service) }},
	{"only the new keys, by renaming", func(r *realm.Realm, keytab, service string) error {
		fresh, err := changedKeys(r, keytab, service)
		if err != nil {
			return err
		}
		return os.Rename(fresh, keytab)
	}},
	{"only the new keys, in place", func(r *realm.Realm, keytab, service string) error {
		fresh, err := changedKeys(r, keytab, service)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(fresh)
		if err != nil {
			return err
		}
		return errors.Join(os.WriteFile(keytab, content, 0o600), os.Remove(fresh))
	}},
}

// changedKeys changes a service's keys and puts them into a file beside the keytab.
func changedKeys(r *realm.Realm, keytab, service string) (string, error) {
	if err := r.ChangeKeys(service); err != nil {
		return "", err
	}
	return r.Keytab(keytab+".new", service)
}

// rotating is a client that makes a context and updates with it, over and over.
type rotating struct {
	name     string
	fresh    bool          // it gets a new ticket after every rotation
	rounds   atomic.Int64  // with a ticket of the present rotation, if fresh
	rotation *atomic.Int64 // how many are over
}

// TestRotationUnderLoad changes the service's keys six times while eight clients update. Neither those with old tickets
// nor those with new ones may see a failure, although they do not wait for the server to notice the new keys.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	const clients, passes, roundsBetween = 8, 2, 3
	const host = "rotation.example.test"
	ctx := testContext(t)
	keytab := ownService(t, host)
	address := startCoreDNS(t, server.Config{Corefile: block(host, keytab), Probe: host}).Address
	var (
		all       sync.WaitGroup
		rotation  atomic.Int64
		stop      = make(chan struct{})
		crowd     []*rotating
		handshake atomic.Int64
	)
	defer all.Wait()
	halt := sync.OnceFunc(func() { close(stop) })
	defer halt()
	for n := range clients {
		c := &rotating{name: fmt.Sprintf("client%d.%s", n, host), fresh: n%2 == 0, rotation: &rotation}
		principal := "host/" + c.name
		if err := shared.realm.AddPrincipal(principal); err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, c)
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := c.work(t, address, principal, host, stop, &handshake); err != nil {
					t.Errorf("%s (new tickets: %v, %d rotations): %v", c.name, c.fresh, rotation.Load(), err)
					return
				}
			}
		})
	}
	// Every client has had success since the last rotation, before the next.
	settle := func() {
		t.Helper()
		before := make([]int64, len(crowd))
		for i, c := range crowd {
			before[i] = c.rounds.Load()
		}
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for i, c := range crowd {
			for c.rounds.Load() < before[i]+roundsBetween {
				if t.Failed() {
					t.FailNow()
				}
				select {
				case <-ctx.Done():
					t.Fatalf("%s does not get on: %v", c.name, ctx.Err())
				case <-ticker.C:
				}
			}
		}
	}
	settle()
	for range passes {
		for _, way := range rotations {
			if err := way.rotate(shared.realm, keytab, "DNS/"+host); err != nil {
				t.Fatalf("%s: %v", way.name, err)
			}
			rotation.Add(1)
			settle()
		}
	}
	halt()
	all.Wait()
	t.Logf("%d contexts over %d rotations", handshake.Load(), rotation.Load())
}

// work is what a client does with one login: all that there is, or until there are new keys.
func (c *rotating) work(t *testing.T, address netip.AddrPort, principal, host string, stop <-chan struct{}, handshakes *atomic.Int64) error {
	began := c.rotation.Load()
	cache, err := shared.realm.CCache(principal)
	if err != nil {
		return err
	}
	env, err := shared.realm.Env(cache)
	if err != nil {
		return err
	}
	client, err := gssclient.Start(shared.ctx, gssclient.Config{
		Program: shared.client, Env: env, Server: address, Service: "DNS/" + host + "@" + realmName,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if c.fresh && c.rotation.Load() != began {
			return nil
		}
		network := []string{"udp", "tcp"}[n%2]
		handshake, err := client.Negotiate(network)
		if err != nil {
			return err
		}
		if !handshake.Established || handshake.MIC != gssclient.MICOK {
			return fmt.Errorf("no context: %+v", handshake)
		}
		handshakes.Add(1)
		m := new(dns.Msg).SetUpdate(host + ".")
		m.Insert([]dns.RR{&dns.TXT{
			Hdr: dns.RR_Header{Name: c.name + ".", Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{fmt.Sprint(n % 50)},
		}})
		reply, err := client.Exchange(network, m, gssclient.Misbehaviour{})
		if err != nil {
			return err
		}
		if reply.Message.Rcode != dns.RcodeSuccess || reply.MIC != gssclient.MICOK {
			return fmt.Errorf("update: %s, TSIG error %d, signature %s", dns.RcodeToString[reply.Message.Rcode], reply.TSIGError, reply.MIC)
		}
		// The C client keeps its key's name, and may have it again only when the server has forgotten it.
		if reply, err = client.Delete(network, gssclient.Misbehaviour{}); err != nil || reply.TKEYError != 0 {
			return fmt.Errorf("delete: %+v, %w", reply, err)
		}
		c.rounds.Add(1)
	}
}

// TestSameVersionAnotherKey deletes the service's principal and creates it again, as when a trust or a machine's account
// is re-established: the new key has the number of the old one.
func TestSameVersionAnotherKey(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		append bool // to the keytab, in which the old key stays
	}{{"keytab replaced", false}, {"keytab extended", true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			host := fmt.Sprintf("recreated-%v.example.test", test.append)
			name := "DNS/" + host
			keytab := ownService(t, host)
			s := startCoreDNS(t, server.Config{Corefile: block(host, keytab), Probe: host})
			config := gssclient.Config{Server: s.Address, Service: name + "@" + realmName}
			old := logIn(t, host1)
			c := negotiated(t, old, config, "tcp")
			if err := errors.Join(shared.realm.DeletePrincipal(name), shared.realm.AddPrincipal(name)); err != nil {
				t.Fatal(err)
			}
			if test.append {
				if _, err := shared.realm.Keytab(keytab, name); err != nil {
					t.Fatal(err)
				}
			} else {
				fresh, err := shared.realm.Keytab(filepath.Join(filepath.Dir(keytab), "new"), name)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(fresh, keytab); err != nil {
					t.Fatal(err)
				}
			}
			for n, who := range []login{old, logIn(t, host1)} {
				update(t, c, "udp", host, "context.before."+host+". 300 A 192.0.2.1")
				update(t, negotiated(t, who, config, "tcp"), "udp", host, fmt.Sprintf("context%d.%s. 300 A 192.0.2.1", n, host))
			}
			awaitLine(t, s.Log(), 0, "changed", name, "version 1")
		})
	}
}
