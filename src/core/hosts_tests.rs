use proptest::prelude::*;

use super::*;

fn list(entries: &[&str]) -> AllowedHosts {
    let entry = |text: &&str| text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    AllowedHosts::new(entries.iter().map(entry).collect())
}

/// What becomes of a host that has these addresses.
fn is_admitted(list: &AllowedHosts, host: &str, port: u16, addresses: &[&str]) -> bool {
    let addresses = addresses.iter().map(|address| address.parse().expect("an address"));
    let admitted = list.admit(host, port, addresses).is_ok();
    assert!(!admitted || list.consider(host, port).is_ok(), "{host}: what is admitted is considered");
    admitted
}

/// The list, the host, its port, its addresses, and whether it is connected to.
type Row<'a> = (&'a [&'a str], &'a str, u16, &'a [&'a str], bool);

#[test]
fn hosts_are_allowed_by_name_and_by_address() {
    const ANY: &[&str] = &["203.0.113.9"];
    let inside = &["10.1.2.3", "10.9.9.9"];
    #[rustfmt::skip]
    let table: &[Row] = &[
        (&[], "anything", 1, ANY, true),
        (&[], "127.0.0.1", 5432, &["127.0.0.1"], true),
        (&["db.example.org"], "db.example.org", 5432, ANY, true),
        (&["db.example.org"], "DB.Example.ORG.", 5432, ANY, true),
        (&["DB.example.org."], "db.example.org", 5432, ANY, true),
        (&["db.example.org"], "other.example.org", 5432, ANY, false),
        (&["db.example.org"], "a.db.example.org", 5432, ANY, false),
        (&["db.example.org"], "xdb.example.org", 5432, ANY, false),
        (&["db.example.org"], "203.0.113.9", 5432, ANY, false),
        (&["db.example.org:5432"], "db.example.org", 5432, ANY, true),
        (&["db.example.org:5432"], "db.example.org", 5433, ANY, false),
        (&["*.shop.svc"], "db.shop.svc", 5432, ANY, true),
        (&["*.svc.cluster.local"], "db.shop.svc.cluster.local", 5432, ANY, true),
        (&["*.shop.svc"], "shop.svc", 5432, ANY, false),
        (&["*.shop.svc"], ".shop.svc", 5432, ANY, false),
        (&["*.shop.svc"], "bookshop.svc", 5432, ANY, false),
        (&["*.shop.svc"], "a b.shop.svc", 5432, ANY, false),
        (&["*.shop.svc"], "127.0.0.1 .shop.svc", 5432, ANY, false),
        (&["*.shop.svc"], "db.shop.svc.evil.org", 5432, ANY, false),
        (&["10.0.0.0/8"], "10.200.0.1", 5432, &["10.200.0.1"], true),
        (&["10.0.0.0/8"], "::ffff:10.200.0.1", 5432, &["::ffff:10.200.0.1"], true),
        (&["10.0.0.0/8"], "11.0.0.1", 5432, &["11.0.0.1"], false),
        (&["10.0.0.0/8"], "db.example.org", 5432, inside, true),
        (&["10.0.0.0/8"], "db.example.org", 5432, &["10.1.2.3", "203.0.113.9"], false),
        (&["10.0.0.0/8"], "db.example.org", 5432, &["10.1.2.3", "fd00::1"], false),
        (&["10.0.0.0/8", "fd00::/8"], "db.example.org", 5432, &["10.1.2.3", "fd00::1"], true),
        // Resolvers read these as addresses.
        (&["10.0.0.0/8"], "127.1", 5432, &["127.0.0.1"], false),
        (&["10.0.0.0/8"], "2130706433", 5432, &["127.0.0.1"], false),
        (&["127.0.0.1"], "2130706433", 5432, &["127.0.0.1"], true),
        (&["10.0.0.0/8:5432"], "db.example.org", 5432, inside, true),
        (&["10.0.0.0/8:5432"], "db.example.org", 5433, inside, false),
        (&["10.0.0.0/8:5432", "10.1.0.0/16"], "db.example.org", 80, inside, false),
        (&["127.0.0.1"], "127.0.0.1", 1, &["127.0.0.1"], true),
        (&["127.0.0.1"], "127.0.0.2", 1, &["127.0.0.2"], false),
        (&["[::1]:5432"], "::1", 5432, &["::1"], true),
        (&["[::1]:5432"], "::1", 5433, &["::1"], false),
        (&["[fd00::/8]:5432"], "fdff::1", 5432, &["fdff::1"], true),
        (&["::/0"], "::ffff:127.0.0.1", 1, &["::ffff:127.0.0.1"], false),
        (&["0.0.0.0/0"], "anything.org", 1, &["1.2.3.4", "::ffff:1.2.3.4"], true),
        (&["db.example.org", "10.0.0.0/8"], "db.example.org", 5432, ANY, true),
        (&["db.example.org", "10.0.0.0/8"], "other.example.org", 5432, inside, true),
    ];
    for (entries, host, port, addresses, expected) in table {
        assert_eq!(is_admitted(&list(entries), host, *port, addresses), *expected, "{entries:?}: {host}:{port}");
    }
}

#[test]
fn what_a_name_can_never_be_is_refused_before_it_is_looked_up() {
    for (entries, host, expected) in [
        (&["db.example.org"][..], "other.example.org", false),
        (&["db.example.org", "10.0.0.0/8:5433"], "other.example.org", false),
        (&["db.example.org", "10.0.0.0/8:5432"], "other.example.org", true),
        (&["10.0.0.0/8"], "11.0.0.1", false),
    ] {
        assert_eq!(list(entries).consider(host, 5432).is_ok(), expected, "{entries:?}: {host}");
    }
}

