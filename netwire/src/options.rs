//! From words to what is to be done.

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use seal::cli::{self, number};
use seal::getopt::{Page, Parser};
use seal::nearest::nearest;
use seal::{Error, passwd};

use crate::commands::{COMMANDS, Command, HOST};
use crate::declaration::{Declaration, Kind, NewLink, Route, Settings};
use crate::link::Address;
use crate::words::{self, End, Wanted};
use crate::{net, show};

/// What netwire was called for.
pub enum Called {
    /// To make one thing so.
    Declare(Declaration),
    /// To make all that a file declares so.
    Apply { file: OsString, dry_run: bool },
    /// To show what is.
    Show { targets: Vec<OsString>, form: show::Form },
}

/// Parses the command line; ends the run where `--help` and the like are asked for.
pub fn parse(words: Vec<OsString>) -> Result<Called, Error> {
    let usage = "COMMAND [OPERAND]... [OPTION]...\n--help | --man | --version";
    let commands = COMMANDS.iter().map(|one| format!("  {:9} {:26} {}\n", one.name, one.usage, one.about));
    let about = format!(
        "Wire network namespaces together\n\n{}\n\
         T is . (here), a PID, PID:INODE, a path or a name in {}; IF@T is a link there.\n\
         netwire COMMAND --help lists the options of a command.",
        commands.collect::<String>(),
        net::NAMED
    );
    let page = Page { tool: "netwire", about: &about, usage, options: &[cli::ABOUT_ITSELF], group: None, words: &[] };
    let mut parser = Parser::new(page.options, words);
    while let Some((option, _)) = parser.option()? {
        if option.long == "man" {
            cli::run("netwire", || cli::print(man(&page).as_bytes()).map(|()| 0));
        }
        cli::about_itself(option, &page);
    }
    let mut words = parser.rest().into_iter();
    let name = words.next().ok_or_else(|| Error::usage("COMMAND is missing"))?;
    let command = find(&name, COMMANDS)?;
    let mut given = Given::parse(command, words.collect())?;
    match command.name {
        "apply" => {
            let (dry_run, file) = (given.flag("dry-run"), given.operand("FILE")?);
            given.end()?;
            Ok(Called::Apply { file, dry_run })
        }
        "show" => {
            let forms = [("json", show::Form::Json), ("dot", show::Form::Dot), ("svg", show::Form::Svg)];
            let mut forms = forms.into_iter().filter(|(name, _)| given.flag(name)).map(|(_, form)| form);
            let form = forms.next().unwrap_or(show::Form::Tree);
            if forms.next().is_some() {
                return Err(Error::usage("--json, --dot and --svg exclude one another"));
            }
            Ok(Called::Show { targets: given.operands.collect(), form })
        }
        _ => given.declaration(command).map(Called::Declare),
    }
}

/// Parses the words of a line of a topology.
pub fn declaration(words: Vec<OsString>) -> Result<Declaration, Error> {
    let mut words = words.into_iter();
    let name = words.next().unwrap_or_default();
    let command = if name == HOST.name { &HOST } else { find(&name, COMMANDS)? };
    if matches!(command.name, "apply" | "show") {
        return Err(Error::usage(format!("{} is no declaration", command.name)));
    }
    Given::parse(command, words.collect())?.declaration(command)
}

fn find<'a>(name: &OsStr, commands: &'a [Command]) -> Result<&'a Command, Error> {
    commands.iter().find(|command| name == command.name).ok_or_else(|| {
        let near = name.to_str().and_then(|name| nearest(name, commands.iter().map(|command| command.name)));
        Error::usage(format!("there is no command {name:?}"))
            .maybe_hint(near.map(|near| format!("did you mean {near}?")))
    })
}

const TARGETS: &str = "\
.SH COMMANDS
An end is IF@T, of at most 15 bytes before the @. T is . for here, the default; a PID, of contain for the container, of
any other process for the namespace that it is in; PID:INODE, which names one process for ever; a path; or a name in
/run/netns. A name of digits alone is a PID: write the path. What a command makes must not be there.
";

