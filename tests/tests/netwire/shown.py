"""What `netwire show` says, read by parsers that are not ours. shown.py FORM FILE prints the wires."""
import json
import re
import sys
import xml.etree.ElementTree as xml

form, file = sys.argv[1:]
with open(file, encoding="utf-8") as opened:
    text = opened.read()
for character in text:
    # A terminal would obey it.
    assert character == "\n" or ord(character) >= 32 and not 127 <= ord(character) < 160, f"{character!r} is raw"


def from_json():
    nets = json.loads(text)
    ends = {(net["net"], link["name"]): (net, link) for net in nets for link in net["links"]}
    assert len({net["net"] for net in nets}) == len(nets), "a namespace twice"
    for net, link in ends.values():
        known = {"name", "index", "kind", "mac", "mtu", "up", "addresses", "bridge", "peer", "parent"}
        assert known <= link.keys(), link
        assert link["bridge"] is None or ends[net["net"], link["bridge"]][1]["kind"] == "bridge"
        if link["peer"]:
            there, peer = ends[link["peer"]["net"], link["peer"]["name"]]
            assert peer["peer"]["net"] == net["net"] and peer["peer"]["name"] == link["name"], "not mutual"
            yield f'{link["name"]}@{net["name"]} - {peer["name"]}@{there["name"]}'
        if link["parent"]:
            there, parent = ends[link["parent"]["net"], link["parent"]["name"]]
            yield f'{link["name"]}@{net["name"]} on {parent["name"]}@{there["name"]}'
        if link["bridge"]:
            yield f'{link["name"]}@{net["name"]} of {link["bridge"]}'
        for address in link["addresses"]:
            if link["name"] != "lo" and not address.startswith("fe80"):
                yield f'{link["name"]}@{net["name"]} has {address}'
        if not link["up"]:
            yield f'{link["name"]}@{net["name"]} is down'


def from_dot():
    string = r'"((?:[^"\\]|\\.)*)"'
    nodes = dict(re.findall(rf"^ *{string} \[label={string}.*\];$", text, re.M))
    edges = re.findall(rf"^ *{string} -- {string}(?: \[.*\])?;$", text, re.M)
    frame = r'(graph \w+ \{|(graph|node|edge) \[.*\];|subgraph "\w+" \{|label=".*";|\})'
    for line in text.splitlines():
        if not re.fullmatch(rf' *({frame}|{string}( -- {string})?( \[.*\])?;)', line):
            sys.exit(f"not DOT: {line}")
    assert text.count("{\n") == len(re.findall(r"^ *\}$", text, re.M))
    for edge in edges:
        yield " -- ".join(sorted(nodes[end].split("\\n")[0] for end in edge))


def from_svg():
    root = xml.fromstring(text)
    name = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{name}svg" and root.get("viewBox")
    _, _, width, height = map(float, root.get("viewBox").split())
    for circle in root.findall(f"{name}circle"):
        assert 0 <= float(circle.get("cx")) <= width and 0 <= float(circle.get("cy")) <= height, "not in the picture"
    for path in root.findall(f"{name}path"):
        yield path.find(f"{name}title").text
    for each in root.iter(f"{name}text"):
        yield "text " + "".join(each.itertext())


for line in sorted({"json": from_json, "dot": from_dot, "svg": from_svg}[form]()):
    print(line)
