package gsstsig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/netutil"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/page"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/permission"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

const (
	pageConnections = 64 // at a time
	pageTimeout     = 10 * time.Second
)

// pageServer is a status page that is served.
type pageServer struct{ server *http.Server }

// acquirePage serves the status page of the process on an address for a block, unless another block does already. Recent events
// are kept from now on.
func (p *process) acquirePage(b *block, address string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.pages[address]
	if !ok {
		listening, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("plugin/%s: %w", pluginName, diagnose.WithFix(fmt.Errorf("%s: status %s: %w", b.service.Load().Position, address, err),
				"name an address of this machine and a port that is free"))
		}
		s = &shared[pageServer]{value: newPageServer(p, address), users: make(map[*block]bool)}
		p.pages[address] = s
		p.audit.watchers.Add(1)
		// It ends with an error in every case: when the page is released, http.ErrServerClosed.
		go s.value.serve(netutil.LimitListener(listening, pageConnections))
		log.Infof("status page: http://%s/", listening.Addr())
	}
	s.users[b] = true
	return nil
}

func newPageServer(p *process, address string) pageServer {
	names := []string{address}
	if name, err := os.Hostname(); err == nil {
		names = append(names, name)
	}
	return pageServer{&http.Server{
		Handler:           page.New(pageSource{p}, page.Hosts(names...)),
		ReadHeaderTimeout: pageTimeout,
		ReadTimeout:       pageTimeout,
		WriteTimeout:      3 * pageTimeout,
		IdleTimeout:       3 * pageTimeout,
		MaxHeaderBytes:    16 << 10,
	}}
}

func (s pageServer) serve(l net.Listener) {
	if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		log.Errorf("status page: %v", err)
	}
}

// pageSource is what the status page of a process shows.
type pageSource struct{ *process }

var _ page.Source = pageSource{}

// Status implements page.Source.
func (s pageSource) Status() view.Status { return s.status() }

// Recent implements page.Source.
func (s pageSource) Recent(zone string) view.Recent { return s.recent(zone) }

// History implements page.Source.
func (s pageSource) History(zone string) []view.Point { return s.history(zone) }

// Contexts implements page.Source.
func (s pageSource) Contexts() []view.Context {
	list := s.contextViews()
	sortNewest(list)
	return list
}

// Search implements page.Source.
func (s pageSource) Search(ctx context.Context, words string, most int) ([]view.Name, bool) {
	return s.search(ctx, words, most)
}

// May implements page.Source. The answer is that of the zone that has the name.
func (s pageSource) May(q page.Question) (view.Decision, error) {
	id, err := permission.Identity(q.Principal, q.Client, nil)
	if err != nil {
		return view.Decision{}, err
	}
	name := dns.Fqdn(q.Name)
	var data []string
	if q.Data != "" {
		data = []string{q.Data}
	}
	update, err := permission.Change(name, q.Type, data, q.Delete)
	if err != nil {
		return view.Decision{}, err
	}
	var in *servedBy
	for _, z := range s.served() {
		if dns.IsSubDomain(z.Origin(), name) && (in == nil || len(z.Origin()) > len(in.Origin())) {
			in = &z
		}
	}
	for _, h := range s.handlers() {
		for _, origin := range h.unavailable() {
			if dns.IsSubDomain(origin, name) && (in == nil || len(origin) > len(in.Origin())) {
				return view.Decision{}, unavailableError([]*Handler{h}, origin)
			}
		}
	}
	if in == nil {
		return view.Decision{}, fmt.Errorf("%s is in no zone of this server", name)
	}
	d, err := permission.Decide(in.handler.service.Realms, in.handler.policy(in.Origin()), in.Zone, id, update)
	if err != nil {
		return view.Decision{}, err
	}
	return permission.View(in.Origin(), id, update, d), nil
}