const TOPOLOGIES: &str = "\
.SH TOPOLOGIES
A line is a command without the word netwire, but for apply and show. A # at the start of a word begins a comment,
quotes keep a word together. All of it is made so, in an order of netwire's own, or nothing: an error names its line.
What is so already is left alone, and so is what no line is about; del says that something is not there.
.SH EXIT STATUS
0, or 125 where it failed, and then nothing is changed.
";

fn man(page: &Page) -> String {
    let commands = COMMANDS.iter().chain([&HOST]);
    let sections = commands.map(|&Command { name, usage, about, options }| {
        Page { tool: name, about, usage, options: &[options], group: None, words: &[] }.man_section()
    });
    let page = Page { about: "Wire network namespaces together", ..*page };
    page.man() + TARGETS + &sections.collect::<String>() + TOPOLOGIES
}

/// The words of one command.
struct Given {
    operands: std::vec::IntoIter<OsString>,
    options: Vec<(&'static str, Option<OsString>)>,
}

impl Given {
    /// Options stand before, between and after the operands, up to `--`.
    fn parse(command: &'static Command, words: Vec<OsString>) -> Result<Self, Error> {
        let table = [command.options, cli::ABOUT_ITSELF];
        let mut parser = Parser::new(&table, words);
        let (mut operands, mut options) = (Vec::new(), Vec::new());
        loop {
            while let Some((option, argument)) = parser.option()? {
                let tool = format!("netwire {}", command.name);
                let page = Page {
                    tool: &tool,
                    about: command.about,
                    usage: command.usage,
                    options: &table,
                    group: None,
                    words: &[],
                };
                cli::about_itself(option, &page);
                options.push((option.long, argument));
            }
            let Some(word) = parser.operand() else { break };
            operands.push(word);
        }
        Ok(Self { operands: operands.into_iter(), options })
    }

    fn operand(&mut self, what: &str) -> Result<OsString, Error> {
        self.operands.next().ok_or_else(|| Error::usage(format!("{what} is missing")))
    }

    fn link_end(&mut self, what: &str) -> Result<End, Error> {
        End::parse(&self.operand(what)?)
    }

    /// No word is left over.
    fn end(&mut self) -> Result<(), Error> {
        self.operands.next().map_or(Ok(()), |word| Err(Error::usage(format!("{word:?} is one word too many"))))
    }

    fn flag(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| *option == name)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &OsStr> {
        self.options.iter().filter(move |(option, _)| *option == name).filter_map(|(_, argument)| argument.as_deref())
    }

    /// The last of this name.
    fn last<T>(&self, name: &str, parse: impl Fn(&OsStr) -> Result<T, Error>) -> Result<Option<T>, Error> {
        self.all(name).last().map(parse).transpose()
    }

    fn required<T>(&self, name: &str, parse: impl Fn(&OsStr) -> Result<T, Error>) -> Result<T, Error> {
        self.last(name, parse)?.ok_or_else(|| Error::usage(format!("--{name} is missing")))
    }

    /// A number from `min` to `max`.
    fn number(&self, name: &'static str, min: u32, max: u32) -> Result<Option<u32>, Error> {
        self.last(name, |word| {
            let found = word.to_str().and_then(|word| number(word, 10)).filter(|found| (min..=max).contains(found));
            found.ok_or_else(|| Error::usage(format!("--{name} {word:?} is no number from {min} to {max}")))
        })
    }

    fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<T, Error> {
        let chosen = self.last(name, |word| {
            let found = choices.iter().find(|(choice, _)| word == *choice).map(|(_, value)| *value);
            let names: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
            found.ok_or_else(|| Error::usage(format!("--{name} {word:?} is none of {}", names.join(", "))))
        })?;
        Ok(chosen.unwrap_or(choices[0].1))
    }

