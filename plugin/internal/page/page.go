// Package page is the status page of a server: read-only HTML, and the same views as JSON. It has no script, loads nothing from
// elsewhere, and changes nothing.
//
// A view is at a path such as /refused. With .json at its end, or with a request that prefers application/json, the answer is
// the JSON that the page was made from.
package page

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// A Source is what a page shows. Its methods are called by many goroutines at once.
type Source interface {
	// Status describes the server.
	Status() view.Status
	// Recent describes what happened lately in a zone, or everywhere if zone is "".
	Recent(zone string) view.Recent
	// History has the counts of a zone's last 24 hours, the oldest first.
	History(zone string) []view.Point
	// Contexts describes the established contexts, the newest first.
	Contexts() []view.Context
	// Search finds names by themselves, their addresses or their owners, up to a number of them, and says whether there are
	// more. It may end early with ctx.
	Search(ctx context.Context, words string, most int) (names []view.Name, more bool)
	// May answers whether a client may make an update, by the state of the zone as it is.
	May(Question) (view.Decision, error)
}

// A Question is whether a client may add a record, or delete an RRset.
type Question struct {
	Principal string `json:"principal"` // or the name of an HMAC key with a final dot, or "anonymous"
	Name      string `json:"name"`
	Type      string `json:"type"`
	Data      string `json:"data,omitempty"`   // of an added record; may be empty where a sample will do
	Delete    bool   `json:"delete,omitempty"` // delete the RRset
	Client    string `json:"client,omitempty"` // address that the update comes from; may be empty
}

//go:embed assets
var assets embed.FS

const (
	searchTime = 2 * time.Second
	mostNames  = 100
	maxQuery   = 512 // octets of a form's field

	mostContexts = 500 // that are listed
)

// securityHeaders are sent with every answer: nothing is loaded from elsewhere, no script runs, no other page may embed this one.
var securityHeaders = map[string]string{
	"Content-Security-Policy":      "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cache-Control":                "no-store",
}

// Handler answers requests for the page.
type Handler struct {
	source    Source
	hosts     func(host string) bool
	now       func() time.Time
	templates *template.Template
	styles    []byte
	icon      []byte
	// searching holds one value for each search, or list of contexts, under way. These keep a processor busy, which queries need
	// too.
	searching chan struct{}
}

// New returns the page of a source. Hosts reports whether a name in the header Host is one of the server: a page on the
// Internet whose name leads to the server's address (DNS rebinding) must not read what this page shows.
func New(source Source, hosts func(host string) bool) *Handler {
	h := &Handler{source: source, hosts: hosts, now: time.Now, searching: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/4))}
	h.templates = template.Must(template.New("page").Funcs(h.functions()).ParseFS(assets, "assets/*.html"))
	h.styles, h.icon = mustRead("assets/style.css"), mustRead("assets/icon.svg")
	return h
}

func mustRead(name string) []byte {
	b, err := assets.ReadFile(name)
	if err != nil {
		panic(err) // the file is part of the program
	}
	return b
}

// views are the pages by path. Each returns what its template, and the JSON, are made from.
var views = map[string]func(*Handler, *http.Request) (any, error){
	"/":         (*Handler).overview,
	"/search":   (*Handler).search,
	"/refused":  (*Handler).refused,
	"/changes":  (*Handler).changes,
	"/zones":    (*Handler).zones,
	"/zone":     (*Handler).zone,
	"/keys":     (*Handler).keys,
	"/contexts": (*Handler).contexts,
	"/may":      (*Handler).may,
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range securityHeaders {
		w.Header().Set(name, value)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "This page is read-only.", http.StatusMethodNotAllowed)
		return
	}
	if !h.hosts(hostOf(r.Host)) {
		http.Error(w, "This server has another name. Fix: ask for it by its address, or write its name into the property status.",
			http.StatusMisdirectedRequest)
		return
	}
	switch r.URL.Path {
	case "/style.css":
		h.send(w, r, "text/css; charset=utf-8", h.styles)
		return
	case "/icon.svg":
		h.send(w, r, "image/svg+xml", h.icon)
		return
	}
	path, wantsJSON := strings.CutSuffix(r.URL.Path, ".json")
	if path == "/index" {
		path = "/"
	}
	view, ok := views[path]
	if !ok {
		http.Error(w, "There is no such page.", http.StatusNotFound)
		return
	}
	if tooLong(r) {
		http.Error(w, "The question is too long.", http.StatusRequestURITooLong)
		return
	}
	data, err := view(h, r)
	if err != nil {
		h.fail(w, err)
		return
	}
	w.Header().Add("Vary", "Accept")
	if wantsJSON || prefersJSON(r) {
		h.sendJSON(w, r, data)
		return
	}
	var body bytes.Buffer
	if err := h.templates.ExecuteTemplate(&body, templateOf(path), frame{Path: path, Query: r.FormValue("q"), JSON: jsonLink(r, path), Now: h.now().UTC(), View: data}); err != nil {
		http.Error(w, "The page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h.send(w, r, "text/html; charset=utf-8", body.Bytes())
}

// frame is what every template gets.
type frame struct {
	Path, Query, JSON string
	Now               time.Time
	View              any
}

// templateOf returns the name of a view's template.
func templateOf(path string) string {
	if path == "/" {
		return "overview.html"
	}
	return strings.TrimPrefix(path, "/") + ".html"
}

// jsonLink is the address of the same view as JSON.
func jsonLink(r *http.Request, path string) string {
	link := path + ".json"
	if path == "/" {
		link = "/index.json"
	}
	if r.URL.RawQuery != "" {
		link += "?" + r.URL.Query().Encode()
	}
	return link
}

func tooLong(r *http.Request) bool {
	for _, values := range r.URL.Query() {
		for _, v := range values {
			if len(v) > maxQuery {
				return true
			}
		}
	}
	return false
}

// prefersJSON reports whether the client asks for JSON and not for a page, as programs do and browsers do not.
func prefersJSON(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html")
}

func (h *Handler) send(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func (h *Handler) sendJSON(w http.ResponseWriter, r *http.Request, data any) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetIndent("", "  ")
	if err := e.Encode(data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h.send(w, r, "application/json", body.Bytes())
}

// An absentError is about something that the server does not have.
type absentError string

func (e absentError) Error() string { return string(e) }

func (h *Handler) fail(w http.ResponseWriter, err error) {
	status := http.StatusServiceUnavailable
	if _, absent := err.(absentError); absent {
		status = http.StatusNotFound
	}
	http.Error(w, err.Error(), status)
}
