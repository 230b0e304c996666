package control

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"
)

// directoryInfo is a directory of a user, with a mode.
type directoryInfo struct {
	owner uint32
	mode  fs.FileMode
}

func (d directoryInfo) Name() string       { return "run" }
func (d directoryInfo) Size() int64        { return 0 }
func (d directoryInfo) Mode() fs.FileMode  { return d.mode | fs.ModeDir }
func (d directoryInfo) ModTime() time.Time { return time.Time{} }
func (d directoryInfo) IsDir() bool        { return true }
func (d directoryInfo) Sys() any           { return &syscall.Stat_t{Uid: d.owner} }

// TestCheckUser: in a directory like /tmp, the server is root's, the user's own, or of the directory's owner.
func TestCheckUser(t *testing.T) {
	const root, coredns, operator, mallory = 0, 10, 11, 12
	for _, test := range []struct {
		server, client, owner uint32
		mode                  fs.FileMode
		trusted               bool
	}{
		{coredns, root, coredns, 0o700, true},
		{coredns, root, root, 0o770, true},
		{root, operator, root, 0o777 | fs.ModeSticky, true},
		{operator, operator, root, 0o777 | fs.ModeSticky, true},
		{coredns, root, coredns, 0o777, true},
		{mallory, root, root, 0o777 | fs.ModeSticky, false},
		{mallory, operator, coredns, 0o777, false},
	} {
		err := checkUser("/tmp/s", test.server, test.client, directoryInfo{test.owner, test.mode})
		if (err == nil) != test.trusted || err != nil && !strings.Contains(err.Error(), "Fix: ") {
			t.Errorf("%+v: %v", test, err)
		}
	}
}
