package control

import (
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
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// directory is a short one: the path of a socket has little room.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

type question struct {
	Words []string `json:"words"`
	Sizes []size   `json:"sizes,omitempty"`
}

type size struct {
	Octets uint32  `json:"octets"`
	Before *uint32 `json:"before,omitempty"`
}

// serve starts a server with an operation that echoes, one that lists, and some that fail.
func serve(t *testing.T, path string) *Client {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	m := &Mux{most: 8 << 20}
	Handle(m, "echo", func(_ context.Context, q question) (question, error) { return q, nil })
	Handle(m, "fail", func(context.Context, question) (question, error) {
		return question{}, Failed(http.StatusNotFound, fmt.Errorf("zone a.test.: %w", errors.New("it is not here. Fix: look elsewhere")))
	})
	HandleList(m, "list", func(_ context.Context, q question) (iter.Seq2[string, error], error) {
		if q.Words == nil {
			return nil, errors.New("no words")
		}
		return func(yield func(string, error) bool) {
			for _, word := range q.Words {
				var err error
				if word == "broken" {
					err = errors.New("the list is broken")
				}
				if !yield(word, err) || err != nil {
					return
				}
			}
		}, nil
	})
	s := Serve(l, m)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
	})
	c := NewClient(path)
	t.Cleanup(c.Close)
	return c
}

// TestCall: requests, answers and errors arrive as they were sent.
func TestCall(t *testing.T) {
	c := serve(t, filepath.Join(directory(t), "s"))
	answer, err := Call[question](t.Context(), c, "echo", question{Words: []string{"<a>", "b"}})
	if err != nil || len(answer.Words) != 2 || answer.Words[0] != "<a>" {
		t.Errorf("%v, %v", answer, err)
	}
	var failed *Error
	if _, err := Call[question](t.Context(), c, "fail", question{}); !errors.As(err, &failed) || failed.Status != http.StatusNotFound || !strings.Contains(err.Error(), "it is not here") {
		t.Errorf("%v", err)
	}
	if _, err := Call[question](t.Context(), c, "nothing", question{}); err == nil || !strings.Contains(err.Error(), "no operation") || !strings.Contains(err.Error(), "same release") {
		t.Errorf("an operation that there is not: %v", err)
	}
	if _, err := Call[question](t.Context(), c, "echo", map[string]string{"other": "field"}); !errors.As(err, &failed) || failed.Status != http.StatusBadRequest {
		t.Errorf("an unknown field: %v", err)
	}
	if _, err := Call[question](t.Context(), c, "echo", "text"); !errors.As(err, &failed) || failed.Status != http.StatusBadRequest {
		t.Errorf("another type: %v", err)
	}
}

// TestList: a list that breaks off is no whole list.
func TestList(t *testing.T) {
	c := serve(t, filepath.Join(directory(t), "s"))
	collect := func(words []string) (got []string, err error) {
		for word, failure := range List[string](t.Context(), c, "list", question{Words: words}) {
			if failure != nil {
				return got, failure
			}
			got = append(got, word)
		}
		return got, nil
	}
	many := make([]string, 10_000)
	for i := range many {
		many[i] = strings.Repeat("x", 100)
	}
	if got, err := collect(many); err != nil || len(got) != len(many) {
		t.Errorf("%d words, %v", len(got), err)
	}
	if got, err := collect([]string{}); err != nil || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := collect(append(many, "broken", "more")); err == nil || !strings.Contains(err.Error(), "the list is broken") || len(got) != len(many) {
		t.Errorf("%d words of a broken list, %v", len(got), err)
	}
	if _, err := collect(nil); err == nil || !strings.Contains(err.Error(), "no words") {
		t.Errorf("%v", err)
	}
}

