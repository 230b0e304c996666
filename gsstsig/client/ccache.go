package client

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/crypto/cryptobyte"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// ccache is the content of a credential cache file, versions 3 and 4 of MIT's
// format (big-endian; older versions depend on the machine that wrote them).
// gokrb5 has a reader too, but it panics on a file cut short and allocates by
// counts that it reads from it.
type ccache struct {
	client  krb5.Principal
	entries []ccacheEntry
}

type ccacheEntry struct {
	server krb5.Principal
	grant
}

var errCCache = errors.New("damaged, or not a credential cache of version 3 or 4")

func readCCache(name string) (*ccache, error) {
	path := strings.TrimPrefix(name, "FILE:")
	if kind, _, ok := strings.Cut(path, ":"); ok && kind == strings.ToUpper(kind) && !strings.Contains(kind, "/") {
		return nil, fmt.Errorf("credential cache %s: only files are supported", name)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("credential cache: %w", err)
	}
	cache, err := parseCCache(content)
	if err != nil {
		return nil, fmt.Errorf("credential cache %s: %w", path, err)
	}
	return cache, nil
}

// find returns the entry for a service whose ticket ends last. A session key of
// a type not listed does not count; nil lists all.
func (c *ccache) find(service krb5.Principal, enctypes []int32) (grant, bool) {
	var best grant
	for _, entry := range c.entries {
		if !entry.server.Equal(service) || enctypes != nil && !slices.Contains(enctypes, entry.key.KeyType) {
			continue
		}
		if entry.expires.After(best.expires) {
			best = entry.grant
		}
	}
	return best, !best.expires.IsZero()
}

func parseCCache(content []byte) (*ccache, error) {
	in := cryptobyte.String(content)
	var five, version uint8
	if !in.ReadUint8(&five) || !in.ReadUint8(&version) || five != 5 || version != 3 && version != 4 {
		return nil, errCCache
	}
	if version == 4 {
		// The header's fields (time offset to the KDC) are of no use here.
		var header cryptobyte.String
		if !in.ReadUint16LengthPrefixed(&header) {
			return nil, errCCache
		}
	}
	cache := new(ccache)
	if !readPrincipal(&in, &cache.client) {
		return nil, errCCache
	}
	for !in.Empty() {
		entry, ticket, ok := readCredential(&in, version)
		if !ok {
			return nil, errCCache
		}
		// MIT keeps settings in the same file, as "tickets" of this realm.
		if strings.HasPrefix(entry.server.Realm, "X-CACHECONF:") {
			continue
		}
		parsed, err := parseTicket(ticket)
		if err != nil {
			return nil, fmt.Errorf("ticket for %s: %w", entry.server, err)
		}
		entry.ticket = parsed
		cache.entries = append(cache.entries, entry)
	}
	return cache, nil
}

func readCredential(in *cryptobyte.String, version uint8) (entry ccacheEntry, ticket []byte, ok bool) {
	var (
		client                             krb5.Principal
		keyType, repeated                  uint16
		key                                []byte
		authTime, start, end, renew, flags uint32
		isSessionKey                       uint8
		second                             []byte
	)
	if !readPrincipal(in, &client) || !readPrincipal(in, &entry.server) || !in.ReadUint16(&keyType) {
		return entry, nil, false
	}
	if version == 3 && !in.ReadUint16(&repeated) {
		return entry, nil, false
	}
	if !readData(in, &key) ||
		!in.ReadUint32(&authTime) || !in.ReadUint32(&start) || !in.ReadUint32(&end) || !in.ReadUint32(&renew) ||
		!in.ReadUint8(&isSessionKey) || !in.ReadUint32(&flags) ||
		!skipTyped(in) || !skipTyped(in) || // addresses, authorization data
		!readData(in, &ticket) || !readData(in, &second) {
		return entry, nil, false
	}
	entry.key = types.EncryptionKey{KeyType: int32(int16(keyType)), KeyValue: key}
	entry.expires = time.Unix(int64(end), 0)
	return entry, ticket, true
}

func readPrincipal(in *cryptobyte.String, principal *krb5.Principal) bool {
	var nameType, count uint32
	var realm []byte
	if !in.ReadUint32(&nameType) || !in.ReadUint32(&count) || !readData(in, &realm) {
		return false
	}
	principal.Realm = string(realm)
	for range count { // ends with the input: a component takes at least four octets
		var component []byte
		if !readData(in, &component) {
			return false
		}
		principal.Components = append(principal.Components, string(component))
	}
	return true
}

func readData(in *cryptobyte.String, data *[]byte) bool {
	var length uint32
	return in.ReadUint32(&length) && uint64(length) <= uint64(len(*in)) && in.ReadBytes(data, int(length))
}

func skipTyped(in *cryptobyte.String) bool {
	var count uint32
	if !in.ReadUint32(&count) {
		return false
	}
	for range count {
		var kind uint16
		var data []byte
		if !in.ReadUint16(&kind) || !readData(in, &data) {
			return false
		}
	}
	return true
}

// parseTicket decodes a ticket; the recover is for gokrb5's decoder.
func parseTicket(encoded []byte) (ticket messages.Ticket, err error) {
	defer func() {
		if r := recover(); r != nil {
			ticket, err = messages.Ticket{}, errCCache
		}
	}()
	if ticket.Unmarshal(encoded) != nil {
		return messages.Ticket{}, errCCache
	}
	return ticket, nil
}
