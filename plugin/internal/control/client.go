package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// ErrNotRunning says that no process serves the socket.
var ErrNotRunning = errors.New("the server is not running, or its control socket is off or elsewhere")

// A Client asks a server for operations.
type Client struct {
	path string
	http http.Client
}

// NewClient makes a client of the server at a socket. It does not connect yet.
func NewClient(path string) *Client {
	var d net.Dialer
	return &Client{path: path, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := d.DialContext(ctx, "unix", path)
			if err != nil {
				return nil, err
			}
			if err := checkPeer(path, conn); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
			return conn, nil
		},
	}}}
}

// Close ends the client's connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Call asks for an operation of Handle.
func Call[R, Q any](ctx context.Context, c *Client, operation string, request Q) (answer R, err error) {
	response, err := c.post(ctx, operation, request)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return answer, fmt.Errorf("answer of the server: %w", err)
	}
	return answer, nil
}

// List asks for an operation of HandleList. The last pair has an error if the list is not whole.
func List[R, Q any](ctx context.Context, c *Client, operation string, request Q) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var none R
		response, err := c.post(ctx, operation, request)
		if err != nil {
			yield(none, err)
			return
		}
		defer response.Body.Close()
		for d := json.NewDecoder(response.Body); ; {
			var item R
			switch err := d.Decode(&item); {
			case errors.Is(err, io.EOF):
				if text := response.Trailer.Get(errorTrailer); text != "" {
					failed := &Error{Status: http.StatusUnprocessableEntity}
					if err := json.Unmarshal([]byte(text), failed); err != nil {
						failed.Problem = text
					}
					yield(none, failed)
				}
				return
			case err != nil:
				yield(none, fmt.Errorf("answer of the server: %w", err))
				return
			}
			if !yield(item, nil) {
				return
			}
		}
	}
}

// maxError bounds the answer of a failed operation.
const maxError = 1 << 20

func (c *Client) post(ctx context.Context, operation string, request any) (*http.Response, error) {
	text, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/v1/"+operation, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.explain(err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer answer.Body.Close()
	failed := &Error{Status: answer.StatusCode}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxError)).Decode(failed); err != nil || failed.Problem == "" {
		return nil, diagnose.WithFix(fmt.Errorf("%s: the server answers %s to the operation %s", c.path, answer.Status, operation),
			"use the commands of the same release as the server")
	}
	return nil, failed
}

// explain says why there is no connection.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return diagnose.WithFix(fmt.Errorf("control socket %s: %w", c.path, ErrNotRunning),
			"start the server; name its socket by -control if the Corefile does not; \"control off\" in the Corefile switches it off")
	case errors.Is(err, fs.ErrPermission):
		return diagnose.WithFix(fmt.Errorf("control socket %s: user %d may not connect to it", c.path, os.Geteuid()),
			"run the command as root or as the user that the server runs as%s", ownerOf(c.path))
	}
	return fmt.Errorf("control socket %s: %w", c.path, err)
}
