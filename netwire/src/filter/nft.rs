//! Messages of nftables (linux/netfilter/nf_tables.h), and one transaction of
//! them, which the kernel carries out wholly or not at all.

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, ExpressionAttribute, GenMessage, Hook, InetHookNumber, ListAttribute,
    NfTablesMessage, RuleAttribute, RuleMessage, SetAttribute, SetElementAttribute, SetElementList, SetElementMessage,
    SetFlags, SetMessage, TableAttribute, TableMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily as Family};

use super::sets::{IFINDEX, IFNAME};
use crate::socket::{Refusal, Request, Socket};

/// The name of every table.
pub const TABLE: &str = "netwire";
/// The verdict that lets a packet pass (NF_ACCEPT).
pub const ACCEPT: Verdict = Verdict::Other(1);
/// The one that does not (NF_DROP).
pub const DROP: Verdict = Verdict::Other(0);

/// So many elements, of up to 60 bytes, are sure to fit in an attribute, which has 64 KiB at most.
const ELEMENTS_AT_ONCE: usize = 1000;

/// What a set knows of a key besides the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Maps {
    /// Nothing: it is a set.
    No,
    /// That it is accepted.
    ToAccept,
    /// The name of a link.
    ToName,
}

/// A set without its elements. The types are nft's own numbers for them.
#[derive(Clone, Copy)]
pub struct Layout {
    /// Its name.
    pub name: &'static str,
    /// What each part of its keys is.
    pub types: &'static [u32],
    /// How many bytes its keys have.
    pub length: u32,
    /// What it maps them to.
    pub maps: Maps,
}

/// An element of a set, whose key is shorter than the room for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Element {
    /// As long as the set says, and zeros.
    pub key: [u8; 20],
    /// What it maps to, where that is a name.
    pub name: [u8; libc::IFNAMSIZ],
}

/// Messages that are carried out together.
#[derive(Default)]
pub struct Transaction(Vec<(Family, NfTablesMessage, u16)>);

impl Transaction {
    fn add(&mut self, family: Family, message: NfTablesMessage, flags: u16) {
        self.0.push((family, message, flags));
    }

    /// A table, if it is not there.
    pub fn table(&mut self, family: Family, name: &str) {
        let attributes = vec![TableAttribute::Name(name.to_owned())];
        self.add(family, NfTablesMessage::NewTable(TableMessage { attributes }), NLM_F_CREATE);
    }

    /// A table, which must not be there.
    pub fn new_table(&mut self, family: Family, name: &str) {
        let attributes = vec![TableAttribute::Name(name.to_owned())];
        self.add(family, NfTablesMessage::NewTable(TableMessage { attributes }), NLM_F_CREATE | NLM_F_EXCL);
    }

    /// Takes a table away with all that is in it. It may not be there: what
    /// leaves that alone (NFT_MSG_DESTROYTABLE) is as young as Linux 6.3.
    pub fn delete_table(&mut self, family: Family) {
        self.table(family, TABLE);
        let attributes = vec![TableAttribute::Name(TABLE.to_owned())];
        self.add(family, NfTablesMessage::DeleteTable(TableMessage { attributes }), 0);
    }

    /// Takes all rules of a table away.
    pub fn delete_rules(&mut self, family: Family) {
        let attributes = vec![RuleAttribute::Table(TABLE.to_owned())];
        self.add(family, NfTablesMessage::DeleteRule(RuleMessage { attributes }), 0);
    }

    /// A chain, if it is not there: for rules to go to, or for a hook, with
    /// the type of the chain and its place among the others there.
    pub fn chain(&mut self, family: Family, table: &str, name: &str, hook: Option<(&str, InetHookNumber, i32)>) {
        let mut attributes = vec![ChainAttribute::Table(table.to_owned()), ChainAttribute::Name(name.to_owned())];
        if let Some((kind, hook, priority)) = hook {
            attributes.push(ChainAttribute::Hook(vec![Hook::Number(hook.into()), Hook::Priority(priority as u32)]));
            attributes.push(ChainAttribute::Type(kind.to_owned()));
        }
        self.add(family, NfTablesMessage::NewChain(ChainMessage { attributes }), NLM_F_CREATE);
    }

