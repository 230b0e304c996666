package admin

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A progress shows on a terminal how far a command is. For a small zone it prints nothing. A nil progress prints nothing.
type progress struct {
	out   io.Writer
	what  string
	total int // 0 if it is not known
	step  int // of done, between two messages
	done  int
	next  int
}

// Steps of progress.
const (
	recordStep = 100_000
	octetStep  = 8 << 20
)

// newProgress returns nil if out is no terminal.
func newProgress(out io.Writer, what string, total, step int) *progress {
	if !isTerminal(out) {
		return nil
	}
	return &progress{out: out, what: what, total: total, step: step, next: step}
}

// isTerminal reports whether what is written to w goes to a character device.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (p *progress) add(n int) {
	if p == nil {
		return
	}
	if p.done += n; p.done < p.next {
		return
	}
	p.next = p.done + p.step
	if p.total > 0 {
		fmt.Fprintf(p.out, "\r%s: %d%%", p.what, 100*int64(p.done)/int64(max(p.total, p.done)))
	} else {
		fmt.Fprintf(p.out, "\r%s: %d", p.what, p.done)
	}
}

// end leaves the line of the messages.
func (p *progress) end() {
	if p != nil && p.next > p.step {
		fmt.Fprintln(p.out)
	}
}

// observedReader tells the progress of reading.
type observedReader struct {
	io.Reader
	progress *progress
}

func (r observedReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.progress.add(n)
	return n, err
}

// observedStore tells the progress of its Init.
type observedStore struct {
	store.Store
	progress *progress
}

func (s observedStore) Init(ctx context.Context, c store.Contents) error {
	defer s.progress.end()
	return s.Store.Init(ctx, s.progress.observe(c))
}

// observedShared is observedStore for a shared store.
type observedShared struct {
	store.Shared
	progress *progress
}

func (s observedShared) Init(ctx context.Context, c store.Contents) (store.Position, error) {
	defer s.progress.end()
	return s.Shared.Init(ctx, s.progress.observe(c))
}

// observe returns contents that tell the progress of what takes their records.
func (p *progress) observe(c store.Contents) store.Contents {
	records := c.Records
	c.Records = func(yield func(store.Record) bool) {
		for r := range records {
			if !yield(r) {
				return
			}
			p.add(1)
		}
	}
	return c
}
