//! A page tried out: what it says brings its reason about, what the operator says is what it shows, and every way out
//! that it offers leads where it says, with the commands as they stand.

use std::{
    ffi::OsString,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use dunlin::api::v1alpha1::MigrationSet;
use futures::future::join_all;
use kube::{ResourceExt, api::ListParams};
use tokio_postgres::{Client, NoTls};

use super::{
    page::{Page, TRY_IT, Way, is_as_shown},
    surroundings::Surroundings,
};
use crate::{
    install::install_crd,
    shop::{LIMIT, Shop, message, ready},
    support::markdown::Block,
    support::{eventually, kubernetes},
};

/// Each way out of the reason, from its beginning, all of them side by side.
pub async fn every_way_out(reason: &str) {
    install_crd();
    let page = Page::read(reason);
    let ways = page.ways();
    assert!(!ways.is_empty(), "{reason} offers no way out");
    let first = |place| if place == 0 { Looking::Around } else { Looking::Ahead };
    join_all(ways.iter().enumerate().map(|(place, way)| one_way_out(&page, way, first(place)))).await;
}

/// Whether what the page says about finding the cause is run as well: once is enough.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Looking {
    Around,
    Ahead,
}

async fn one_way_out(page: &Page, way: &Way, looking: Looking) {
    let mut scene = Scene::open(page).await;
    let status = Table::read(&page.block("What you see", "text", "status").text);
    let shown = page.block("What you see", "text", "message");
    let set = status.rows[0][0].clone();

    scene.run(&Page::read("README").blocks("The shop of these pages")).await;
    scene.shop.until("UpToDate").await;
    if looking == Looking::Around {
        scene.run(&Page::read("README").blocks("Who decided what")).await;
    }
    scene.run(&page.blocks(TRY_IT)).await;
    scene.shop.until_of(&set, &page.name).await;
    scene.until_said(&set, &shown, &page.name).await;
    if looking == Looking::Around {
        let printed = scene.bash("kubectl get mset -n shop").await;
        assert_eq!(status.header, Table::read(&printed).header, "{printed}");
        assert!(status.rows.iter().all(|row| Table::read(&printed).rows.contains(row)), "{}: {printed}", page.name);
        scene.run(&page.blocks("Find the cause")).await;
    }

    let (ends, commands): (Vec<Block>, Vec<Block>) =
        way.blocks.iter().cloned().partition(|block| block.language == "text");
    assert!(!commands.is_empty(), "{}: {} has nothing to paste", page.name, way.title);
    scene.run(&commands).await;
    let (then, messages): (Vec<&Block>, Vec<&Block>) = ends.iter().partition(|block| block.word == "then");
    match then.as_slice() {
        [] => {
            scene.shop.until_of(&set, "UpToDate").await;
        }
        [block] => scene.until_as(&Table::read(&block.text), &way.title).await,
        other => panic!("nobody knows what to do with {other:?}"),
    }
    for block in messages {
        assert_eq!(block.word, "message", "nobody knows what to do with {block:?}");
        scene.until_said(&set, block, &way.title).await;
    }
    scene.close().await;
}

/// What `kubectl get mset` prints, without the last column, which is the age.
#[derive(Debug, PartialEq, Eq)]
struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn read(text: &str) -> Self {
        let words = |line: &str| {
            let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            words.pop();
            words
        };
        let mut lines = text.lines().filter(|line| !line.trim().is_empty()).map(words);
        let table = Self { header: lines.next().unwrap_or_default(), rows: lines.collect() };
        assert!(!table.rows.is_empty(), "a header and a line for each MigrationSet: {text}");
        table
    }
}

/// A shop as the pages have it, and what a page makes of it.
struct Scene {
    shop: Shop,
    surroundings: Surroundings,
    folder: tempfile::TempDir,
    /// Sessions that stay open, as somebody else's do.
    open: Vec<Client>,
}

impl Scene {
    async fn open(page: &Page) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let folder = tempfile::tempdir().expect("a folder");
        let (server, url) = Surroundings::server(page, folder.path()).await;
        let mut shop = Shop::at(kubernetes(), url).await;
        shop.start_operator().await;
        shop.secret("shop-db", &[("uri", &shop.url)]).await;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let surroundings = Surroundings::new(page, server, &shop, count).await;
        Self { shop, surroundings, folder, open: Vec::new() }
    }

    async fn run(&mut self, blocks: &[Block]) {
        for block in blocks {
            match (block.language.as_str(), block.word.as_str()) {
                ("sh", "") => {
                    self.bash(&block.text).await;
                }
                ("yaml", "") => {
                    std::fs::write(
                        self.folder.path().join("manifest.yaml"),
                        self.surroundings.in_our_words(&block.text),
                    )
                    .expect("the folder takes a file");
                    self.bash("kubectl apply -f manifest.yaml").await;
                }
                ("sql", "") => {
                    self.sql(&block.text).await;
                }
                ("sql", "open") => {
                    let client = self.sql(&block.text).await;
                    self.open.push(client);
                }
                (language, word) => panic!("nobody knows what to do with a block of {language:?} {word:?}"),
            }
        }
    }

    async fn bash(&self, script: &str) -> String {
        let script = self.surroundings.in_our_words(script);
        let mut path = OsString::from(kubernetes().bin());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("KUBECONFIG", kubernetes().kubeconfig())
            .env("DATABASE_URL", &self.shop.url);
        let output = tokio::task::spawn_blocking(move || command.output().expect("bash runs")).await.expect("it ends");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{script}\n{printed}{}", String::from_utf8_lossy(&output.stderr));
        printed
    }

    async fn sql(&self, text: &str) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.shop.url, NoTls).await.expect("the database answers");
        // A session that somebody ends ends with an error, and that may be what the page asks for.
        tokio::spawn(connection);
        let text = self.surroundings.in_our_words(text);
        if let Err(error) = client.simple_query(&text).await {
            panic!("{text}\n{}", error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string));
        }
        client
    }

    /// Waits until the operator says of a set what a page shows.
    async fn until_said(&self, set: &str, shown: &Block, place: &str) {
        eventually(place, LIMIT, async || {
            let said = self.shop.sets().get(set).await.map_err(|error| error.to_string())?;
            let real = self.surroundings.in_the_pages_words(&message(&said));
            if is_as_shown(&shown.text, &real) {
                Ok(())
            } else {
                Err(format!("the page shows\n{}\nand the operator says\n{real}", shown.text))
            }
        })
        .await;
    }

    /// Waits until `kubectl get mset` would print this.
    async fn until_as(&self, table: &Table, way: &str) {
        eventually(way, LIMIT, async || {
            let sets = self.shop.sets().list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let rows: Vec<Vec<String>> = sets.items.iter().map(row).collect();
            if rows == table.rows { Ok(()) } else { Err(format!("{rows:?}")) }
        })
        .await;
    }

    async fn close(self) {
        self.shop.close().await;
    }
}

/// The columns of a set, but for its age.
fn row(set: &MigrationSet) -> Vec<String> {
    let (truth, reason, _) = ready(set).unwrap_or_default();
    let applied = set.status.as_ref().and_then(|status| status.applied.clone()).unwrap_or_default();
    let counts = [applied.count.to_string(), applied.pending.to_string()];
    [set.name_any(), truth, reason].into_iter().chain(applied.version).chain(counts).collect()
}