#[test]
fn an_entry_that_means_nothing_is_refused() {
    for (text, expected) in [
        ("", EntryError::Empty),
        (" ", EntryError::Empty),
        ("*", EntryError::Star),
        ("*.*.org", EntryError::Star),
        ("*example.org", EntryError::Star),
        ("db.*.org", EntryError::Star),
        ("*:5432", EntryError::Star),
        ("*.", EntryError::NoHost),
        ("https://example.org", EntryError::NoHost),
        ("example.org/db", EntryError::NoHost),
        ("/var/run/postgresql", EntryError::NoHost),
        ("user@example.org", EntryError::NoHost),
        ("exa mple.org", EntryError::NoHost),
        ("example..org", EntryError::NoHost),
        ("[example.org]:1", EntryError::NoHost),
        ("[::1]5432", EntryError::NoHost),
        ("[::1", EntryError::NoHost),
        ("fd00::1::", EntryError::NoHost),
        (":5432", EntryError::NoHost),
        ("10.0.0.0/", EntryError::NoHost),
        ("10.0.0", EntryError::NearlyAnAddress),
        ("10.0.0.256", EntryError::NearlyAnAddress),
        ("*.0.0.1", EntryError::NearlyAnAddress),
        ("example.org:", EntryError::Port),
        ("example.org:0", EntryError::Port),
        ("example.org:65536", EntryError::Port),
        ("[::1]:x", EntryError::Port),
        ("10.0.0.0/33", EntryError::Bits(32)),
        ("fd00::/129", EntryError::Bits(128)),
        ("10.0.0.1/8", EntryError::WithinRange("10.0.0.0/8".to_owned())),
        ("fd00::1/64", EntryError::WithinRange("fd00::/64".to_owned())),
        ("::ffff:10.0.0.1", EntryError::Mapped),
    ] {
        assert_eq!(text.parse::<AllowedHost>().expect_err(text), expected, "{text}");
    }
}

#[test]
fn a_refusal_says_whom_to_ask_and_where_a_name_leads_to() {
    let refused = list(&["10.0.0.0/8"]).admit("db.example.org", 5432, ["127.0.0.1".parse().expect("an address")]);
    let said = refused.expect_err("it is refused").to_string();
    assert!(said.starts_with("its name leads to 127.0.0.1: the operator may not connect there"), "{said}");
    assert!(said.contains("--allowed-hosts") && said.contains("ask whoever runs the operator"), "{said}");
    assert!(!said.contains("10.0.0.0/8"), "the list is nobody's business: {said}");
}

fn entry() -> impl Strategy<Value = String> {
    let hosts = prop_oneof![
        "[a-z]{1,3}(\\.[a-z]{1,3}){0,2}",
        "\\*\\.[a-z]{1,3}(\\.[a-z]{1,3}){0,2}",
        (any::<u32>(), 0..=32_u32).prop_map(|(address, bits)| {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            format!("{}/{bits}", Ipv4Addr::from_bits(address & mask))
        }),
        any::<u32>().prop_map(|address| Ipv4Addr::from_bits(address).to_string()),
    ];
    (hosts, proptest::option::of(1..4_u16))
        .prop_map(|(hosts, port)| port.map_or(hosts.clone(), |port| format!("{hosts}:{port}")))
}

proptest! {
    /// Entries don't take from each other: a list allows what one of its entries does, and what the addresses of a name are
    /// allowed by may be several of them.
    #[test]
    fn a_longer_list_allows_no_less(
        entries in proptest::collection::vec(entry(), 1..5), more in entry(), host in "[a-z]{1,3}(\\.[a-z]{1,3}){0,3}",
        port in 1..4_u16, addresses in proptest::collection::vec(any::<u32>().prop_map(Ipv4Addr::from_bits), 1..3),
    ) {
        let read = |entries: &[String]| list(&entries.iter().map(String::as_str).collect::<Vec<_>>());
        let addresses = || addresses.iter().copied().map(IpAddr::V4);
        let short = read(&entries).admit(&host, port, addresses());
        let long = read(&[entries, vec![more]].concat()).admit(&host, port, addresses());
        prop_assert!(short.is_err() || long.is_ok());
    }

    /// An address is in a range when its first bits are the range's, in whichever form it is written.
    #[test]
    fn a_range_holds_what_begins_with_its_bits(first in any::<u32>(), bits in 0..=32_u32, address in any::<u32>()) {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        let range = format!("{}/{bits}", Ipv4Addr::from_bits(first & mask));
        for address in [address, (first & mask) | (address & !mask)] {
            let expected = address & mask == first & mask;
            let address = Ipv4Addr::from_bits(address);
            for host in [address.to_string(), address.to_ipv6_mapped().to_string()] {
                prop_assert_eq!(list(&[&range]).consider(&host, 1).is_ok(), expected, "{} in {}", host, range);
            }
        }
    }

    /// An entry is displayed as it can be read, and no text makes reading panic.
    #[test]
    fn an_entry_is_displayed_as_it_is_written(written in entry(), text in ".{0,30}") {
        let read: AllowedHost = written.parse().expect("it is one");
        prop_assert_eq!(read.to_string().parse(), Ok(read));
        let _ = text.parse::<AllowedHost>();
    }
}
