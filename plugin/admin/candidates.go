package admin

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// candidateMost bounds how many words completion offers.
const candidateMost = 200

// candidateTime bounds how long it looks for them, since the shell waits. Tests change it.
var candidateTime = 700 * time.Millisecond

// errEnough ends a listing.
var errEnough = errors.New("enough")

// collect returns the different words with a prefix that produce yields in time, sorted. Produce ends when add is false.
func collect(prefix string, produce func(ctx context.Context, add func(string) bool)) []string {
	ctx, cancel := context.WithTimeout(context.Background(), candidateTime)
	defer cancel()
	words := make(chan string)
	go func() {
		defer close(words)
		produce(ctx, func(word string) bool {
			if word == "" || !strings.HasPrefix(word, prefix) {
				return ctx.Err() == nil
			}
			select {
			case words <- word:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	var list []string
	seen := make(map[string]bool)
	for len(list) < candidateMost {
		select {
		case word, more := <-words:
			if !more {
				slices.Sort(list)
				return list
			}
			if !seen[word] {
				seen[word] = true
				list = append(list, word)
			}
		case <-ctx.Done():
			slices.Sort(list)
			return list
		}
	}
	slices.Sort(list)
	return list
}

// serverOf returns the server that the flags of a command line name, nil if there is none.
func serverOf(cmd *cobra.Command) *target {
	value := func(name string) *string {
		v := ""
		if f := cmd.Flag(name); f != nil {
			v = f.Value.String()
		}
		return &v
	}
	t, err := controlFlags{conf: value("conf"), socket: value("control")}.open(Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	if err != nil {
		return nil
	}
	return t
}

// zones returns the zones of the Corefile, or of the server if none was read.
func (t *target) zones(ctx context.Context) []string {
	var zones []string
	for _, server := range t.servers {
		for _, origin := range server.Origins {
			if !slices.Contains(zones, origin) {
				zones = append(zones, origin)
			}
		}
	}
	if t.servers != nil {
		return zones
	}
	t.ctx = ctx
	state, err := call[view.Status](t, "status", view.StatusRequest{})
	if err != nil {
		return nil
	}
	for _, z := range state.Zones {
		zones = append(zones, z.Zone)
	}
	return zones
}

// zoneCandidates are the zones of a server. They are written without final dot.
func zoneCandidates(cmd *cobra.Command, prefix string) []string {
	t := serverOf(cmd)
	if t == nil {
		return nil
	}
	return collect(prefix, func(ctx context.Context, add func(string) bool) {
		defer t.close()
		for _, zone := range t.zones(ctx) {
			add(strings.TrimSuffix(zone, "."))
		}
	})
}

// nameCandidates are names of a zone, or of all for "", without final dot.
func nameCandidates(cmd *cobra.Command, zone, prefix string) []string {
	return collectNames(cmd, zone, prefix, func(n view.Name, add func(string) bool) bool { return add(strings.TrimSuffix(n.Name, ".")) })
}

// principalCandidates are the principals that have contexts or own names.
func principalCandidates(cmd *cobra.Command, prefix string) []string {
	list := contextCandidates(cmd, prefix, false)
	for _, owner := range collectNames(cmd, "", prefix, func(n view.Name, add func(string) bool) bool { return add(ownerCandidate(n.Owner)) }) {
		if !slices.Contains(list, owner) {
			list = append(list, owner)
		}
	}
	return list
}

// ownerCandidate is a recorded owner as the commands read it, "" for one that is no client.
func ownerCandidate(recorded string) string {
	switch recorded {
	case zone.FirstComeOwner, zone.AdministratorOwner, zone.SignedOwner:
		return ""
	}
	principal, _ := policy.SplitOwner(recorded)
	return strings.TrimPrefix(principal, "key:")
}

func collectNames(cmd *cobra.Command, zone, prefix string, from func(view.Name, func(string) bool) bool) []string {
	t := serverOf(cmd)
	if t == nil {
		return nil
	}
	return collect(prefix, func(ctx context.Context, add func(string) bool) {
		defer t.close()
		zones := []string{zone}
		if zone == "" {
			zones = t.zones(ctx)
		}
		t.ctx = ctx
		for _, zone := range zones {
			err := t.names(view.NamesRequest{Zone: zone}, func(n view.Name) error {
				if !from(n, add) {
					return errEnough
				}
				return nil
			})
			if errors.Is(err, errEnough) {
				return
			}
		}
	})
}

// contextCandidates are the principals of contexts and, if keys is true, the names of their keys.
func contextCandidates(cmd *cobra.Command, prefix string, keys bool) []string {
	t := serverOf(cmd)
	if t == nil {
		return nil
	}
	return collect(prefix, func(ctx context.Context, add func(string) bool) {
		defer t.close()
		t.ctx = ctx
		list, err := call[[]view.Context](t, "contexts", struct{}{})
		if err != nil {
			return
		}
		for _, c := range list {
			if !add(c.Principal) || keys && !add(c.Key) {
				return
			}
		}
	})
}

// maxPasswd bounds what is read of /etc/passwd.
const maxPasswd = 1 << 20

// userCandidates are the users of this machine, without those of a directory.
func userCandidates(prefix string) []string {
	f, err := os.Open("/etc/passwd")
	if err != nil {
		return nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPasswd))
	if err != nil {
		return nil
	}
	return collect(prefix, func(_ context.Context, add func(string) bool) {
		for line := range strings.Lines(string(text)) {
			if name, _, found := strings.Cut(line, ":"); found && !add(name) {
				return
			}
		}
	})
}
