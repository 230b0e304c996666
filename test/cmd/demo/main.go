// Command demo shows what this project does, on a throw-away realm: a machine registers itself with its Kerberos
// ticket, others cannot touch what it registered, and every answer to a signed request is signed. It is what "make run"
// runs.
//
// With -cluster the zone is on etcd, and three servers serve it behind one address: see cluster.go. That is what
// "make run-cluster" runs.
//
// It then stays up, for trying more, until it is interrupted. With RUN_ONCE=1 it ends after the show. The exit status
// is 0 only when everything was as it should be.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

const (
	realmName   = "EXAMPLE.TEST"
	zone        = "example.test"
	reverseZone = "2.0.192.in-addr.arpa"
	service     = "DNS/ns1.example.test"
	ticketHosts = 3 // client1 … with a ticket each
)

func main() {
	onCluster := flag.Bool("cluster", false, "three servers on three members of etcd in place of one server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	show := run
	if *onCluster {
		show = runCluster
	}
	err := show(ctx)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Println("\nStopped; the realm and the servers are gone.")
	case err != nil:
		fmt.Fprintln(os.Stderr, "\nNOT AS IT SHOULD BE:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	d, err := start(ctx)
	if err != nil {
		return err
	}
	defer d.stop()
	if err := d.show(ctx); err != nil {
		return err
	}
	fmt.Println("\nAll as it should be.")
	if os.Getenv("RUN_ONCE") == "1" {
		return nil
	}
	return d.stayUp(ctx)
}

// site is the realm, the binary, and a credential cache for each client.
type site struct {
	dir    string
	binary string
	realm  *realm.Realm
	keytab string // of the service
	// Of client1, client2, …
	caches  []string
	keytabs []string
}

// demo is the server in its site.
type demo struct {
	*site
	server *server.Server
}

func client(n int) string { return fmt.Sprintf("client%d.%s", n, zone) }

// newSite starts the realm.
func newSite(ctx context.Context) (s *site, err error) {
	s = &site{}
	defer func() {
		if err != nil {
			s.remove()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "demo-"); err != nil {
		return nil, err
	}
	if s.realm, err = realm.Start(ctx, realm.Config{Name: realmName}); err != nil {
		return nil, err
	}
	if err := s.realm.AddPrincipal(service); err != nil {
		return nil, err
	}
	if s.keytab, err = s.realm.Keytab("dns.keytab", service); err != nil {
		return nil, err
	}
	for n := 1; n <= ticketHosts; n++ {
		principal := "host/" + client(n)
		if err := s.realm.AddPrincipal(principal); err != nil {
			return nil, err
		}
		cache, err := s.realm.CCache(principal)
		if err != nil {
			return nil, err
		}
		keytab, err := s.realm.Keytab(fmt.Sprintf("host%d.keytab", n), principal)
		if err != nil {
			return nil, err
		}
		s.caches, s.keytabs = append(s.caches, cache), append(s.keytabs, keytab)
	}
	s.binary, err = server.Build(ctx, s.dir)
	return s, err
}

func (s *site) remove() {
	if s.realm != nil {
		s.realm.Stop()
	}
	// Nothing uses it any more.
	_ = os.RemoveAll(s.dir)
}

func start(ctx context.Context) (d *demo, err error) {
	fmt.Printf("A Kerberos realm, %s, and CoreDNS for %s and %s, all in temporary directories …\n", realmName, zone, reverseZone)
	place, err := newSite(ctx)
	if err != nil {
		return nil, err
	}
	d = &demo{site: place}
	d.server, err = server.Start(ctx, server.Config{
		Binary:   d.binary,
		Corefile: fmt.Sprintf("%s %s {\n    bind 127.0.0.1\n    gsstsig {\n        keytab %s\n        database zones\n    }\n    errors\n}\n", zone, reverseZone, d.keytab),
		Probe:    zone,
	})
	if err != nil {
		d.stop()
		return nil, err
	}
	fmt.Printf("Serving on %s %d ms after its start.\n", d.server.Address, d.server.Started.Round(time.Millisecond).Milliseconds())
	return d, nil
}

func (d *demo) stop() {
	if d.server != nil {
		// Its directory and its process are gone either way.
		_ = d.server.Stop()
	}
	d.remove()
}

func (d *demo) show(ctx context.Context) error {
	const address, address6, reverse = "192.0.2.11", "2001:db8::11", "11." + reverseZone
	own := client(1)
	heading("%s registers itself, with its Kerberos ticket: nsupdate -g", own)
	for _, commands := range [][]string{
		{"update add " + own + " 300 A " + address, "update add " + own + " 300 AAAA " + address6},
		{"update add " + reverse + " 300 PTR " + own},
	} {
		if err := d.update(ctx, 1, "NOERROR", true, commands...); err != nil {
			return err
		}
	}

	heading("dig shows it")
	want := map[string]string{"A": address, "AAAA": address6, "PTR": own + "."}
	check := func() error {
		for _, question := range [][2]string{{own, "A"}, {own, "AAAA"}, {reverse, "PTR"}} {
			records, err := dnsutils.Dig(ctx, d.server.Address, question[0], question[1])
			if err != nil {
				return err
			}
			fmt.Printf("   %s\n", strings.Join(records, "\n   "))
			if len(records) != 1 || !slices.Contains(strings.Fields(records[0]), want[question[1]]) {
				return fmt.Errorf("dig %s %s shows %q, want %s alone", question[0], question[1], records, want[question[1]])
			}
		}
		return nil
	}
	if err := check(); err != nil {
		return err
	}

	const squat = "192.0.2.66"
	heading("a client without a ticket tries to move it: nsupdate")
	if err := d.update(ctx, 0, "REFUSED", false, "update delete "+own+" A", "update add "+own+" 300 A "+squat); err != nil {
		return err
	}
	heading("%s tries with its own ticket: nsupdate -g", client(2))
	if err := d.update(ctx, 2, "REFUSED", true, "update delete "+own+" A", "update add "+own+" 300 A "+squat); err != nil {
		return err
	}
	heading("dig shows what it did before")
	return check()
}

var step int

func heading(format string, args ...any) {
	step++
	fmt.Printf("\n%d. %s\n", step, fmt.Sprintf(format, args...))
}

// update runs nsupdate as the given client, 0 for one without a ticket, and compares the result.
func (d *demo) update(ctx context.Context, who int, rcode string, signed bool, commands ...string) error {
	if err := d.site.update(ctx, d.server.Address, who, rcode, signed, commands...); err != nil {
		return fmt.Errorf("%w\nThe server said:\n%s", err, d.server.Log())
	}
	return nil
}

// update runs nsupdate on the server at an address.
func (s *site) update(ctx context.Context, address netip.AddrPort, who int, rcode string, signed bool, commands ...string) error {
	u := dnsutils.Update{Server: address, Commands: commands}
	if who > 0 {
		env, err := s.realm.Env(s.caches[who-1])
		if err != nil {
			return err
		}
		u.Auth, u.Env = "-g", env
	}
	for _, command := range commands {
		fmt.Printf("   > %s\n", command)
	}
	outcome, err := u.Run(ctx)
	if err != nil {
		return err
	}
	answer := outcome.Rcode
	switch {
	case answer == "":
		answer = "no answer to an update"
	case outcome.Signed:
		answer += ", signed by the server (nsupdate verified it)"
	}
	fmt.Printf("   %s\n", answer)
	if outcome.Rcode != rcode || outcome.Signed != signed {
		return fmt.Errorf("nsupdate got %q, signed: %v; want %s, signed: %v. It said:\n%s",
			outcome.Rcode, outcome.Signed, rcode, signed, outcome.Output)
	}
	return nil
}

// stayUp tells how to go on by hand, and shows the server's log until the end.
func (d *demo) stayUp(ctx context.Context) error {
	config, err := d.realm.Config()
	if err != nil {
		return err
	}
	fmt.Printf(`
To try more, in another terminal:

   export KRB5_CONFIG=%s
   export KRB5CCNAME=FILE:%s      # host/%s; others below
   nsupdate -g <<END
   server %s %d
   update add printer.%s 300 A 192.0.2.30
   send
   END
   dig @%[4]s -p %[5]d printer.%[6]s

   tickets of the others   %s
   keytabs of all three    %s
   keytab of the server    %s
   Corefile                %s (SIGUSR1 to process %d loads it again)

Ctrl-C ends it all and leaves nothing behind. The server's log:

`, config, d.caches[0], client(1), d.server.Address.Addr(), d.server.Address.Port(), zone,
		strings.Join(d.caches[1:], " "), strings.Join(d.keytabs, " "), d.keytab, filepath.Join(d.server.Dir(), "Corefile"), d.server.PID())
	return follow(ctx, d.server.Log())
}

// follow prints what a server logs.
func follow(ctx context.Context, log *process.Output) error {
	shown := 0
	for {
		var text string
		err := log.Wait(ctx, shown, func(fresh string) bool {
			text = fresh
			return fresh != ""
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return errors.New("the server has ended")
		}
		fmt.Print(text)
		shown += len(text)
	}
}
