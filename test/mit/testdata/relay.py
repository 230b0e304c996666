# Relays DNS over TCP to a server, and changes an octet of the signature in each answer to an UPDATE message.
# Usage: relay.py PORT SERVER
import socket, struct, sys, threading

OPCODE, UPDATE = 0x78, 0x28  # of the third octet
BEHIND_MAC = 6  # octets of a TSIG record behind its MAC: original ID, error, length of other data


def message(conn):
    header = conn.recv(2, socket.MSG_WAITALL)
    return conn.recv(struct.unpack("!H", header)[0], socket.MSG_WAITALL) if len(header) == 2 else b""


def serve(conn):
    with conn, socket.create_connection((sys.argv[2], 53)) as server:
        while query := message(conn):
            server.sendall(struct.pack("!H", len(query)) + query)
            answer = bytearray(message(server))
            if answer[2] & OPCODE == UPDATE:
                answer[-BEHIND_MAC - 1] ^= 1
            conn.sendall(struct.pack("!H", len(answer)) + answer)


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
