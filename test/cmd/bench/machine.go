package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

// errRAMDisk is why a directory is not taken.
var errRAMDisk = errors.New("the directory is on a RAM disk, where a sync costs nothing; choose another with -dir")

// describeMachine says what the figures depend on, without private data such as names and paths.
func describeMachine(ctx context.Context, dir string) (string, error) {
	fileSystem, err := fileSystemOf(dir)
	if err != nil {
		return "", err
	}
	if fileSystem == "tmpfs" || fileSystem == "ramfs" {
		return "", errRAMDisk
	}
	sync, err := syncTime(dir)
	if err != nil {
		return "", err
	}
	var uts syscall.Utsname
	if err := syscall.Uname(&uts); err != nil {
		return "", err
	}
	release := make([]byte, 0, len(uts.Release))
	for _, c := range uts.Release {
		if c == 0 {
			break
		}
		release = append(release, byte(c))
	}
	named, err := process.LookPath("named")
	if err != nil {
		return "", err
	}
	version, err := exec.CommandContext(ctx, named, "-v").Output()
	if err != nil {
		return "", fmt.Errorf("named -v: %w", err)
	}
	bind, _, _ := strings.Cut(strings.TrimSpace(string(version)), " (")
	return fmt.Sprintf("Machine: %s, %d cores%s, Linux %s, databases on %s (a write and sync of 300 octets: %.2f ms). %s, %s.",
		fieldOf("/proc/cpuinfo", "model name"), runtime.NumCPU(), virtual(), release, fileSystem,
		sync.Seconds()*1e3, bind, runtime.Version()), nil
}

// fieldOf finds a field of a file of lines "name: value" in /proc.
func fieldOf(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func virtual() string {
	if slices.Contains(strings.Fields(fieldOf("/proc/cpuinfo", "flags")), "hypervisor") {
		return " of a virtual machine"
	}
	return ""
}

// fileSystemOf tells the type of the file system that a directory is on.
func fileSystemOf(dir string) (string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	defer f.Close()
	fileSystem, longest := "", -1
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 {
			continue
		}
		at := strings.TrimSuffix(fields[1], "/")
		if (dir == at || strings.HasPrefix(dir, at+"/")) && len(at) >= longest {
			fileSystem, longest = fields[2], len(at)
		}
	}
	if longest < 0 {
		return "", fmt.Errorf("no file system found for the data directory")
	}
	return fileSystem, nil
}

// syncTime is the median time that it takes to append a little to a file and sync it, which bounds every server that
// answers one update after the other.
func syncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	taken := make([]time.Duration, 200)
	record := make([]byte, 300)
	for i := range taken {
		start := time.Now()
		if _, err := f.Write(record); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		taken[i] = time.Since(start)
	}
	return median(taken), nil
}
