"""What netwire could have changed, here and in every namespace of /run/netns."""
import ctypes
import json
import os
import subprocess
import sys


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def listed(*command):
    return json.loads(run(*command) or "[]")


def links():
    for link in listed("ip", "-d", "-j", "addr"):
        kind = link.get("linkinfo", {}).get("info_kind")
        up = "UP" in link["flags"]
        keys = "ifindex", "ifname", "address", "mtu", "master", "link", "link_index", "ifalias", "qdisc"
        yield "link", kind, up, [link.get(key) for key in keys]
        for address in link["addr_info"]:
            # The kernel makes those of the link's own, once there is a carrier.
            if address.get("local") and address["scope"] != "link":
                yield "address", link["ifname"], address["local"], address["prefixlen"]


def routes():
    for family in "-4", "-6":
        for route in listed("ip", "-j", family, "route", "show", "table", "all"):
            if not route["dst"].startswith(("fe80", "ff00")):
                keys = "type", "dst", "gateway", "dev", "metric", "table", "protocol", "prefsrc"
                yield "route", family, [route.get(key) for key in keys]


def rest():
    for qdisc in listed("tc", "-j", "qdisc", "show"):
        yield "qdisc", qdisc["dev"], qdisc["kind"], json.dumps(qdisc.get("options"))
    for line in run("nft", "list", "ruleset").splitlines():
        yield "rule", line
    for file in "ipv4/ip_forward", "ipv6/conf/all/forwarding":
        with open(f"/proc/sys/net/{file}") as value:
            yield file, value.read().strip()


CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
for name in ["", *sorted(os.listdir("/run/netns"))]:
    with open(f"/run/netns/{name}" if name else "/proc/self/ns/net") as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET):
            sys.exit(f"{name}: {os.strerror(ctypes.get_errno())}")
    for part in links, routes, rest:
        found = [str(line) for line in part()]
        # The order of addresses and rules says something, that of routes nothing.
        for line in sorted(found) if part is routes else found:
            print(name or ".", line)
