//! What surrounds a shop of the pages: servers, and the names that stand for theirs in the pages.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::page::Page;
use crate::{
    shop::Shop,
    support::{Dedicated, Pooler, dedicated_postgres, fresh_database},
};

/// What a page has beside the shop, and its names.
pub struct Surroundings {
    /// Words of the page, and ours in their place, in the order in which they are put there.
    ours: Vec<(String, String)>,
    /// Words of ours, and those of the page.
    theirs: Vec<(String, String)>,
    _server: Option<Dedicated>,
    _pooler: Option<Pooler>,
}

/// The address that pages have for the server, for its pooler, and who logs in there.
const SERVER: &str = "postgres.shop.svc:5432";
const POOLER: &str = "pgbouncer.shop.svc:6432";
const LOGIN: &str = "shop:correct-horse@";

impl Surroundings {
    /// The server that a page needs, if it is one of its own, and the URL of a fresh database.
    pub async fn server(page: &Page, folder: &Path) -> (Option<Dedicated>, String) {
        if page.name != "TLSFailed" {
            return (None, fresh_database().await);
        }
        let [certificate, key] = ["server.crt", "server.key"].map(|name| folder.join(name));
        certify(folder, &certificate, &key);
        let server = dedicated_postgres(&["ssl=on"], &[], &[("server.crt", &certificate), ("server.key", &key)]);
        let url = server.fresh_database().await;
        (Some(server), url)
    }

    pub async fn new(page: &Page, server: Option<Dedicated>, shop: &Shop, count: u32) -> Self {
        let (login, rest) = shop.url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).expect("a login");
        let (address, database) = rest.split_once('/').expect("a database");
        let namespace = &shop.namespace;
        let pooler = if page.text.contains(POOLER) {
            Some(Pooler::start("pool_mode = transaction\ndefault_pool_size = 4").await)
        } else {
            None
        };
        let own = |name: &str| (name.to_owned(), format!("{name}_{count}"));
        let to = |page: &str, ours: &str| (page.to_owned(), ours.to_owned());
        let mut ours = vec![
            own("shop_app"),
            own("bookshop"),
            to(LOGIN, &format!("{login}@")),
            to(&format!("{SERVER}/shop"), &format!("{SERVER}/{database}")),
            to(&format!("{POOLER}/shop"), &format!("{POOLER}/{database}")),
            to(SERVER, address),
            to("DATABASE shop", &format!("DATABASE {database}")),
            to("DATABASE \"shop\"", &format!("DATABASE \"{database}\"")),
            to("-n shop", &format!("-n {namespace}")),
            to("namespace: shop", &format!("namespace: {namespace}")),
            to("shop/shop", &format!("{namespace}/shop")),
        ];
        let mut theirs = vec![
            to(address, SERVER),
            to(&format!("{namespace}/"), "shop/"),
            to(&format!("-n {namespace} "), "-n shop "),
            to(&format!("\"{database}\""), "\"shop\""),
        ];
        theirs.extend(ours.iter().take(2).map(|(page, ours)| (ours.clone(), page.clone())));
        if let Some(pooler) = &pooler {
            let url = pooler.url(&shop.url);
            let (_, rest) = url.split_once('@').expect("a login");
            let (address, _) = rest.split_once('/').expect("a database");
            ours.push(to(POOLER, address));
            theirs.push(to(address, POOLER));
        }
        Self { ours, theirs, _server: server, _pooler: pooler }
    }

    /// A text of the page, about the servers that there are.
    pub fn in_our_words(&self, text: &str) -> String {
        replaced(text, &self.ours)
    }

    /// A text about the servers that there are, as the page would have it.
    pub fn in_the_pages_words(&self, text: &str) -> String {
        replaced(text, &self.theirs)
    }
}

fn replaced(text: &str, words: &[(String, String)]) -> String {
    words.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// A certificate authority of one's own, `ca.crt` in the folder, what it has signed for the server, and another authority
/// that has signed nothing, `old-ca.crt`.
fn certify(folder: &Path, certificate: &Path, key: &Path) {
    let authority = |name: &str| {
        let mut authority = CertificateParams::new(Vec::new()).expect("no name is wrong");
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = authority.self_signed(&key).expect("it signs itself");
        (root.pem(), Issuer::new(authority, key))
    };
    let ((old, _), (root, issuer)) = (authority("Old CA"), authority("New CA"));
    let own = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address is a name");
    let signed = params.signed_by(&own, &issuer).expect("it is signed");
    let [old_file, root_file] = ["old-ca.crt", "ca.crt"].map(|name| folder.join(name));
    let files: [(&Path, String); 4] =
        [(&old_file, old), (&root_file, root), (certificate, signed.pem()), (key, own.serialize_pem())];
    for (file, text) in files {
        std::fs::write(file, text).expect("the folder takes a file");
    }
}
