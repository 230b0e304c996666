// Package nested builds the programs of the modules below test, which the tests need and the product must not require.
package nested

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

// Build builds a program of the module in the given directory below test, unless that was done before, and returns the
// binary's path. The package "." is the module's own; others are of modules that it requires. It must be called from within
// the main module. Several processes may call it at once.
func Build(ctx context.Context, module, pkg string) (string, error) {
	root, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return "", err
	}
	source := filepath.Join(root, "test", module)
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), pkg)
	for _, name := range []string{"main.go", "go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", err
		}
		sum.Write(text)
	}
	cache := filepath.Join(root, ".cache")
	binary := filepath.Join(cache, fmt.Sprintf("%s-%x", module, sum.Sum(nil)[:8]))
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.MkdirAll(cache, 0o777); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(cache, module+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	// Nobody else sees a binary that is not complete.
	built := filepath.Join(dir, "program")
	if _, err := output(ctx, source, "go", "build", "-buildvcs=false", "-o", built, pkg); err != nil {
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
