"""talk.py serve ADDRESS: says "ready", echoes a datagram and a TCP stream at port 7, ends.
talk.py call ADDRESS: gets an echo by both."""
import socket
import sys
import threading

what, address = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
tcp = socket.socket(family, socket.SOCK_STREAM)
udp = socket.socket(family, socket.SOCK_DGRAM)
for each in tcp, udp:
    each.settimeout(10)


def serve():
    for each in tcp, udp:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind((address, 7))
    tcp.listen()
    print("ready", flush=True)
    data, caller = udp.recvfrom(65536)
    udp.sendto(data, caller)
    peer = tcp.accept()[0]
    while data := peer.recv(65536):
        peer.sendall(data)


def call():
    udp.connect((address, 7))
    udp.send(b"u" * 1000)
    assert udp.recv(65536) == b"u" * 1000
    tcp.connect((address, 7))
    sent = b"t" * 100_000
    writer = threading.Thread(target=lambda: (tcp.sendall(sent), tcp.shutdown(socket.SHUT_WR)))
    writer.start()
    got = b""
    while data := tcp.recv(65536):
        got += data
    assert got == sent


{"serve": serve, "call": call}[what]()