    /// Takes a chain away, which has no rules and is there.
    pub fn delete_chain(&mut self, family: Family, name: &str) {
        let attributes = vec![ChainAttribute::Table(TABLE.to_owned()), ChainAttribute::Name(name.to_owned())];
        self.add(family, NfTablesMessage::DeleteChain(ChainMessage { attributes }), 0);
    }

    /// A rule at the end of a chain.
    pub fn rule(
        &mut self,
        family: Family,
        table: &str,
        chain: &str,
        expressions: Vec<ListAttribute<ExpressionAttribute>>,
    ) {
        let attributes = vec![
            RuleAttribute::Table(table.to_owned()),
            RuleAttribute::Chain(chain.to_owned()),
            RuleAttribute::Expressions(expressions),
        ];
        self.add(family, NfTablesMessage::NewRule(RuleMessage { attributes }), NLM_F_CREATE | NLM_F_APPEND);
    }

    /// A set, if it is not there.
    pub fn set(&mut self, family: Family, layout: &Layout) {
        // A concatenation is told to nft as its types in six bits each.
        let types = layout.types.iter().fold(0, |all, one| all << 6 | one);
        let mut attributes = vec![
            SetAttribute::Table(TABLE.to_owned()),
            SetAttribute::Name(layout.name.to_owned()),
            SetAttribute::KeyType(types),
            SetAttribute::KeyLen(layout.length),
            // Required, and of use only to what names the set by it.
            SetAttribute::Id(self.0.len() as u32),
            SetAttribute::UserData(byte_orders(layout)),
        ];
        match layout.maps {
            Maps::No => {}
            Maps::ToAccept => attributes.extend([
                SetAttribute::Flags(SetFlags::Map),
                // NFT_DATA_VERDICT
                SetAttribute::DataType(0xffff_ff00),
                SetAttribute::DataLen(4),
            ]),
            Maps::ToName => attributes.extend([
                SetAttribute::Flags(SetFlags::Map),
                SetAttribute::DataType(IFNAME),
                SetAttribute::DataLen(libc::IFNAMSIZ as u32),
            ]),
        }
        self.add(family, NfTablesMessage::NewSet(SetMessage { attributes }), NLM_F_CREATE);
    }

    /// Elements that a set gets.
    pub fn add_elements<'a>(
        &mut self,
        family: Family,
        layout: &Layout,
        elements: impl IntoIterator<Item = &'a Element>,
    ) {
        for message in element_messages(layout, elements) {
            self.add(family, NfTablesMessage::NewSetElement(message), NLM_F_CREATE);
        }
    }

    /// Elements of a set that go.
    pub fn delete_elements<'a>(
        &mut self,
        family: Family,
        layout: &Layout,
        elements: impl IntoIterator<Item = &'a Element>,
    ) {
        for message in element_messages(layout, elements) {
            self.add(family, NfTablesMessage::DeleteSetElement(message), 0);
        }
    }

    /// Carries it out.
    pub fn send(self, socket: &mut Socket) -> Result<(), Refusal> {
        let last = self.0.len().saturating_sub(1);
        let mut requests = vec![bound(ControlMessage::BatchBegin)];
        requests.extend(self.0.into_iter().enumerate().map(|(at, (family, message, flags))| {
            let flags = flags | NLM_F_REQUEST | if at == last { NLM_F_ACK } else { 0 };
            Request::of(NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message), flags)
        }));
        requests.push(bound(ControlMessage::BatchEnd));
        socket.transact(requests)
    }
}

