package gssclient

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

// Build compiles the client into the directory and returns the program's path. It needs a C compiler and the header
// files of MIT Kerberos (Debian: gcc and libkrb5-dev).
func Build(ctx context.Context, dir string) (string, error) {
	cc, err := process.LookPath("gcc")
	if err != nil {
		return "", err
	}
	c := filepath.Join(dir, "gssclient.c")
	if err := os.WriteFile(c, source, 0o600); err != nil {
		return "", err
	}
	program := filepath.Join(dir, "gssclient")
	cmd := exec.CommandContext(ctx, cc, "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, c, "-lgssapi_krb5")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile gssclient (libkrb5-dev missing? run test/install.sh as root): %w\n%s", err, output)
	}
	return program, nil
}
