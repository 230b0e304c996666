#!/bin/bash
# Unpacks the programs of Debian 13 that the tests run beside those of Debian 12 into .cache/debian13, from the mirrors
# that apt is configured with. Nothing is installed, no script of a package is run, and root is not needed.
#
#   root  the packages' files: package node of the tests puts them in the place of a node's /usr, /etc and /var
#   bin   starters for programs that the tests run without a node, by the loader and the libraries in root
#
# It says nothing when the packages are there already. `make clean` removes them.
set -eu

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache=$PWD/.cache/debian13
suite=trixie
packages=(
	base-passwd bash coreutils dash grep hostname iproute2 mawk mount procps sed util-linux # what a node and its scripts need
	bind9 bind9-dnsutils knot-dnsutils
	krb5-admin-server krb5-kdc krb5-user libsasl2-modules-gssapi-mit slapd
	python3-dnspython python3-gssapi
	ldb-tools python3-samba samba samba-ad-dc samba-ad-provision samba-common-bin samba-dsdb-modules samba-vfs-modules winbind
	adcli sssd-ad sssd-ipa
)
starters=(delv dig kdig knsupdate named nsupdate)

version=$(sha256sum test/debian13.sh)
version=${version%% *}
[ "$(cat "$cache/version" 2>/dev/null)" != "$version" ] || exit 0
if ! command -v apt-get >/dev/null; then
	echo "This is not Debian: the tests with programs of Debian 13 cannot be run." >&2
	exit 1
fi

echo "Unpacking packages of Debian 13 into ${cache#"$PWD"/}" >&2
mkdir -p "$PWD/.cache"
work=$(mktemp -d "$PWD/.cache/debian13-XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,archives/partial,new/root,new/bin,empty}
: >"$work/status"

# The mirrors that have Debian 12 have Debian 13 too.
archive=http://deb.debian.org/debian
security=http://deb.debian.org/debian-security
while read -r release uri; do
	case $release in
	bookworm | oldstable | stable) archive=$uri ;;
	*-security | */updates) security=$uri ;;
	esac
done < <(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null)
for source in "$archive $suite" "$archive $suite-updates" "$security $suite-security"; do
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $source main"
done >"$work/sources.list"
apt() {
	apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/empty" \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts="$work/empty" \
		-o Dir::State="$work" -o Dir::State::Lists="$work/lists" -o Dir::State::Status="$work/status" \
		-o Dir::Cache="$work" -o Dir::Cache::Archives="$work/archives" -o APT::Sandbox::User="$(id -un)" \
		-o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}
if ! { apt update && apt install --yes --no-install-recommends --download-only "${packages[@]}"; } >"$work/log" 2>&1 </dev/null; then
	cat "$work/log" >&2
	exit 1
fi

root=$work/new/root
unpack() {
	dpkg-deb --fsys-tarfile "$1" | tar -x -C "$root" --no-same-owner --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
		--exclude='./usr/share/locale/*' --exclude='./usr/share/info/*'
}
mkdir -p "$root/var/lib/dpkg"
for package in "$work"/archives/*.deb; do
	unpack "$package"
	# The tests ask dpkg-query for versions.
	{
		dpkg-deb --field "$package" Package Version Architecture Maintainer
		printf 'Status: install ok installed\nDescription: unpacked\n\n'
	} >>"$root/var/lib/dpkg/status"
done
# What scripts of packages would do.
for program in "$root"/usr/bin/*.mit; do
	ln -s "${program##*/}" "${program%.mit}"
done
ln -s mawk "$root/usr/bin/awk"
mkdir "$root/var/lib/ldap"
cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
echo 'sssd:x:990:990::/var/lib/sss:/usr/sbin/nologin' >>"$root/etc/passwd"
echo 'sssd:x:990:' >>"$root/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"

# The tests may run in another directory than this one, so a starter has absolute paths.
loader=$(cd "$root" && ls usr/lib64/ld-linux-*.so.2 usr/lib/ld-linux-*.so.1 2>/dev/null | head -n 1)
libraries=$(cd "$root" && ls -d usr/lib/*-linux-gnu)
for program in "${starters[@]}"; do
	path=usr/bin/$program
	[ -e "$root/$path" ] || path=usr/sbin/$program
	cat >"$work/new/bin/$program" <<END
#!/bin/sh
exec '$cache/root/$loader' --library-path '$cache/root/$libraries' '$cache/root/$path' "\$@"
END
	chmod 755 "$work/new/bin/$program"
done

echo "$version" >"$work/new/version"
rm -rf "$cache"
mv "$work/new" "$cache"
