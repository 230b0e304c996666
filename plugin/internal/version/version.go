// Package version tells which release of this module a binary has.
package version

import "runtime/debug"

// module is the path of this module.
const module = "github.com/gsstsig/coredns-gsstsig"

// stamped is the version that the Makefile gives the programs of this module, by the linker: a release, or a commit.
var stamped string

// Module returns the version of this module in the binary: the one that the Makefile has stamped, else that which Go has
// recorded, as in builds of CoreDNS that have this module as a dependency.
func Module() string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return of(info)
}

func of(info *debug.BuildInfo) string {
	if info.Main.Path == module && info.Main.Version != "" {
		return info.Main.Version
	}
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return dependency.Version
		}
	}
	return "unknown"
}
