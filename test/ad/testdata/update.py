"""One context, and two updates signed with it: a new name, and one that is out of reach.

update.py SERVER HOST spnego|krb5 udp|tcp|connection ZONE NAME ADDRESS

With tcp each message has a connection of its own, with connection all have one.
"""

import functools
import socket
import sys
import time
import uuid

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TKEY
import dns.tsig
import dns.update
import gssapi

server, host, mechanism, transport, zone, name, address = sys.argv[1:]
if transport == "connection":
    connection = socket.create_connection((server, 53))
    connection.setblocking(False)
    send = functools.partial(dns.query.tcp, sock=connection)
else:
    send = {"udp": dns.query.udp, "tcp": dns.query.tcp}[transport]
oid = {"spnego": "1.3.6.1.5.5.2", "krb5": "1.2.840.113554.1.2.2"}[mechanism]
GSS_API = 3

context = gssapi.SecurityContext(
    name=gssapi.Name("DNS@" + host, gssapi.NameType.hostbased_service),
    mech=gssapi.OID.from_int_seq(oid),
    usage="initiate",
)
key_name = dns.name.from_text("%s.%s" % (uuid.uuid4(), zone))
keys = dns.tsig.GSSTSigAdapter({key_name: dns.tsig.Key(key_name, context, dns.tsig.GSS_TSIG)})

token = context.step()
while not context.complete:
    now = int(time.time())
    request = dns.message.make_query(key_name, "TKEY", "ANY")
    request.keyring = keys
    tkey = dns.rdtypes.ANY.TKEY.TKEY(
        dns.rdataclass.ANY, dns.rdatatype.TKEY, dns.tsig.GSS_TSIG, now, now, GSS_API, dns.rcode.NOERROR, token, b""
    )
    request.find_rrset(dns.message.ADDITIONAL, key_name, dns.rdataclass.ANY, dns.rdatatype.TKEY, create=True).add(tkey)
    # Reading the reply hands its token to the context, and verifies its signature with it.
    reply = send(request, server, timeout=20)
    error = reply.answer[0][0].error
    if reply.rcode() or error:
        sys.exit("TKEY: %s, error %s" % (dns.rcode.to_text(reply.rcode()), error))
    if not reply.had_tsig:
        sys.exit("the TKEY reply is not signed")

for owner in (name + ".", "wpad.%s." % zone):
    update = dns.update.UpdateMessage(zone, keyring=keys, keyname=key_name, keyalgorithm=dns.tsig.GSS_TSIG)
    update.replace(owner, 300, "A", address)
    reply = send(update, server, timeout=20)
    if not reply.had_tsig:
        sys.exit("the reply is not signed")
    # The owner's first label is in full, the zone's name a pointer.
    label = key_name.labels[0]
    at = update.to_wire().rfind(bytes([len(label)]) + label) + 1 + len(label)
    compressed = update.to_wire()[at] >= 0xC0
    print(dns.rcode.to_text(reply.rcode()), "compressed" if compressed else "in full")
