//! The commands, in one table, which is that of a topology's words, too.

use seal::getopt::Argument::{No, Required};
use seal::getopt::Opt;

const ADDR: Opt = Opt::new(' ', "addr", Required("ADDR"), "An address: 10.0.0.2/24, fd00::2/64")
    .docs("Beside those that it has. It is in use at once, without duplicate address detection.");
const ADDR_OR_AUTO: Opt =
    Opt::new(' ', "addr", Required("ADDR|auto"), "An address, or the next free one of each subnet of BR")
        .docs("As the operands; without /PREFIX it gets that of the subnet of BR that it is in.");
const MAC: Opt = Opt::new(' ', "mac", Required("MAC"), "The hardware address");
const MTU: Opt = Opt::new(' ', "mtu", Required("BYTES"), "The longest packet");
const RATE: Opt = Opt::new(' ', "rate", Required("RATE"), "How much may leave by it: 10mbit, 500kbit, 1gbit, none");
const VIA: Opt = Opt::new(' ', "via", Required("GW"), "A default route by this gateway");

/// One command.
pub struct Command {
    pub name: &'static str,
    pub usage: &'static str,
    pub about: &'static str,
    pub options: &'static [Opt],
}

const fn command(name: &'static str, usage: &'static str, about: &'static str, options: &'static [Opt]) -> Command {
    Command { name, usage, about, options }
}

pub const COMMANDS: &[Command] = &[
    command(
        "veth",
        "A[@T] B[@T]",
        "Make a pair of links, up",
        &[
            ADDR,
            Opt::new(' ', "peer-addr", Required("ADDR"), "An address of B"),
            MAC,
            Opt::new(' ', "peer-mac", Required("MAC"), "The hardware address of B"),
            MTU,
        ],
    ),
    command("bridge", "BR[@T] [ADDR]...", "Make a bridge, up", &[ADDR, MAC, MTU]),
    command(
        "wire",
        "BR[@T] IF@T [ADDR|auto]...",
        "Make IF and wire it to a bridge",
        &[ADDR_OR_AUTO, VIA, MAC, MTU, RATE],
    ),
    command(
        "macvlan",
        "PARENT[@T] IF@T [ADDR]...",
        "Make a link beside PARENT, with an own hardware address",
        &[
            ADDR,
            Opt::new(' ', "mode", Required("MODE"), "bridge (the default), private, vepa or passthru"),
            VIA,
            MAC,
            MTU,
        ],
    ),
    command(
        "ipvlan",
        "PARENT[@T] IF@T [ADDR]...",
        "Likewise with that of PARENT",
        &[ADDR, Opt::new(' ', "mode", Required("MODE"), "l2 (the default), l3 or l3s"), VIA, MTU],
    ),
    command(
        "vlan",
        "PARENT[@T] IF@T [ADDR]...",
        "Make a link for the frames of PARENT with a tag",
        &[ADDR, Opt::new(' ', "id", Required("1..4094"), "The tag"), VIA, MAC, MTU],
    ),
    command(
        "vxlan",
        "BR[@T]",
        "Make BR span machines, by a port vxlanN",
        &[
            Opt::new(' ', "id", Required("N"), "The network's number, up to 16777215"),
            Opt::new(' ', "local", Required("ADDRESS"), "The own address"),
            Opt::new(' ', "remote", Required("ADDRESS"), "That of another machine; any number of them"),
            Opt::new(' ', "port", Required("N"), "The UDP port, by default 4789"),
            MTU,
        ],
    ),
    command(
        "tap",
        "IF[@T] [ADDR]...",
        "Make a link whose frames a program reads and writes",
        &[
            ADDR,
            Opt::new(' ', "owner", Required("USER"), "Who may open it, by default who may change the namespace"),
            Opt::new(' ', "bridge", Required("BR"), "Make it a port of this bridge of the same namespace"),
            MAC,
            MTU,
        ],
    ),
    command("dummy", "IF[@T] [ADDR]...", "Make a link that swallows everything", &[ADDR, MAC, MTU]),
    command("netns", "NAME", "Make a named network namespace, /run/netns/NAME", &[]),
    command("del", "IF[@T] | /run/netns/NAME", "Delete a link or a named network namespace", &[]),
    command(
        "set",
        "IF[@T]",
        "Change a link",
        &[ADDR, MAC, MTU, Opt::new(' ', "up", No, "Bring it up"), Opt::new(' ', "down", No, "Bring it down"), RATE],
    ),
    command(
        "route",
        "T PREFIX|default",
        "Add a route",
        &[
            Opt::new(' ', "via", Required("GW"), "The next router"),
            Opt::new(' ', "dev", Required("IF"), "The interface"),
            Opt::new(' ', "metric", Required("N"), "The less, the sooner it is taken"),
        ],
    ),
    command("lo", "T", "Bring lo up", &[]),
    command(
        "deny-all",
        "BR[@T]",
        "Nothing reaches anything over this bridge but what is allowed",
        &[Opt::new(' ', "except-bridge", No, "All reach the addresses of the bridge itself")],
    ),
    command("allow", "BR[@T] A B", "A and B reach one another over this bridge", &[]),
    command("deny", "BR[@T] A B", "They no longer do", &[]),
    command(
        "bind",
        "BR[@T] A",
        "A may send from the addresses that it has now",
        &[Opt::new(' ', "any", No, "From any that is not another's, as a router or an uplink does")],
    ),
    command("allow-all", "BR[@T]", "All reach all over this bridge", &[]),
    command(
        "nat",
        "BR[@T] --out IF",
        "What leaves BR by IF gets the address of IF",
        &[
            Opt::new(' ', "out", Required("IF"), "The link, in the same namespace"),
            Opt::new(' ', "off", No, "No longer"),
        ],
    ),
    command(
        "apply",
        "FILE|-",
        "Make all that FILE declares, or nothing",
        &[Opt::new('n', "dry-run", No, "Show what would change")],
    ),
    command(
        "show",
        "[T]...",
        "Show who is wired to what",
        &[
            Opt::new(' ', "json", No, "As JSON"),
            Opt::new(' ', "dot", No, "As a graph for Graphviz"),
            Opt::new(' ', "svg", No, "As a picture"),
        ],
    ),
];

pub const HOST: Command = command("host", "NAME TARGET", "In a topology, name a target", &[]);
