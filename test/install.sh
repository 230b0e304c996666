#!/bin/bash
# Installs what `make run`, `make test` and `make bench` need, as far as it is missing: on Debian by apt, as root.
#
#   test/install.sh        all of it, and the programs of Debian 13 that test/debian13.sh unpacks
#   test/install.sh run    what `make run` needs: a KDC, nsupdate, dig
#   test/install.sh bench  what `make bench` needs: all of it, dnsperf and Knot
#
# It says nothing when nothing is missing, and starts no service. Without root it only says what is missing.
set -eu

PATH=$PATH:/usr/sbin:/sbin

# missing PROGRAM-OR-FILE PACKAGE... adds the packages unless the program or file is there.
packages=
missing() {
	local wanted=$1 package
	shift
	case $wanted in
	/*) [ -e "$wanted" ] && return ;;
	*) command -v "$wanted" >/dev/null && return ;;
	esac
	for package; do
		case " $packages " in
		*" $package "*) ;;
		*) packages="$packages $package" ;;
		esac
	done
}

missing krb5kdc krb5-kdc
missing kadmin.local krb5-admin-server
missing kinit krb5-user
missing nsupdate bind9-dnsutils
missing dig bind9-dnsutils
missing make make
if [ "${1:-}" != run ]; then
	missing gcc gcc libc6-dev # for the race detector and the C client
	missing /usr/include/gssapi/gssapi_krb5.h libkrb5-dev
	missing /usr/include/stdlib.h libc6-dev
	missing named bind9
	missing file file
	missing faketime faketime # clients and KDCs whose clocks are off
	missing git git
	missing ip iproute2 # nodes: namespaces with a network of their own
	missing ps procps
	missing systemd-analyze systemd # it reads the unit, nothing is started
	missing strace strace # the system calls of the server, for the unit
	missing buildah buildah netavark # the image; netavark is the smallest of what buildah can choose its network stack from
	missing samba samba samba-ad-dc # an Active Directory domain
	missing samba_dnsupdate samba
	missing samba-tool samba-common-bin python3-samba
	missing net samba-common-bin
	missing winbindd winbind
	missing /usr/share/samba/setup/provision.ldif samba-ad-provision
	missing /usr/lib/*/samba/ldb/samba_dsdb.so samba-dsdb-modules
	missing /usr/lib/*/samba/vfs/acl_xattr.so samba-vfs-modules
	missing ldbmodify ldb-tools
	missing adcli adcli # its members
	missing /usr/lib/*/sasl2/libgssapiv2.so libsasl2-modules-gssapi-mit
	missing sssd sssd-common
	missing /usr/lib/*/sssd/libsss_ad.so sssd-ad
	missing /usr/lib/*/sssd/libsss_ipa.so sssd-ipa
	missing slapd slapd # the directory that SSSD's provider for FreeIPA asks
	missing kdig knot-dnsutils
	missing promtool prometheus # the alerts and the names of metrics
	missing chromium chromium # the status page
	missing /usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf fonts-liberation # its font
	missing /usr/lib/python3/dist-packages/dns/tsig.py python3-dnspython
	missing /usr/lib/python3/dist-packages/gssapi/__init__.py python3-gssapi
	missing certbot certbot python3-certbot-dns-rfc2136 # clients of ACME and of configuration management
	missing ansible-playbook ansible-core ansible
	missing openssl openssl
	missing dhcpd isc-dhcp-server # leases that move between machines
	missing dhclient isc-dhcp-client
	missing dhcpcd dhcpcd-base
	missing kea-dhcp-ddns kea-dhcp-ddns-server # a DHCP server's updates
	missing /etc/ssl/certs/ca-certificates.crt ca-certificates
	missing /usr/share/keyrings/debian-archive-trixie-automatic.gpg debian-archive-keyring # for packages of Debian 13
fi
if [ "${1:-}" = bench ]; then
	missing dnsperf dnsperf
	missing knotd knot
fi

# newer unpacks what no package of this machine has.
wanted=${1:-}
newer() {
	[ -n "$wanted" ] || "$(dirname "${BASH_SOURCE[0]}")/debian13.sh"
}
if [ -z "$packages" ]; then
	newer
	exit 0
fi

if [ "$(id -u)" != 0 ]; then
	echo "Missing packages:$packages" >&2
	echo "Run this as root:  ${BASH_SOURCE[0]}${1:+ $1}" >&2
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	echo "Missing (Debian's names):$packages" >&2
	echo "This is not Debian: install them by your system's means." >&2
	exit 1
fi

log=$(mktemp)
policy=/usr/sbin/policy-rc.d
cleanup() {
	rm -f "$log"
	[ -z "${made_policy:-}" ] || rm -f "$policy"
}
trap cleanup EXIT
if [ ! -e "$policy" ]; then # Debian's way to keep packages from starting their services
	made_policy=yes
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

echo "Installing$packages" >&2
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of packages
if ! { apt-get install -qq --no-install-recommends $packages ||
	{ apt-get update -qq && apt-get install -qq --no-install-recommends $packages; }; } >"$log" 2>&1 </dev/null; then
	cat "$log" >&2
	exit 1
fi
newer
