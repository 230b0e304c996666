package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// Bounds of what a client may take. It is the administrator, but a command that hangs must not be in the way of the next one.
const (
	maxConnections = 16
	maxHeader      = 16 << 10
	maxRequest     = 256 << 20 // an edit of a large zone
	headerTimeout  = 10 * time.Second
	readTimeout    = 2 * time.Minute
	writeTimeout   = 10 * time.Minute
	idleTimeout    = 30 * time.Second
	closeTimeout   = 5 * time.Second
)

// An Error is a failed operation.
type Error struct {
	Problem string `json:"error"`
	Fix     string `json:"fix,omitempty"`
	Status  int    `json:"-"` // of HTTP
}

// Error implements error.
func (e *Error) Error() string {
	return diagnose.Finding{Problem: e.Problem, Fix: e.Fix}.String()
}

// Failed makes an Error with a status of HTTP from another error.
func Failed(status int, err error) *Error {
	f := diagnose.FromError("", err)
	return &Error{Problem: f.Problem, Fix: f.Fix, Status: status}
}

// A Mux is the operations of a server.
type Mux struct {
	http.ServeMux
	most int64 // octets of a request; 0: maxRequest
}

// Handle adds an operation that takes a Q and answers with an R. An error that is no *Error has the status 422.
func Handle[Q, R any](m *Mux, operation string, do func(context.Context, Q) (R, error)) {
	m.HandleFunc("POST /v1/"+operation, func(w http.ResponseWriter, r *http.Request) {
		var request Q
		if err := m.readRequest(w, r, &request); err != nil {
			writeError(w, err)
			return
		}
		answer, err := do(r.Context(), request)
		if err != nil {
			writeError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = encoder(w).Encode(answer) // the client is gone
	})
}

// HandleList adds an operation that takes a Q and answers with a list of R, one a line.
func HandleList[Q, R any](m *Mux, operation string, do func(context.Context, Q) (iter.Seq2[R, error], error)) {
	m.HandleFunc("POST /v1/"+operation, func(w http.ResponseWriter, r *http.Request) {
		var request Q
		if err := m.readRequest(w, r, &request); err != nil {
			writeError(w, err)
			return
		}
		list, err := do(r.Context(), request)
		if err != nil {
			writeError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		out := bufio.NewWriter(w)
		e := encoder(out)
		for item, err := range list {
			if err == nil {
				err = e.Encode(item)
			}
			if err != nil {
				// What was sent cannot be taken back.
				text, _ := json.Marshal(asError(err))
				w.Header().Set(http.TrailerPrefix+errorTrailer, string(text))
				break
			}
		}
		_ = out.Flush() // the client is gone
	})
}

func encoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

func (m *Mux) readRequest(w http.ResponseWriter, r *http.Request, into any) error {
	most := m.most
	if most == 0 {
		most = maxRequest
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return &Error{Problem: fmt.Sprintf("the request has more than %d octets", large.Limit), Status: http.StatusRequestEntityTooLarge}
		}
		return &Error{Problem: "the request is not what the operation takes: " + err.Error(), Status: http.StatusBadRequest}
	}
	return nil
}

// errorTrailer is the trailer of an answer whose list broke off.
const errorTrailer = "Control-Error"

func asError(err error) *Error {
	var failed *Error
	if !errors.As(err, &failed) {
		failed = Failed(http.StatusUnprocessableEntity, err)
	}
	return failed
}

func writeError(w http.ResponseWriter, err error) {
	failed := asError(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(failed.Status)
	_ = encoder(w).Encode(failed) // the client is gone
}

// A Server serves a control socket.
type Server struct {
	http http.Server
	done chan struct{}
}

// Serve answers on a socket of Listen, until Close.
func Serve(l net.Listener, m *Mux) *Server {
	s := &Server{done: make(chan struct{}), http: http.Server{
		Handler:           m,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
	}}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(netutil.LimitListener(l, maxConnections)) // ends with ErrServerClosed
	}()
	return s
}

// Close removes the socket, and waits a little for operations that are under way.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	<-s.done
	return err
}
