package page

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// How many clients and changes the overview has.
const (
	overviewClients = 5
	overviewChanges = 8
)

// zoneView is a zone with its last 24 hours.
type zoneView struct {
	view.Zone
	History []view.Point `json:"history"`
}

type overview struct {
	Status view.Status `json:"status"`
	Zones  []zoneView  `json:"zones"`
	Recent view.Recent `json:"recent"`
}

func (h *Handler) overview(*http.Request) (any, error) {
	v := overview{Status: h.source.Status(), Recent: h.source.Recent("")}
	v.Zones = h.withHistory(v.Status.Zones)
	v.Recent.Refused = first(v.Recent.Refused, overviewClients)
	v.Recent.Handshakes = first(v.Recent.Handshakes, overviewClients)
	v.Recent.Signatures = first(v.Recent.Signatures, overviewClients)
	v.Recent.Changes = first(v.Recent.Changes, overviewChanges)
	return v, nil
}

func (h *Handler) withHistory(zones []view.Zone) []zoneView {
	list := make([]zoneView, len(zones))
	for i, z := range zones {
		list[i] = zoneView{z, h.source.History(z.Zone)}
	}
	return list
}

func first[T any](list []T, most int) []T { return list[:min(most, len(list))] }

// mostClients is how many clients of each kind a page lists. The search finds the others.
const mostClients = 100

// latest leaves out all but the latest clients: anyone can send what is refused, and every zone keeps some hundred of them.
func latest(r view.Recent) view.Recent {
	r.Refused, r.Unsigned = first(r.Refused, mostClients), first(r.Unsigned, mostClients)
	r.Handshakes, r.Signatures = first(r.Handshakes, mostClients), first(r.Signatures, mostClients)
	return r
}

type searched struct {
	Query  string      `json:"query"`
	Names  []view.Name `json:"names"`
	More   bool        `json:"more"`
	Recent view.Recent `json:"recent"` // events that have the words, and failed handshakes from addresses of the names
	// Contexts are the newest of the clients whose principal, account or address has the words, ContextsFound the number of all.
	Contexts      []view.Context `json:"contexts"`
	ContextsFound int            `json:"contexts_found"`
}

var errBusy = errors.New("other searches are under way. Fix: try again in a moment")

func (h *Handler) search(r *http.Request) (any, error) {
	v := searched{Query: strings.TrimSpace(r.FormValue("q")), Names: []view.Name{}, Contexts: []view.Context{}}
	if v.Query == "" {
		return v, nil
	}
	if !h.begin() {
		return nil, errBusy
	}
	defer h.end()
	ctx, cancel := context.WithTimeout(r.Context(), searchTime)
	defer cancel()
	v.Names, v.More = h.source.Search(ctx, v.Query, mostNames)
	v.Recent = latest(about(h.source.Recent(""), v.Query, addressesOf(v.Names, v.Query)))
	contexts := contextsAbout(h.source.Contexts(), v.Query)
	v.Contexts, v.ContextsFound = first(contexts, mostNames), len(contexts)
	return v, nil
}

// begin reports whether a search, or another view whose cost grows with what the server holds, may begin. If so, end ends it.
func (h *Handler) begin() bool {
	select {
	case h.searching <- struct{}{}:
		return true
	default:
		return false
	}
}

func (h *Handler) end() { <-h.searching }

func (h *Handler) refused(*http.Request) (any, error) { return latest(h.source.Recent("")), nil }

type changed struct {
	Zone    string        `json:"zone,omitempty"` // empty: all
	Zones   []string      `json:"zones"`
	Changes []view.Change `json:"changes"`
}

func (h *Handler) changes(r *http.Request) (any, error) {
	v := changed{Zone: r.FormValue("zone"), Zones: []string{}}
	for _, z := range h.source.Status().Zones {
		v.Zones = append(v.Zones, z.Zone)
	}
	if v.Zone != "" && !slices.Contains(v.Zones, v.Zone) {
		return nil, absentError("The server has no zone of that name.")
	}
	v.Changes = h.source.Recent(v.Zone).Changes
	return v, nil
}

func (h *Handler) zones(*http.Request) (any, error) {
	return h.withHistory(h.source.Status().Zones), nil
}

type oneZone struct {
	zoneView
	Recent view.Recent `json:"recent"`
}

func (h *Handler) zone(r *http.Request) (any, error) {
	name := r.FormValue("name")
	for _, z := range h.source.Status().Zones {
		if z.Zone == name {
			return oneZone{zoneView{z, h.source.History(name)}, latest(h.source.Recent(name))}, nil
		}
	}
	return nil, absentError("The server has no zone of that name.")
}

func (h *Handler) keys(*http.Request) (any, error) { return h.source.Status().Keys, nil }

type contexts struct {
	view.Contexts
	Total  int            `json:"total"`    // of the contexts that could be listed
	Newest []view.Context `json:"contexts"` // the newest of them
}

func (h *Handler) contexts(*http.Request) (any, error) {
	if !h.begin() {
		return nil, errBusy
	}
	defer h.end()
	list := h.source.Contexts()
	return contexts{Contexts: h.source.Status().Contexts, Total: len(list), Newest: first(list, mostContexts)}, nil
}

type mayView struct {
	Question Question       `json:"question"`
	Decision *view.Decision `json:"decision,omitempty"`
	Error    string         `json:"error,omitempty"` // what is wrong with the question
}

func (h *Handler) may(r *http.Request) (any, error) {
	v := mayView{Question: Question{
		Principal: strings.TrimSpace(r.FormValue("principal")), Name: strings.TrimSpace(r.FormValue("name")),
		Type: strings.ToUpper(cmp.Or(strings.TrimSpace(r.FormValue("type")), "A")), Data: strings.TrimSpace(r.FormValue("data")),
		Delete: r.FormValue("delete") != "", Client: strings.TrimSpace(r.FormValue("client")),
	}}
	if v.Question.Principal == "" || v.Question.Name == "" {
		return v, nil
	}
	d, err := h.source.May(v.Question)
	if err != nil {
		v.Error = err.Error()
		return v, nil
	}
	v.Decision = &d
	return v, nil
}
