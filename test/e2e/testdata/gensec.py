"""A TKEY exchange by Samba's library, which is Heimdal's Kerberos: bare tokens over TCP, each of the server's given to the library
whatever the error beside it, as `net ads dns` does. Prints a line for each reply, and how it ended.

gensec.py ADDRESS PORT REALM HOST
"""

import os
import socket
import struct
import sys
import time

from samba import credentials, gensec
from samba.param import LoadParm

address, port, realm, host = sys.argv[1:]
TKEY, ANY, GSS_API = 249, 255, 3


def wire_name(name):
    labels = [label for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def after_name(message, at):
    while message[at]:
        if message[at] >= 0xC0:
            return at + 2
        at += 1 + message[at]
    return at + 1


def receive(connection, length):
    octets = b""
    while len(octets) < length:
        more = connection.recv(length - len(octets))
        if not more:
            sys.exit("the server closed the connection")
        octets += more
    return octets


def ask(connection, key_name, token):
    now = int(time.time())
    data = wire_name("gss-tsig") + struct.pack("!IIHHH", now, now, GSS_API, 0, len(token)) + token + b"\0\0"
    query = (
        struct.pack("!HHHHHH", os.getpid() & 0xFFFF, 0, 1, 0, 0, 1)
        + key_name + struct.pack("!HH", TKEY, ANY)
        + key_name + struct.pack("!HHIH", TKEY, ANY, 0, len(data)) + data
    )
    connection.sendall(struct.pack("!H", len(query)) + query)
    reply = receive(connection, struct.unpack("!H", receive(connection, 2))[0])
    if reply[3] & 15 or reply[6:8] != b"\0\1":
        sys.exit("rcode %d" % (reply[3] & 15))
    record = after_name(reply, after_name(reply, 12) + 4)
    fields = after_name(reply, record + 10) + 10
    error, size = struct.unpack("!HH", reply[fields : fields + 4])
    return error, reply[fields + 4 : fields + 4 + size]


parameters = LoadParm()
parameters.set("realm", realm)
login = credentials.Credentials()
login.guess(parameters)
login.set_kerberos_state(credentials.MUST_USE_KERBEROS)
login.set_named_ccache(os.environ["KRB5CCNAME"], credentials.SPECIFIED, parameters)
context = gensec.Security.start_client({"lp_ctx": parameters, "target_hostname": host})
context.set_credentials(login)
context.set_target_service("DNS")
context.set_target_hostname(host)
context.want_feature(gensec.FEATURE_SIGN)
context.start_mech_by_name("gssapi_krb5")

name = wire_name("%d.sig.test" % os.getpid())
with socket.create_connection((address, int(port)), timeout=20) as server:
    finished, token = context.update(b"")
    while not finished:
        error, answer = ask(server, name, token)
        print("error %d" % error)
        try:
            finished, token = context.update(answer)
        except Exception as failure:
            sys.exit("gave up: %s" % failure)
print("established")
