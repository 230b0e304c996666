package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Environment variable that names a ready binary to test instead of one that is built.
const binaryVariable = "COREDNS_BINARY"

// Build builds the server into the directory and returns the binary's path. It has the race detector when the calling
// test has. It must be called from within the module.
func Build(ctx context.Context, dir string) (string, error) {
	if binary := os.Getenv(binaryVariable); binary != "" {
		return filepath.Abs(binary)
	}
	root, err := moduleDir(ctx)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "coredns")
	args := []string{"build", "-buildvcs=false", "-o", binary}
	if detectRaces {
		args = append(args, "-race")
	}
	return binary, run(ctx, root, "go", append(args, "./coredns-build")...)
}

// BuildRelease builds the server as it is delivered, by the Makefile's target.
func BuildRelease(ctx context.Context, dir string) (string, error) {
	root, err := moduleDir(ctx)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "coredns-release")
	return binary, run(ctx, root, "make", "-s", "coredns", "BINARY="+binary)
}

func moduleDir(ctx context.Context) (string, error) {
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m: %w", err)
	}
	return strings.TrimSpace(string(dir)), nil
}

func run(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build CoreDNS: %w\n%s", err, output)
	}
	return nil
}