// TestMode: nobody but the owner may connect, whatever the umask is.
func TestMode(t *testing.T) {
	path := filepath.Join(directory(t), "s")
	serve(t, path)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestListenOverStale: the socket of a process that was killed is replaced, and nothing else is.
func TestListenOverStale(t *testing.T) {
	dir := directory(t)
	path := filepath.Join(dir, "s")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	if _, err := Listen(path); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "Fix: ") {
		t.Errorf("a socket that is served: %v", err)
	}
	old.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Call[question](t.Context(), NewClient(path), "echo", question{}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a socket that nobody serves: %v", err)
	}
	c := serve(t, path)
	if _, err := Call[question](t.Context(), c, "echo", question{}); err != nil {
		t.Error(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil || !strings.Contains(err.Error(), "another kind") {
		t.Errorf("a file: %v", err)
	}
	if content, _ := os.ReadFile(file); string(content) != "x" {
		t.Error("the file is gone")
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(link); err == nil || !strings.Contains(err.Error(), "another kind") {
		t.Errorf("a link: %v", err)
	}
}

// TestListenAtOnce: of several processes that find the socket of one that is gone, one gets it.
func TestListenAtOnce(t *testing.T) {
	path := filepath.Join(directory(t), "s")
	for range 20 {
		stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		stale.SetUnlinkOnClose(false)
		stale.Close()
		var group sync.WaitGroup
		got := make(chan net.Listener, 8)
		for range cap(got) {
			group.Go(func() {
				l, err := Listen(path)
				if err != nil && !errors.Is(err, ErrInUse) {
					t.Error(err)
				}
				if err == nil {
					got <- l
				}
			})
		}
		group.Wait()
		if len(got) != 1 {
			t.Fatalf("%d have the socket", len(got))
		}
		if err := (<-got).Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestListenFails: the error names the path and the fix.
func TestListenFails(t *testing.T) {
	dir := directory(t)
	for name, test := range map[string]struct{ path, says string }{
		"too long":     {filepath.Join(dir, strings.Repeat("x", 100)), "too long"},
		"no directory": {filepath.Join(dir, "nothing", "s"), "make the directory"},
	} {
		if _, err := Listen(test.path); err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "Fix: ") || !strings.Contains(err.Error(), test.path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := filepath.Join(dir, strings.Repeat("x", maxPath-len(dir)-1))
	serve(t, long)
	for err, says := range map[error]string{
		&net.OpError{Err: os.NewSyscallError("connect", syscall.EACCES)}: fmt.Sprintf("user %d may not connect", os.Geteuid()),
		&net.OpError{Err: os.NewSyscallError("connect", syscall.ENOENT)}: "not running",
		io.ErrUnexpectedEOF: "unexpected EOF",
	} {
		if got := NewClient("/run/s").explain(err); !strings.Contains(got.Error(), says) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// TestListenLeavesOtherSockets: a socket that cannot be asked whether it is served stays, and so does one of another kind.
func TestListenLeavesOtherSockets(t *testing.T) {
	path := filepath.Join(directory(t), "s")
	other, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if l, err := Listen(path); err == nil {
		l.Close()
		t.Error("it listens in the place of a socket for datagrams")
	} else if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "Fix: ") {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

// TestCheck: what Listen would fail on is told without a trace, and a socket that is served is right.
func TestCheck(t *testing.T) {
	dir := directory(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	served := filepath.Join(dir, "served")
	serve(t, served)
	for path, says := range map[string]string{
		served:                     "",
		filepath.Join(dir, "free"): "",
		file:                       "a file of another kind",
		filepath.Join(dir, strings.Repeat("x", 100)): "too long",
		filepath.Join(dir, "nothing", "s"):           "make the directory",
		filepath.Join(file, "s"):                     "not a directory",
	} {
		switch err := Check(path); {
		case says == "" && err == nil:
		case says != "" && err != nil && strings.Contains(err.Error(), says) && strings.Contains(err.Error(), "Fix: "):
		default:
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "free")); err == nil {
		t.Error("the socket was made")
	}
}

// TestNoOperation: what the server does not have is said as errors of operations are.
func TestNoOperation(t *testing.T) {
	c := serve(t, filepath.Join(directory(t), "s"))
	for _, test := range []struct {
		method, path string
		status       int
		problem, fix string
	}{
		{http.MethodPost, "/v1/bogus", http.StatusNotFound, `no operation "/v1/bogus"`, "echo"},
		{http.MethodGet, "/", http.StatusNotFound, `no operation "/"`, "echo"},
		{http.MethodPost, "/echo", http.StatusNotFound, `no operation "/echo"`, "POST of /v1/"},
		{http.MethodGet, "/v1/echo", http.StatusMethodNotAllowed, "the method GET", "by POST"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), test.method, "http://control"+test.path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.http.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var failed Error
		err = json.NewDecoder(answer.Body).Decode(&failed)
		answer.Body.Close()
		if err != nil || answer.StatusCode != test.status || !strings.Contains(failed.Problem, test.problem) || !strings.Contains(failed.Fix, test.fix) {
			t.Errorf("%s %s: %s, %+v, %v", test.method, test.path, answer.Status, failed, err)
		}
		if allow := answer.Header.Get("Allow"); (allow == http.MethodPost) != (test.status == http.StatusMethodNotAllowed) {
			t.Errorf("%s %s: Allow: %q", test.method, test.path, allow)
		}
	}
}

// TestRequestIsBounded: a request that is too large is refused, and the server goes on.
func TestRequestIsBounded(t *testing.T) {
	c := serve(t, filepath.Join(directory(t), "s"))
	var failed *Error
	huge := question{Words: []string{strings.Repeat("x", 8<<20)}}
	if _, err := Call[question](t.Context(), c, "echo", huge); err == nil || errors.As(err, &failed) && failed.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("%v", err)
	}
	if _, err := Call[question](t.Context(), c, "echo", question{}); err != nil {
		t.Error(err)
	}
}

// TestRequestsThatAreWrong: a request with something that the operation would have to guess at or pass over is refused, and the error
// says what it is and how to mend it.
func TestRequestsThatAreWrong(t *testing.T) {
	path := filepath.Join(directory(t), "s")
	c := serve(t, path)
	for body, want := range map[string]struct{ problem, fix string }{
		`{"sizes":[{"octets":4294967296}]}`:              {`field "sizes.octets" is a number 4294967296, not a whole number from 0 to 4294967295`, "write a whole number"},
		`{"sizes":[{"octets":99999999999999999999999}]}`: {"99999999999999999999999", "write a whole number"},
		`{"sizes":[{"octets":-1}]}`:                      {"is a number -1", "from 0 to 4294967295"},
		`{"sizes":[{"octets":1.5}]}`:                     {"is a number 1.5", "from 0 to 4294967295"},
		`{"sizes":[{"octets":1e3}]}`:                     {"is a number 1e3", "from 0 to 4294967295"},
		`{"sizes":[{"octets":"1"}]}`:                     {"is a string, not a whole number", "from 0 to 4294967295"},
		`{"sizes":[{"octets":true}]}`:                    {"is a bool, not a whole number", "from 0 to 4294967295"},
		`{"sizes":[{"before":-1}]}`:                      {`field "sizes.before" is a number -1`, "from 0 to 4294967295"},
		`{"sizes":{"octets":1}}`:                         {`field "sizes" is an object, not an array`, "write an array"},
		`{"words":"a"}`:                                  {"is a string, not an array", "write an array"},
		`{"words":[1]}`:                                  {"is a number, not a string", "write a string"},
		`["a"]`:                                          {"the request is an array, not an object", "write an object"},
		`{"word":["a"]}`:                                 {`unknown field "word"`, "the operation takes words, sizes (octets, before)"},
		`{"sizes":[{"octet":1}]}`:                        {`unknown field "octet"`, "the operation takes words, sizes (octets, before)"},
		`{"words":["a"]}{"words":["b"]}`:                 {"something follows the object", "nothing after it"},
		`{"words":["a"]} x`:                              {"invalid character 'x'", "nothing after it"},
		`{"words":["a"]`:                                 {"it ends early", "send one JSON object"},
		"":                                               {"it ends early", "{} if the operation needs nothing"},
		`words`:                                          {"invalid character 'w'", "send one JSON object"},
	} {
		answer, err := c.http.Post("http://control/v1/echo", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		var failed Error
		if err := errors.Join(err, json.Unmarshal(text, &failed)); err != nil || answer.StatusCode != http.StatusBadRequest ||
			!strings.Contains(failed.Problem, want.problem) || !strings.Contains(failed.Fix, want.fix) {
			t.Errorf("%s: %s, %s, %v", body, answer.Status, text, err)
		}
	}
	answer, err := c.http.Post("http://control/v1/echo", "application/json", strings.NewReader(" {\"sizes\":[{\"octets\":4294967295,\"before\":0}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(text), `"octets":4294967295,"before":0`) {
		t.Errorf("%s: %s, %v", answer.Status, text, err)
	}
}