/// What tells nft to show the numbers of links in the machine's order, not the
/// network's (NFTNL_UDATA_SET_KEYBYTEORDER, NFTNL_UDATA_SET_DATABYTEORDER).
fn byte_orders(layout: &Layout) -> Vec<u8> {
    const HOST_ENDIAN: u32 = 1;
    const BIG_ENDIAN: u32 = 2;
    let key = if matches!(layout.types, [IFINDEX | IFNAME]) { HOST_ENDIAN } else { BIG_ENDIAN };
    let data = (layout.maps == Maps::ToName).then_some((1, HOST_ENDIAN));
    let orders = [(0, key)].into_iter().chain(data);
    orders.flat_map(|(kind, order)| [kind, 4].into_iter().chain(order.to_ne_bytes())).collect()
}

/// What begins a transaction of nftables, or ends it.
fn bound(message: ControlMessage) -> Request {
    const NFNL_SUBSYS_NFTABLES: u16 = 10;
    let header = NetfilterHeader::new(Family::Unspec, 0, NFNL_SUBSYS_NFTABLES);
    Request::of(NetfilterMessage::new(header, message), NLM_F_REQUEST)
}

fn element_messages<'a>(
    layout: &Layout,
    elements: impl IntoIterator<Item = &'a Element>,
) -> impl Iterator<Item = SetElementMessage> {
    let elements: Vec<_> = elements.into_iter().map(|element| list_element(layout, element)).collect();
    let mut elements = elements.into_iter();
    std::iter::from_fn(move || {
        let some: Vec<_> = elements.by_ref().take(ELEMENTS_AT_ONCE).collect();
        (!some.is_empty()).then_some(some)
    })
    .map(|some| SetElementMessage {
        attributes: vec![
            SetElementList::Table(TABLE.to_owned()),
            SetElementList::Set(layout.name.to_owned()),
            SetElementList::Elements(some),
        ],
    })
}

fn list_element(layout: &Layout, element: &Element) -> ListAttribute<SetElementAttribute> {
    let key = element.key[..layout.length as usize].to_vec();
    let mut attributes = vec![SetElementAttribute::Key(DataAttribute::Value(key))];
    match layout.maps {
        Maps::No => {}
        Maps::ToAccept => attributes.push(SetElementAttribute::Data(verdict(ACCEPT, None))),
        Maps::ToName => attributes.push(SetElementAttribute::Data(DataAttribute::Value(element.name.to_vec()))),
    }
    ListAttribute::Element(attributes)
}

/// A verdict, which may name a chain.
pub fn verdict(code: Verdict, chain: Option<&str>) -> DataAttribute {
    let chain = chain.map(|name| VerdictAttribute::Chain(name.to_owned()));
    DataAttribute::Verdict([VerdictAttribute::Code(code)].into_iter().chain(chain).collect())
}

/// A request for all elements of a set.
pub fn elements_request(family: Family, set: &str) -> Request {
    let attributes = vec![SetElementList::Table(TABLE.to_owned()), SetElementList::Set(set.to_owned())];
    let message = NfTablesMessage::GetSetElement(SetElementMessage { attributes });
    Request::of(NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message), NLM_F_REQUEST | NLM_F_DUMP)
}

/// A request for the number that each change of nftables raises.
pub fn generation_request() -> Request {
    let message = NfTablesMessage::GetGen(GenMessage { attributes: Vec::new() });
    Request::of(NetfilterMessage::new(NetfilterHeader::new(Family::Unspec, 0, 0), message), NLM_F_REQUEST)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Nla;

    use super::*;

    #[test]
    fn lists_fit_in_attributes() {
        let types = &[IFINDEX, IFINDEX, IFINDEX, IFINDEX, IFINDEX];
        for maps in [Maps::No, Maps::ToAccept, Maps::ToName] {
            let layout = Layout { name: "longest", types, length: 20, maps };
            let elements = vec![Element::default(); 2 * ELEMENTS_AT_ONCE + 1];
            let messages: Vec<_> = element_messages(&layout, &elements).collect();
            assert_eq!(messages.len(), 3);
            assert!(messages.iter().flat_map(|message| &message.attributes).all(|list| list.value_len() < 0xfffc));
        }
    }
}
