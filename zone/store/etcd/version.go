package etcd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// MinVersion is the oldest version of etcd that is safe. Earlier ones can lose or reorder data: 3.4, which Debian 12
// has, and 3.5 before 3.5.14, have known inconsistencies.
const MinVersion = "3.5.14"

// ErrVersion means that a member runs an etcd that is too old.
var ErrVersion = errors.New("store: etcd is too old")

// checkVersion returns ErrVersion for a version before MinVersion.
func checkVersion(endpoint, version string) error {
	got, ok := parseVersion(version)
	least, _ := parseVersion(MinVersion)
	if !ok {
		return fmt.Errorf("store: etcd: %s has the version %q, which is not one", endpoint, version)
	}
	for i := range got {
		switch {
		case got[i] > least[i]:
			return nil
		case got[i] < least[i]:
			return diagnose.WithFix(fmt.Errorf("%w: %s runs %s, which can lose data", ErrVersion, endpoint, version),
				"upgrade etcd to %s or later", MinVersion)
		}
	}
	return nil
}

// parseVersion reads the three numbers of a version. A pre-release counts as what it leads to.
func parseVersion(text string) (version [3]int, ok bool) {
	text, _, _ = strings.Cut(text, "-")
	text, _, _ = strings.Cut(text, "+")
	parts := strings.Split(text, ".")
	if len(parts) != len(version) {
		return version, false
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return version, false
		}
		version[i] = int(n)
	}
	return version, true
}

// requireVersion checks the member in use, once for each.
func (c *Cluster) requireVersion(ctx context.Context) error {
	var version string
	var asked *member
	err := c.members.read(ctx, attemptTimeout, readTimeout, func(ctx context.Context, client *clientv3.Client) error {
		asked, _ = c.members.inUse()
		asked.mu.Lock()
		version = asked.version
		asked.mu.Unlock()
		if version != "" {
			return nil
		}
		status, err := client.Status(ctx, client.Endpoints()[0])
		if err == nil {
			version = status.Version
		}
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return c.explain(err)
	}
	if err := checkVersion(asked.endpoint, version); err != nil {
		return err
	}
	asked.mu.Lock()
	asked.version = version
	asked.mu.Unlock()
	return nil
}
