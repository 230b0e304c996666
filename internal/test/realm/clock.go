package realm

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// Clock returns what to add to the environment of a program to set its clock ahead of this machine's, or behind it if
// ahead is negative. It needs libfaketime, which programs with jemalloc (those of BIND) do not start with.
func Clock(ahead time.Duration) ([]string, error) {
	if ahead == 0 {
		return nil, nil
	}
	libraries, err := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
	if err != nil {
		return nil, err
	}
	if len(libraries) == 0 {
		return nil, errors.New("not installed: libfaketime; run test/install.sh as root")
	}
	// Timeouts use the monotonic clock, which stays as it is.
	return []string{"LD_PRELOAD=" + libraries[0], fmt.Sprintf("FAKETIME=%+d", int(ahead.Seconds())), "DONT_FAKE_MONOTONIC=1"}, nil
}
