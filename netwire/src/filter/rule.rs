//! One rule, made of the expressions of nftables: each reads something of a
//! packet, or compares what was read, and where that fails the rule ends.

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, ExpressionAttribute, Expressions, Immediate, ListAttribute, Lookup, Meta, MetaKey,
    Operator, Payload, Register, Verdict,
};

use super::nft::{self, ACCEPT, DROP};

/// What a rule reads of a packet. Numbers of more than one byte are as they
/// are in the packet.
#[derive(Clone, Copy)]
pub enum Field {
    /// What the kernel knows of it.
    Meta(MetaKey),
    /// The mark of a frame from a trunk, turned back into the number of the port that it came by at first.
    Source,
    /// Bytes of its Ethernet header, where a VLAN tag counts as it does on the wire: the first, and how many.
    Link(u32, u32),
    /// Likewise of its IP or ARP header, after all tags.
    Network(u32, u32),
    /// Likewise of what its IP header is followed by, after IPv6's extensions. Later fragments have none of it.
    Transport(u32, u32),
    /// Likewise of its fragment header (IPv6).
    Fragment(u32, u32),
    /// Whether it has one: 1, else 0.
    Fragmented,
    /// Which bits its connection has (enum ip_conntrack_info), in the machine's order.
    Connection,
}

/// Tells a mark of ours from others, and is no part of the number of a link.
pub const MARKED: u32 = 1 << 31;

/// A rule.
#[derive(Default)]
pub struct Rule(Vec<Expressions>);

/// The nth register of four bytes.
fn register(nth: u32) -> Register {
    const NFT_REG32_00: u32 = 8;
    Register::from(NFT_REG32_00 + nth)
}

fn value(bytes: &[u8]) -> DataAttribute {
    DataAttribute::Value(bytes.to_vec())
}

impl Field {
    /// How many bytes it has.
    fn length(self) -> u32 {
        match self {
            Self::Meta(MetaKey::L4Proto) | Self::Fragmented => 1,
            Self::Meta(MetaKey::EtherTypeProtocol) => 2,
            Self::Meta(MetaKey::BriIifname | MetaKey::BriOifname) => libc::IFNAMSIZ as u32,
            Self::Meta(_) | Self::Source | Self::Connection => 4,
            Self::Link(_, length) | Self::Network(_, length) => length,
            Self::Transport(_, length) | Self::Fragment(_, length) => length,
        }
    }

    /// Reads it into a register.
    fn load(self, into: Register) -> Vec<Expressions> {
        let payload = |base, from, length| {
            let place = [Payload::Base(base), Payload::Offset(from), Payload::Len(length)];
            vec![Expressions::Payload([Payload::DestinationRegister(into)].into_iter().chain(place).collect())]
        };
        match self {
            Self::Meta(key) => vec![Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(into)])],
            Self::Source => {
                let mut mark = Self::Meta(MetaKey::Mark).load(into);
                mark.push(flip(into));
                mark
            }
            Self::Link(from, length) => payload(0, from, length),
            Self::Network(from, length) => payload(1, from, length),
            Self::Transport(from, length) => payload(2, from, length),
            Self::Fragment(from, length) => vec![extension(into, from, length, 0)],
            // NFT_EXTHDR_F_PRESENT
            Self::Fragmented => vec![extension(into, 0, 1, 1)],
            // NFTA_CT_DREG, NFTA_CT_KEY: NFT_CT_STATE
            Self::Connection => vec![other("ct", [(1, big(into.into())), (2, big(0))])],
        }
    }
}

/// Reads of the fragment header: NFTA_EXTHDR_DREG, _TYPE, _OFFSET, _LEN, _FLAGS.
fn extension(into: Register, from: u32, length: u32, flags: u32) -> Expressions {
    const IPPROTO_FRAGMENT: u8 = 44;
    let place = [(1, big(into.into())), (2, vec![IPPROTO_FRAGMENT]), (3, big(from)), (4, big(length)), (5, big(flags))];
    other("exthdr", place)
}

