package dnsutils

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

// Dig asks the server for a name and type, and returns the records of the answer section, one a line, as dig prints
// them.
func Dig(ctx context.Context, server netip.AddrPort, name, qtype string, options ...string) ([]string, error) {
	path, err := process.LookPath("dig")
	if err != nil {
		return nil, err
	}
	args := append([]string{"@" + server.Addr().String(), "-p", strconv.Itoa(int(server.Port())), name, qtype,
		"+noall", "+answer", "+norecurse"}, options...)
	cmd := exec.CommandContext(ctx, path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("dig: %w: %s%s", err, stderr.String(), stdout.String())
	}
	var records []string
	for line := range strings.Lines(stdout.String()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, ";") {
			records = append(records, line)
		}
	}
	return records, nil
}
