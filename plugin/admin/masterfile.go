package admin

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// ownerMark begins the comment that has the owner of a name, which the syntax of master files has no place for:
//
//	;owner NAME "PRINCIPAL" [deleted TIME]
const ownerMark = ";owner "

// writeMaster writes a zone as a master file (RFC 1035 section 5), with owners in comments.
func writeMaster(w io.Writer, s *zone.Snapshot) error {
	out := bufio.NewWriterSize(w, 1<<16)
	fmt.Fprintf(out, "; zone %s, serial %d, %d records\n", s.Origin(), s.Serial(), s.Len())
	for rr := range s.Records() {
		out.WriteString(rr.String())
		out.WriteByte('\n')
	}
	for owner := range s.Owners() {
		fmt.Fprintf(out, "%s%s %q", ownerMark, dnswire.NameText([]byte(owner.Name)), owner.Principal)
		if !owner.Deleted.IsZero() {
			fmt.Fprintf(out, " deleted %s", owner.Deleted.UTC().Format(time.RFC3339))
		}
		out.WriteByte('\n')
	}
	return out.Flush() // returns the first error of all writes
}

// readMaster reads a master file and the owners in its comments, if there are any.
func readMaster(r io.Reader, origin, file string) ([]store.Record, []store.Owner, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, nil, err
	}
	records, err := zone.ParseSeed(bytes.NewReader(content), origin, file)
	if err != nil {
		return nil, nil, err
	}
	var owners []store.Owner
	number := 0
	for line := range bytes.Lines(content) {
		number++
		text, ok := strings.CutPrefix(string(line), ownerMark)
		if !ok {
			continue
		}
		owner, err := parseOwner(strings.TrimSpace(text))
		if err != nil {
			return nil, nil, fmt.Errorf("%s:%d: %w", file, number, err)
		}
		owners = append(owners, owner)
	}
	return records, owners, nil
}

// parseOwner reads what follows ownerMark.
func parseOwner(text string) (store.Owner, error) {
	name, rest, _ := strings.Cut(text, " ")
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return store.Owner{}, fmt.Errorf("no quoted principal after %q", ownerMark+name)
	}
	principal, err := strconv.Unquote(quoted)
	if err != nil {
		return store.Owner{}, fmt.Errorf("principal %s: %w", quoted, err)
	}
	wire, err := dnswire.ParseName(dns.Fqdn(name), nil)
	if err != nil {
		return store.Owner{}, fmt.Errorf("name %q: %w", name, err)
	}
	owner := store.Owner{Name: string(dnswire.AppendLower(nil, wire)), Principal: principal}
	rest = strings.TrimSpace(rest[len(quoted):])
	if rest == "" {
		return owner, nil
	}
	at, ok := strings.CutPrefix(rest, "deleted ")
	if !ok {
		return store.Owner{}, fmt.Errorf("unexpected %q after the principal", rest)
	}
	if owner.Deleted, err = time.Parse(time.RFC3339, at); err != nil {
		return store.Owner{}, fmt.Errorf("time %q: %w", at, err)
	}
	return owner, nil
}