fn big(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// An expression that the crate does not know.
fn other<const N: usize>(name: &str, attributes: [(u16, Vec<u8>); N]) -> Expressions {
    let attributes = attributes.into_iter().map(|(kind, value)| DefaultNla::new(kind, value)).collect();
    Expressions::Other { expression_type: name.to_owned(), attributes }
}

/// Keeps the bits of `mask` and then turns those of `xor`.
fn bitwise(at: Register, mask: &[u8], xor: &[u8]) -> Expressions {
    let registers = [Bitwise::SourceRegister(at), Bitwise::DestinationRegister(at)];
    let change = [Bitwise::Length(mask.len() as u32), Bitwise::Mask(value(mask)), Bitwise::Xor(value(xor))];
    Expressions::Bitwise(registers.into_iter().chain(change).collect())
}

/// The number of a link becomes a mark, and a mark that.
fn flip(at: Register) -> Expressions {
    bitwise(at, &[0xff; 4], &MARKED.to_ne_bytes())
}

impl Rule {
    fn compare(mut self, field: Field, operator: Operator, with: &[u8]) -> Self {
        let at = register(0);
        self.0.extend(field.load(at));
        self.0.push(Expressions::Cmp(vec![Cmp::SourceRegister(at), Cmp::Op(operator), Cmp::Data(value(with))]));
        self
    }

    /// Goes on where a field is this.
    pub fn is(self, field: Field, with: &[u8]) -> Self {
        self.compare(field, Operator::Equal, with)
    }

    /// Goes on where it is something else.
    pub fn other_than(self, field: Field, with: &[u8]) -> Self {
        self.compare(field, Operator::NotEqual, with)
    }

    /// Goes on where it is less.
    pub fn below(self, field: Field, with: &[u8]) -> Self {
        self.compare(field, Operator::LessThan, with)
    }

    /// Goes on where it is more.
    pub fn above(self, field: Field, with: &[u8]) -> Self {
        self.compare(field, Operator::GreaterThan, with)
    }

    fn masked(mut self, field: Field, mask: &[u8], operator: Operator, with: &[u8]) -> Self {
        let at = register(0);
        self.0.extend(field.load(at));
        self.0.push(bitwise(at, mask, &vec![0; mask.len()]));
        self.0.push(Expressions::Cmp(vec![Cmp::SourceRegister(at), Cmp::Op(operator), Cmp::Data(value(with))]));
        self
    }

    /// Goes on where these bits of it are this.
    pub fn bits(self, field: Field, mask: &[u8], with: &[u8]) -> Self {
        self.masked(field, mask, Operator::Equal, with)
    }

    /// Goes on where any of these bits is set.
    pub fn any_bit(self, field: Field, mask: &[u8]) -> Self {
        self.masked(field, mask, Operator::NotEqual, &vec![0; mask.len()])
    }

    /// Reads all of these one after the other, as the key of a set is.
    fn load(&mut self, fields: &[Field]) {
        let mut nth = 0;
        for field in fields {
            self.0.extend(field.load(register(nth)));
            nth += field.length().div_ceil(4);
        }
    }

    fn look_up(mut self, fields: &[Field], set: &str, more: Option<Lookup>) -> Self {
        self.load(fields);
        let lookup = [Lookup::Set(set.to_owned()), Lookup::SourceRegister(register(0))];
        self.0.push(Expressions::Lookup(lookup.into_iter().chain(more).collect()));
        self
    }

    /// Goes on where this is in the set.
    pub fn within(self, fields: &[Field], set: &str) -> Self {
        self.look_up(fields, set, None)
    }

    /// Goes on where it is not.
    pub fn without(self, fields: &[Field], set: &str) -> Self {
        const NFT_LOOKUP_F_INV: u32 = 1;
        self.look_up(fields, set, Some(Lookup::Flags(NFT_LOOKUP_F_INV)))
    }

    /// Does what the map says of this.
    pub fn map(self, fields: &[Field], map: &str) -> Self {
        self.look_up(fields, map, Some(Lookup::DestinationRegister(Register::Verdict)))
    }

    fn store_mark(mut self) -> Self {
        self.0.push(Expressions::Meta(vec![Meta::Key(MetaKey::Mark), Meta::SourceRegister(register(0))]));
        self
    }

    /// Gives the packet this mark.
    pub fn mark(mut self, mark: u32) -> Self {
        let data = Immediate::Data(value(&mark.to_ne_bytes()));
        self.0.push(Expressions::Immediate(vec![Immediate::DestinationRegister(register(0)), data]));
        self.store_mark()
    }

    /// Gives it the mark that [`Field::Source`] turns back into the port that it came by.
    pub fn mark_source(mut self) -> Self {
        self.load(&[Field::Meta(MetaKey::Iif)]);
        self.0.push(flip(register(0)));
        self.store_mark()
    }

    fn end(mut self, code: Verdict, chain: Option<&str>) -> Self {
        let data = Immediate::Data(nft::verdict(code, chain));
        self.0.push(Expressions::Immediate(vec![Immediate::DestinationRegister(Register::Verdict), data]));
        self
    }

    /// Lets the packet pass.
    pub fn accept(self) -> Self {
        self.end(ACCEPT, None)
    }

    /// Lets it not.
    pub fn drop(self) -> Self {
        self.end(DROP, None)
    }

    /// Leaves the rest to another chain.
    pub fn goto(self, chain: &str) -> Self {
        self.end(Verdict::Goto, Some(chain))
    }

    /// Gives it the address of the link that it leaves by.
    pub fn masquerade(mut self) -> Self {
        self.0.push(other("masq", []));
        self
    }

    /// Its expressions.
    pub fn expressions(self) -> Vec<ListAttribute<ExpressionAttribute>> {
        self.0.into_iter().map(Into::into).collect()
    }
}