    /// The options that every link has, and the addresses that are left as operands.
    fn settings(&mut self, auto: bool) -> Result<Settings, Error> {
        let operands: Vec<_> = self.operands.by_ref().collect();
        let given = operands.iter().map(OsString::as_os_str).chain(self.all("addr"));
        let addresses = given.map(words::wanted).collect::<Result<Vec<_>, _>>()?;
        if !auto && addresses.contains(&Wanted::Auto) {
            return Err(Error::usage("only a wire to a bridge has an address \"auto\""));
        }
        let mtu = self.number("mtu", 68, 65535)?;
        Ok(Settings { addresses, mac: self.last("mac", words::mac)?, mtu, rate: self.last("rate", words::rate)? })
    }

    fn link(&mut self, end: End, kind: Kind) -> Result<Declaration, Error> {
        let settings = self.settings(matches!(kind, Kind::Wire { .. }))?;
        let via = self.all("via").map(words::address).collect::<Result<_, _>>()?;
        Ok(Declaration::Link(Box::new(NewLink { end, kind, settings, via })))
    }

    fn declaration(mut self, command: &Command) -> Result<Declaration, Error> {
        let declaration = match command.name {
            "host" => {
                let name = self.operand("NAME")?;
                if net::named(&name).is_err() || net::is_process(&name) || name.as_bytes().contains(&b'@') {
                    return Err(Error::new(format!("{name:?} is no name for a host")));
                }
                Declaration::Host { name, target: self.operand("TARGET")? }
            }
            "netns" => {
                let name = self.operand("NAME")?;
                net::named(&name)?;
                Declaration::Netns(name)
            }
            "del" => {
                let word = self.operand("IF")?;
                match Path::new(&word).strip_prefix(net::NAMED) {
                    Ok(name) => {
                        net::named(name.as_os_str())?;
                        Declaration::DelNetns(name.into())
                    }
                    Err(_) => Declaration::DelLink(End::parse(&word)?),
                }
            }
            "set" => {
                let (end, up, down) = (self.link_end("IF")?, self.flag("up"), self.flag("down"));
                if up && down {
                    return Err(Error::usage("--up and --down exclude one another"));
                }
                let settings = self.settings(false)?;
                if self.options.is_empty() && settings.addresses.is_empty() {
                    return Err(Error::usage(format!("nothing is to be set of {end}")));
                }
                Declaration::Set { end, settings, up: (up || down).then_some(up) }
            }
            "route" => self.route()?,
            "lo" => Declaration::Lo(self.operand("T")?),
            "deny-all" | "allow-all" | "allow" | "deny" | "bind" | "nat" => self.policy(command.name)?,
            name => self.new_link(name)?,
        };
        self.end()?;
        Ok(declaration)
    }

    fn new_link(&mut self, name: &str) -> Result<Declaration, Error> {
        const MACVLAN_MODES: &[(&str, u32)] = &[("bridge", 4), ("private", 1), ("vepa", 2), ("passthru", 8)];
        const IPVLAN_MODES: &[(&str, u16)] = &[("l2", 0), ("l3", 1), ("l3s", 2)];
        let mut end = self.link_end(match name {
            "veth" => "A",
            "bridge" | "wire" | "vxlan" => "BR",
            "tap" | "dummy" => "IF",
            _ => "PARENT",
        })?;
        let kind = match name {
            "bridge" => Kind::Bridge,
            "dummy" => Kind::Dummy,
            "tap" => Kind::Tap { owner: self.last("owner", user)?, bridge: self.last("bridge", words::interface)? },
            "vxlan" => {
                let id = self.number("id", 0, 0xff_ffff)?.ok_or_else(|| Error::usage("--id is missing"))?;
                let bridge = std::mem::replace(&mut end, End { name: format!("vxlan{id}").into(), target: ".".into() });
                end.target.clone_from(&bridge.target);
                let local = self.required("local", words::address)?;
                let remotes: Vec<_> = self.all("remote").map(words::address).collect::<Result<_, _>>()?;
                if let Some(other) = remotes.iter().find(|remote| remote.is_ipv4() != local.is_ipv4()) {
                    return Err(Error::usage(format!("--local {local} and --remote {other} are not of one family")));
                }
                let port = self.number("port", 1, 65535)?.unwrap_or(4789) as u16;
                Kind::Vxlan { bridge, id, local, remotes, port }
            }
            "veth" => {
                let addresses = self.all("peer-addr").map(words::wanted).collect::<Result<Vec<_>, _>>()?;
                if addresses.contains(&Wanted::Auto) {
                    return Err(Error::usage("only a wire to a bridge has an address \"auto\""));
                }
                let (mac, mtu) = (self.last("peer-mac", words::mac)?, self.number("mtu", 68, 65535)?);
                Kind::Veth { peer: self.link_end("B")?, settings: Settings { addresses, mac, mtu, rate: None } }
            }
            _ => {
                let word = self.operand("IF@T")?;
                if !word.as_bytes().contains(&b'@') {
                    return Err(Error::usage(format!("{word:?} names no target: write {}@. for here", word.display())));
                }
                let first = std::mem::replace(&mut end, End::parse(&word)?);
                match name {
                    "wire" => Kind::Wire { bridge: first },
                    "macvlan" => Kind::Macvlan { parent: first, mode: self.choice("mode", MACVLAN_MODES)? },
                    "ipvlan" => Kind::Ipvlan { parent: first, mode: self.choice("mode", IPVLAN_MODES)? },
                    _ => {
                        let id = self.number("id", 1, 4094)?.ok_or_else(|| Error::usage("--id is missing"))?;
                        Kind::Vlan { parent: first, id: id as u16 }
                    }
                }
            }
        };
        self.link(end, kind)
    }

