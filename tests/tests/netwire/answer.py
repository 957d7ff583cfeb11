"""answer.py TAP ADDRESS: says "ready", answers ARP and ICMP for ADDRESS on the TAP."""
import fcntl
import os
import socket
import struct
import sys

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
MAC = bytes.fromhex("0200000000aa")
ARP, IPV4, ICMP, REQUEST = b"\x08\x06", b"\x08\x00", 1, 8

tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", sys.argv[1].encode(), IFF_TAP | IFF_NO_PI))
own = socket.inet_aton(sys.argv[2])
print("ready", flush=True)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


while True:
    frame = os.read(tap, 65536)
    ether, packet = frame[6:12] + MAC + frame[12:14], frame[14:]
    if frame[12:14] == ARP and packet[24:28] == own:
        os.write(tap, ether + packet[:6] + b"\0\2" + MAC + own + packet[8:18])
    elif frame[12:14] == IPV4 and packet[9] == ICMP and packet[16:20] == own and packet[20] == REQUEST:
        # The header's own checksum does not change when source and destination are swapped.
        echo = b"\0\0\0\0" + packet[24:]
        echo = b"\0\0" + checksum(echo if len(echo) % 2 == 0 else echo + b"\0") + echo[4:]
        os.write(tap, ether + packet[:12] + own + packet[12:16] + echo)
