package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
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
	most     int64 // octets of a request; 0: maxRequest
	requests map[string]reflect.Type
}

// ServeHTTP implements http.Handler. What is no operation has an answer of the same form as those of operations.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := m.Handler(r); pattern != "" {
		m.ServeMux.ServeHTTP(w, r)
		return
	}
	operation := strings.TrimPrefix(r.URL.Path, "/v1/")
	if _, found := m.requests[operation]; found {
		w.Header().Set("Allow", http.MethodPost)
		writeError(w, &Error{Problem: fmt.Sprintf("the method %s is not POST", r.Method), Status: http.StatusMethodNotAllowed,
			Fix: "send the request by POST, with one JSON object: {} if the operation needs nothing"})
		return
	}
	writeError(w, &Error{Problem: fmt.Sprintf("there is no operation %q", r.URL.Path), Status: http.StatusNotFound,
		Fix: "use the commands of the same release as the server, which takes POST of /v1/ and " + strings.Join(slices.Sorted(maps.Keys(m.requests)), ", ")})
}

// Requests yields the operations, each with the fields of its request. The fields of an object stand in brackets after its own.
func (m *Mux) Requests() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, operation := range slices.Sorted(maps.Keys(m.requests)) {
			if !yield(operation, fields(m.requests[operation])) {
				return
			}
		}
	}
}

// handle adds an operation that takes a Q.
func handle[Q any](m *Mux, operation string, do func(http.ResponseWriter, *http.Request, Q)) {
	if m.requests == nil {
		m.requests = make(map[string]reflect.Type)
	}
	m.requests[operation] = reflect.TypeFor[Q]()
	m.HandleFunc("POST /v1/"+operation, func(w http.ResponseWriter, r *http.Request) {
		var request Q
		if err := m.readRequest(w, r, &request); err != nil {
			writeError(w, err)
			return
		}
		do(w, r, request)
	})
}

// Handle adds an operation that takes a Q and answers with an R. An error that is no *Error has the status 422.
func Handle[Q, R any](m *Mux, operation string, do func(context.Context, Q) (R, error)) {
	handle(m, operation, func(w http.ResponseWriter, r *http.Request, request Q) {
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
	handle(m, operation, func(w http.ResponseWriter, r *http.Request, request Q) {
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
	err := d.Decode(into)
	if err == nil {
		switch _, err = d.Token(); {
		case errors.Is(err, io.EOF):
			return nil
		case err == nil:
			err = errTrailing
		}
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &Error{Problem: fmt.Sprintf("the request has more than %d octets", large.Limit), Status: http.StatusRequestEntityTooLarge}
	}
	problem, fix := explainRequest(err, reflect.TypeOf(into).Elem())
	return &Error{Problem: "the request is not what the operation takes: " + problem, Fix: fix, Status: http.StatusBadRequest}
}

var errTrailing = errors.New("something follows the object")

// explainRequest says what is wrong with a request that should be an object of a type, and how to mend it.
func explainRequest(err error, request reflect.Type) (problem, fix string) {
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		field := "the request"
		if wrong.Field != "" {
			field = fmt.Sprintf("field %q", wrong.Field)
		}
		article := "a"
		if strings.HasPrefix(wrong.Value, "array") || strings.HasPrefix(wrong.Value, "object") {
			article = "an"
		}
		needed := kindOf(wrong.Type)
		return fmt.Sprintf("%s is %s %s, not %s", field, article, wrong.Value, needed), "write " + needed + " there"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends early", "send one JSON object, {} if the operation needs nothing"
	case strings.HasPrefix(err.Error(), unknownField):
		return "unknown field " + strings.TrimPrefix(err.Error(), unknownField), "leave it out; the operation takes " + fields(request)
	}
	return err.Error(), "send one JSON object and nothing after it"
}

// unknownField is how an error of encoding/json about a field begins that the type does not have.
const unknownField = "json: unknown field "

// kindOf says what JSON a type of Go is read from.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("a whole number from 0 to %d", ^uint64(0)>>(64-t.Bits()))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return fmt.Sprintf("a whole number of %d bits", t.Bits())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "an array"
	}
	return "an object"
}

// fields lists the fields of a request.
func fields(t reflect.Type) string {
	var list []string
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		of := field.Type
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() == reflect.Struct {
			name += " (" + fields(of) + ")"
		}
		list = append(list, name)
	}
	if len(list) == 0 {
		return "no fields"
	}
	return strings.Join(list, ", ")
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