    fn route(&mut self) -> Result<Declaration, Error> {
        let (target, word) = (self.operand("T")?, self.operand("PREFIX")?);
        let (via, dev) = (self.last("via", words::address)?, self.last("dev", words::interface)?);
        if via.is_none() && dev.is_none() {
            return Err(Error::usage("a route needs --via or --dev"));
        }
        let to = if word == "default" {
            let any = if via.is_some_and(|via| via.is_ipv6()) {
                IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            } else {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED)
            };
            Address { ip: any, prefix: 0 }
        } else {
            let bad = || Error::usage(format!("{word:?} is no prefix such as 10.1.0.0/16, nor default"));
            let (ip, prefix) = words::subnet(&word).ok_or_else(bad)?;
            let to = Address { ip, prefix: prefix.unwrap_or(if ip.is_ipv4() { 32 } else { 128 }) };
            if Address::bits(ip) != Address::bits(to.first()) {
                return Err(Error::new(format!("{to} has bits beyond its prefix; the network is {}", to.network())));
            }
            to
        };
        if let Some(via) = via.filter(|via| via.is_ipv4() != to.ip.is_ipv4()) {
            return Err(Error::usage(format!("{to} and --via {via} are not of one family")));
        }
        // 0 is what a route has that says nothing.
        let metric = self.number("metric", 0, u32::MAX)?.filter(|metric| *metric != 0);
        Ok(Declaration::Route { target, route: Route { to, via, dev, metric } })
    }

    fn policy(&mut self, name: &str) -> Result<Declaration, Error> {
        let bridge = self.link_end("BR")?;
        Ok(match name {
            "deny-all" => Declaration::DenyAll { bridge, except_bridge: self.flag("except-bridge") },
            "allow-all" => Declaration::AllowAll(bridge),
            "bind" => Declaration::Bind { bridge, side: self.operand("A")?, any: self.flag("any") },
            "nat" => {
                let out = self.required("out", words::interface)?;
                if out == bridge.name {
                    return Err(Error::new(format!("{bridge} cannot be its own way out")));
                }
                Declaration::Nat { bridge, out, off: self.flag("off") }
            }
            _ => {
                let sides = [self.operand("A")?, self.operand("B")?];
                if sides[0] == sides[1] {
                    return Err(Error::usage(format!("{:?} twice", sides[0])));
                }
                Declaration::Pair { bridge, sides, allow: name == "allow" }
            }
        })
    }
}

/// A user by name or number.
fn user(word: &OsStr) -> Result<u32, Error> {
    let found = word.to_str().and_then(|word| passwd::id(Path::new("/etc/passwd"), word).or_else(|| number(word, 10)));
    found.ok_or_else(|| Error::new(format!("there is no user {word:?}")))
}
