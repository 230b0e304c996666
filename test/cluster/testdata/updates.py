"""One context, and several updates signed with it, each on a connection of its own.

updates.py SERVER PORT HOST ZONE NAME ADDRESS...

The library verifies each reply, and MIT's, by the default flags of gssapi, the order of the replies' sequence numbers.
"""

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

server, port, host, zone, name, *addresses = sys.argv[1:]
GSS_API = 3

context = gssapi.SecurityContext(name=gssapi.Name("DNS@" + host, gssapi.NameType.hostbased_service), usage="initiate")
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
    reply = dns.query.tcp(request, server, port=int(port), timeout=20)
    if reply.rcode() or reply.answer[0][0].error or not reply.had_tsig:
        sys.exit("TKEY: %s, error %s" % (dns.rcode.to_text(reply.rcode()), reply.answer[0][0].error))

flags = context.actual_flags
if gssapi.RequirementFlag.out_of_sequence_detection not in flags:
    sys.exit("the order of replies is not verified")
for address in addresses:
    update = dns.update.UpdateMessage(zone, keyring=keys, keyname=key_name, keyalgorithm=dns.tsig.GSS_TSIG)
    update.replace(name, 300, "A", address)
    reply = dns.query.tcp(update, server, port=int(port), timeout=20)
    if not reply.had_tsig:
        sys.exit("the reply is not signed")
    print(dns.rcode.to_text(reply.rcode()))
