// Package debian13 finds the programs of Debian 13 that test/debian13.sh has unpacked, for tests that run them beside
// those of the machine, or in their place.
package debian13

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Environment variable that has the tests run programs of Debian 13 where they would run those of the machine: on all
// nodes, and without a node those that LookPath finds. Its value is then "debian13".
const systemVariable = "TEST_SYSTEM"

// Chosen tells whether the tests are to run these programs in the place of the machine's.
func Chosen() bool { return os.Getenv(systemVariable) == "debian13" }

// Root is the directory with the packages' files.
func Root() (string, error) {
	dir, err := dir()
	return filepath.Join(dir, "root"), err
}

// AdminDir is the directory that dpkg-query finds the packages' versions in.
func AdminDir() (string, error) {
	root, err := Root()
	return filepath.Join(root, "var/lib/dpkg"), err
}

// ErrNoProgram means that there is no starter for a program: it can run on nodes only, or is not unpacked at all.
var ErrNoProgram = errors.New("test/debian13.sh makes no starter for it")

// LookPath finds a program that runs without a node.
func LookPath(program string) (string, error) {
	dir, err := dir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bin", program)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s of Debian 13: %w", program, ErrNoProgram)
	}
	return path, nil
}

// dir is where test/debian13.sh has put everything.
var dir = sync.OnceValues(func() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "test/debian13.sh")); err == nil {
			break
		}
		if at == filepath.Dir(at) {
			return "", errors.New("the working directory is not in the module")
		}
	}
	found := filepath.Join(at, ".cache/debian13")
	if _, err := os.Stat(filepath.Join(found, "version")); err != nil {
		return "", errors.New("programs of Debian 13 are not unpacked; run test/install.sh")
	}
	return filepath.EvalSymlinks(found)
})
