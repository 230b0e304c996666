// Package version tells which release of this module a binary has.
package version

import "runtime/debug"

// module is the path of this module.
const module = "github.com/gsstsig/coredns-gsstsig"

// Module returns the version of this module in the binary, as Go recorded it: that of a release, or of a commit.
func Module() string {
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
