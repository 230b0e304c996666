package tested

import (
	"cmp"
	"context"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/debian13"
)

// Version is the client's as its authors count, "unknown" where its package is not installed.
func (c Client) Version() string { return version(c) }

// version asks Debian's package database, or Go for a module of the build.
func version(client Client) string {
	if client.Package == "" && client.Module == "" {
		return "this one"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	query := []string{"-W", "-f", "${Version}", client.Package}
	if client.Debian13 || debian13.Chosen() {
		dir, err := debian13.AdminDir()
		if err != nil {
			return "unknown"
		}
		query = append([]string{"--admindir=" + dir}, query...)
	}
	cmd := exec.CommandContext(ctx, "dpkg-query", query...)
	if client.Module != "" {
		cmd = exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", client.Module)
		cmd.Dir = client.ModuleDir
	}
	output, err := cmd.Output()
	if err != nil {
		return "unknown"
	}
	return upstream(strings.TrimSpace(string(output)))
}

// upstreamVersion leaves out an epoch before the version, and what stands behind the numbers.
var upstreamVersion = regexp.MustCompile(`^(?:\d+:)?v?(\d+(?:\.\d+)*)`)

// upstream is the version that the program's authors gave it.
func upstream(version string) string {
	if m := upstreamVersion.FindStringSubmatch(version); m != nil {
		return m[1]
	}
	return version
}

// series is a version's first two numbers: what comes behind changes with security updates.
func series(version string) string {
	numbers := strings.SplitN(version, ".", 3)
	return strings.Join(numbers[:min(2, len(numbers))], ".")
}

// compareVersions orders by numbers, of which the first that differs decides.
func compareVersions(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) // without leading zeros
	})
}
