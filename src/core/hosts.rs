//! The hosts that an operator may connect to, as whoever runs it has listed them.
//!
//! A name is allowed by its name, wherever it leads to: whoever lists one trusts those who answer for it. Every other name is
//! allowed by all the addresses that it has at the moment, if the list has addresses, and an address by itself. Whoever
//! connects does so to the addresses that were looked at, and looks no name up twice.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// What may be connected to; nothing is listed where all of it may be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedHosts(Vec<AllowedHost>);

/// One entry of the list: which hosts, and at which port, if not at all of them. Displayed as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    /// That name, in lower case and without a dot at its end.
    Name(String),
    /// Every name that ends in a dot and this one.
    Below(String),
    /// Addresses that begin with so many bits of this one, whose other bits are 0.
    Network { first: IpAddr, bits: u32 },
}

/// Why a host isn't connected to. Who shows it says before which host that is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}the operator may not connect there, as its flag --allowed-hosts lists other hosts: name one of those, or ask whoever \
     runs the operator to add this one",
    .leads_to.map(|address| format!("its name leads to {address}: ")).unwrap_or_default()
)]
pub struct NotAllowed {
    /// The address that isn't allowed, where the name might have been.
    pub leads_to: Option<IpAddr>,
}

/// What is wrong with an entry of the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// There is nothing.
    #[error("it is empty: name a host, or leave the flag out where all of them are allowed")]
    Empty,
    /// Neither a name nor an address.
    #[error(
        "it is no host: write a name, *.example.org, an address or a range such as 10.0.0.0/8, with a port behind a colon or \
         without, and an IPv6 address with a port in brackets, [fd00::1]:5432"
    )]
    NoHost,
    /// A star that doesn't stand for the labels in front.
    #[error(
        "a * stands for the labels in front of a name alone: write *.example.org; for every address, 0.0.0.0/0 and ::/0"
    )]
    Star,
    /// A name that a resolver may read as an address, whose numbers are wrong.
    #[error(
        "its last label is a number, as in an address, which it isn't: write all four numbers, or correct the name"
    )]
    NearlyAnAddress,
    /// Not from 1 to 65535.
    #[error("its port isn't a number from 1 to 65535")]
    Port,
    /// More bits than an address has.
    #[error("its range has more than the {0} bits of such an address")]
    Bits(u32),
    /// An address in the middle of a range.
    #[error("it is an address of the range {0}: write that, or the address without its /")]
    WithinRange(String),
    /// `::ffff:10.0.0.1`.
    #[error("it is an IPv4 address in the form of IPv6: write it as one of IPv4")]
    Mapped,
}

impl AllowedHosts {
    /// Those of a list; all where it is empty.
    #[must_use]
    pub fn new(listed: Vec<AllowedHost>) -> Self {
        Self(listed)
    }

    /// Whether somebody has thought about which hosts are connected to.
    #[must_use]
    pub fn is_list(&self) -> bool {
        !self.0.is_empty()
    }

    /// Judges a host as it is written, before it is looked up: what passes may still be refused by [`admit`](Self::admit).
    ///
    /// # Errors
    /// It is refused, wherever its name may lead to.
    pub fn consider(&self, host: &str, port: u16) -> Result<(), NotAllowed> {
        match self.judge(host, port) {
            Judgement::Allowed | Judgement::ByAddress => Ok(()),
            Judgement::Refused => Err(NotAllowed { leads_to: None }),
        }
    }

    /// Judges a host by the addresses that it has, all of which may then be connected to.
    ///
    /// # Errors
    /// It is refused, for its name or for one of the addresses.
    pub fn admit(&self, host: &str, port: u16, addresses: impl IntoIterator<Item = IpAddr>) -> Result<(), NotAllowed> {
        match self.judge(host, port) {
            Judgement::Allowed => Ok(()),
            Judgement::Refused => Err(NotAllowed { leads_to: None }),
            Judgement::ByAddress => match addresses.into_iter().find(|address| !self.holds(*address, port)) {
                None => Ok(()),
                refused => Err(NotAllowed { leads_to: refused }),
            },
        }
    }

    fn judge(&self, host: &str, port: u16) -> Judgement {
        if self.0.is_empty() {
            return Judgement::Allowed;
        }
        if let Ok(address) = host.parse() {
            return if self.holds(address, port) { Judgement::Allowed } else { Judgement::Refused };
        }
        let name = name(host);
        let mut by_address = false;
        for hosts in self.at(port) {
            match hosts {
                Hosts::Name(listed) if name.as_ref() == Some(listed) => return Judgement::Allowed,
                Hosts::Below(listed) if name.as_ref().is_some_and(|name| is_below(name, listed)) => {
                    return Judgement::Allowed;
                }
                Hosts::Name(_) | Hosts::Below(_) => {}
                Hosts::Network { .. } => by_address = true,
            }
        }
        if by_address { Judgement::ByAddress } else { Judgement::Refused }
    }

