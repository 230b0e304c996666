package etcd

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Environment variable that names the server to use in place of the one that is built.
const binaryVariable = "ETCD_BINARY"

// Build builds the server of test/etcdserver, unless that was done before, and returns the binary's path. It must be called
// from within the module. Several processes may call it at once.
func Build(ctx context.Context) (string, error) {
	if binary := os.Getenv(binaryVariable); binary != "" {
		return filepath.Abs(binary)
	}
	root, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return "", err
	}
	source := filepath.Join(root, "test", "etcdserver")
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version())
	for _, name := range []string{"main.go", "go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", err
		}
		sum.Write(text)
	}
	cache := filepath.Join(root, ".cache")
	binary := filepath.Join(cache, fmt.Sprintf("etcdserver-%x", sum.Sum(nil)[:8]))
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.MkdirAll(cache, 0o777); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(cache, "etcdserver-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	// Nobody else sees a binary that is not complete.
	built := filepath.Join(dir, "etcd")
	if _, err := output(ctx, source, "go", "build", "-buildvcs=false", "-o", built, "."); err != nil {
		return "", err
	}
	return binary, os.Rename(built, binary)
}

func output(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	var problem strings.Builder
	cmd.Stderr = &problem
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, problem.String())
	}
	return strings.TrimSpace(string(text)), nil
}
