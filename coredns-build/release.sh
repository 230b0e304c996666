#!/bin/bash
# Builds what is released, into a directory: for linux/amd64 and linux/arm64 an archive with the static binaries, a Debian
# package, and a list of the modules in the binary (CycloneDX); and SHA256SUMS.
#
#   coredns-build/release.sh DIRECTORY [VERSION [ARCHITECTURE...]]
#
# The same commit and the same Go give the same octets, wherever and whenever this runs.
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC

cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 1 ] || { echo "usage: $0 DIRECTORY [VERSION]" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
version=${2:-$(git describe --tags --always --dirty)}
architectures=(amd64 arm64)
[ $# -le 2 ] || architectures=("${@:3}")
# The time that files in archives and packages get.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH=$epoch

nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
cyclonedx=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

# Debian sorts 1.0~rc.1 before 1.0, and 1.0+3.gabcdef after it. A commit without a tag gets a number that grows with time.
case $version in
v[0-9]* | [0-9]*.[0-9]*)
	debian=$(sed -E 's/^v//; s/-([0-9]+)-g([0-9a-f]+)/+\1.g\2/; s/-dirty$/+dirty/; s/-/~/' <<<"$version")
	;;
*)
	debian=0~$(date -d "@$epoch" +%Y%m%d%H%M%S).$(sed 's/-/+/g' <<<"$version")
	;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# build ARCHITECTURE PROGRAM FILE
build() {
	GOOS=linux GOARCH=$1 make --silent "$2" VERSION="$version" BINARY="$3"
}

# The pages are the same for all architectures; a binary of this machine prints them.
build "$(go env GOHOSTARCH)" coredns "$work/here"
pages=$work/pages
mkdir "$pages"
for shell in bash zsh fish; do
	"$work/here" gsstsig completion $shell >"$pages/coredns.$shell"
done
"$work/here" gsstsig man >"$pages/coredns-gsstsig.8"
gzip -9 -n -c "$pages/coredns-gsstsig.8" >"$pages/coredns-gsstsig.8.gz"
gzip -9 -n -c CHANGELOG.md >"$pages/changelog.gz"
cat >"$pages/copyright" <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: coredns-gsstsig
Source: https://github.com/gsstsig/coredns-gsstsig

Files: *
Copyright: the authors of coredns-gsstsig, of CoreDNS, and of the modules in the binary
License: Apache-2.0
Comment: The modules in the binary, with their versions, are listed in
 /usr/share/doc/coredns-gsstsig/modules.cdx.json.

License: Apache-2.0
 On Debian systems, the text of the license is in /usr/share/common-licenses/Apache-2.0.
END

# The documents, with the paths that they have here, so that their links lead to each other.
documents=$work/documents
mkdir -p "$documents"/{docs,plugin,coredns-build}
cp README.md CHANGELOG.md SECURITY.md "$documents"
cp docs/* "$documents/docs"
cp plugin/README.md "$documents/plugin"
cp coredns-build/{grafana-dashboard.json,prometheus-alerts.yml} "$documents/coredns-build"
chmod -R u=rwX,go=rX "$documents"
find "$documents" -exec touch -h -d "@$epoch" {} +

for arch in "${architectures[@]}"; do
	name=coredns-gsstsig-$version-linux-$arch
	top=$work/$name
	mkdir "$top"
	build $arch coredns "$top/coredns"
	build $arch gsstsigctl "$top/gsstsigctl"
	cp LICENSE coredns-build/Corefile coredns-build/coredns.service "$top"
	cp -r "$documents"/. "$top"
	cp -r "$pages"/coredns.{bash,zsh,fish} "$pages/coredns-gsstsig.8" "$top"
	go run -trimpath "$cyclonedx" bin -json -std -noserial -notimestamp -version "$version" -output "$top/modules.cdx.json" "$top/coredns" 2>"$work/log" ||
		{ cat "$work/log" >&2; exit 1; }
	cp "$top/modules.cdx.json" "$out/$name.cdx.json"
	find "$top" -exec touch -h -d "@$epoch" {} +
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" --format=gnu -C "$work" -cf - "$name" | gzip -9 -n >"$out/$name.tar.gz"

	# nfpm replaces the variables.
	ARCH=$arch DEBIAN_VERSION=$debian FILES=$top PAGES=$pages DOCUMENTS=$documents \
		go run -trimpath "$nfpm" package --config coredns-build/debian/nfpm.yaml --packager deb \
		--target "$out/coredns-gsstsig_${debian}_$arch.deb" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
done

cd "$out"
sha256sum coredns-gsstsig[-_]* >SHA256SUMS
cat SHA256SUMS