    fn holds(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        self.at(port).any(|hosts| match hosts {
            Hosts::Network { first, bits } => common_bits(*first, address).is_some_and(|common| common >= *bits),
            Hosts::Name(_) | Hosts::Below(_) => false,
        })
    }

    fn at(&self, port: u16) -> impl Iterator<Item = &Hosts> {
        self.0.iter().filter(move |listed| listed.port.is_none_or(|listed| listed == port)).map(|listed| &listed.hosts)
    }
}

/// What a host is, by the way it is written.
enum Judgement {
    Allowed,
    /// As its addresses are.
    ByAddress,
    Refused,
}

/// A name as it is compared; None for what isn't one, whatever a resolver makes of it.
fn name(host: &str) -> Option<String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    (host.len() <= 253 && host.split('.').all(is_label)).then(|| host.to_ascii_lowercase())
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|front| front.ends_with('.'))
}

/// How many bits two addresses have in common from their beginning; None where they are of two kinds.
fn common_bits(one: IpAddr, other: IpAddr) -> Option<u32> {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => Some((one.to_bits() ^ other.to_bits()).leading_zeros()),
        (IpAddr::V6(one), IpAddr::V6(other)) => Some((one.to_bits() ^ other.to_bits()).leading_zeros()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

impl FromStr for AllowedHost {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(EntryError::Empty);
        }
        if text.contains("://") {
            return Err(EntryError::NoHost);
        }
        let (host, port) = split(text)?;
        let port = match port {
            None => None,
            Some(port) => Some(number(port).filter(|port| *port > 0).ok_or(EntryError::Port)?),
        };
        Ok(Self { hosts: hosts(host)?, port })
    }
}

/// Host and port. What has more than one colon is an address of IPv6, whose port stands behind brackets.
fn split(text: &str) -> Result<(&str, Option<&str>), EntryError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').filter(|(host, _)| host.contains(':')).ok_or(EntryError::NoHost)?;
        return match (behind, behind.strip_prefix(':')) {
            ("", _) => Ok((host, None)),
            (_, Some(port)) => Ok((host, Some(port))),
            (_, None) => Err(EntryError::NoHost),
        };
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Ok((host, Some(port))),
        Some(_) | None => Ok((text, None)),
    }
}

fn hosts(text: &str) -> Result<Hosts, EntryError> {
    if let Some((address, bits)) = text.split_once('/') {
        let address: IpAddr = address.parse().map_err(|_| EntryError::NoHost)?;
        let all = bits_of(address);
        let bits = number(bits).ok_or(EntryError::NoHost)?;
        if bits > all {
            return Err(EntryError::Bits(all));
        }
        return network(address, bits);
    }
    if let Ok(address) = text.parse() {
        return network(address, bits_of(address));
    }
    let (below, text) = match text.strip_prefix("*.") {
        Some(suffix) => (true, suffix),
        None => (false, text),
    };
    if text.contains('*') {
        return Err(EntryError::Star);
    }
    let name = name(text).ok_or(EntryError::NoHost)?;
    // What resolvers take for an address, in whichever form, ends in a number; no domain does.
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(EntryError::NearlyAnAddress);
    }
    Ok(if below { Hosts::Below(name) } else { Hosts::Name(name) })
}

/// Digits alone: what else Rust takes for a number is a slip here.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn network(address: IpAddr, bits: u32) -> Result<Hosts, EntryError> {
    if address.to_canonical() != address {
        return Err(EntryError::Mapped);
    }
    let rest = bits_of(address) - bits;
    let first = match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    };
    if first == address {
        Ok(Hosts::Network { first, bits })
    } else {
        Err(EntryError::WithinRange(format!("{first}/{bits}")))
    }
}

fn bits_of(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hosts, port } = self;
        let hosts = match hosts {
            Hosts::Name(name) => name.clone(),
            Hosts::Below(suffix) => format!("*.{suffix}"),
            Hosts::Network { first, bits } if *bits == bits_of(*first) => first.to_string(),
            Hosts::Network { first, bits } => format!("{first}/{bits}"),
        };
        match port {
            None => f.write_str(&hosts),
            Some(port) if hosts.contains(':') => write!(f, "[{hosts}]:{port}"),
            Some(port) => write!(f, "{hosts}:{port}"),
        }
    }
}

impl fmt::Display for AllowedHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&listed.join(","))
    }
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
