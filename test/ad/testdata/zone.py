"""Fill a zone in the directory, as the accounts that own the names.

zone.py HOST ZONE < PLAN

PLAN is JSON: the passwords of accounts, and nodes with account, name, records (type, data, ttl, hours since 1601) and, for a
tombstone, the time since then in 100 ns. Every node is created by LDAP with its account's password, so that the controller
decides who its owner is. Prints how many nodes there are.
"""

import json
import sys

import ldb
import samba.param
from samba.auth import system_session
from samba.credentials import MUST_USE_KERBEROS, Credentials
from samba.dcerpc import dnsp
from samba.ndr import ndr_pack
from samba.samdb import SamDB

host, zone = sys.argv[1:]
plan = json.load(sys.stdin)
lp = samba.param.LoadParm()
lp.load_default()


def connect(account, password):
    credentials = Credentials()
    credentials.guess(lp)
    credentials.set_username(account)
    credentials.set_password(password)
    credentials.set_kerberos_state(MUST_USE_KERBEROS)
    return SamDB(url="ldap://" + host, session_info=system_session(lp), credentials=credentials, lp=lp)


def pack(record):
    r = dnsp.DnssrvRpcRecord()
    r.wType, r.dwTtlSeconds, r.dwTimeStamp, r.dwSerial, r.rank = record["type"], record["ttl"], record["hours"], 7, 0xF0
    words = record["data"].split(" ")
    if r.wType == dnsp.DNS_TYPE_MX:
        r.data = dnsp.mx()
        r.data.wPriority, r.data.nameTarget = int(words[0]), words[1]
    elif r.wType == dnsp.DNS_TYPE_SRV:
        r.data = dnsp.srv()
        r.data.wPriority, r.data.wWeight, r.data.wPort = [int(word) for word in words[:3]]
        r.data.nameTarget = words[3]
    elif r.wType == dnsp.DNS_TYPE_TXT:
        r.data = dnsp.string_list()
        r.data.count, r.data.str = len(words), words
    elif r.wType == 65280:
        r.data = bytes.fromhex(record["data"])
    else:
        r.data = record["data"]
    return ndr_pack(r)


def tombstone(since):
    r = dnsp.DnssrvRpcRecord()
    r.wType, r.data, r.rank = dnsp.DNS_TYPE_TOMBSTONE, since, 0
    return ndr_pack(r)


connections = {account: connect(account, password) for account, password in plan["passwords"].items()}
for node in plan["nodes"]:
    directory = connections[node["account"]]
    dn = ldb.Dn(directory, "DC=%s,DC=%s,CN=MicrosoftDNS,DC=DomainDnsZones,%s" % (node["name"], zone, directory.get_default_basedn()))
    message = ldb.Message(dn)
    message["objectClass"] = ldb.MessageElement(["top", "dnsNode"], 0, "objectClass")
    values = [pack(record) for record in node["records"]]
    if node["deleted"]:
        values = [tombstone(node["deleted"])]
        message["dNSTombstoned"] = ldb.MessageElement("TRUE", 0, "dNSTombstoned")
    message["dnsRecord"] = ldb.MessageElement(values, 0, "dnsRecord")
    directory.add(message)
print(len(plan["nodes"]))
