package version

import (
	"runtime/debug"
	"testing"
)

// TestModule: in this module's own programs, and in those of others.
func TestModule(t *testing.T) {
	for _, test := range []struct {
		info debug.BuildInfo
		want string
	}{
		{debug.BuildInfo{Main: debug.Module{Path: module, Version: "v1.2.3"}}, "v1.2.3"},
		{debug.BuildInfo{Main: debug.Module{Path: "example.com/dns", Version: "v9.0.0"}, Deps: []*debug.Module{{Path: "other"}, {Path: module, Version: "v1.2.4"}}}, "v1.2.4"},
		{debug.BuildInfo{}, "unknown"},
	} {
		if got := of(&test.info); got != test.want {
			t.Errorf("%+v: %s, want %s", test.info, got, test.want)
		}
	}
	if Module() == "" {
		t.Error("no version")
	}
}
