//! Hooks: what to run around a plan, what each of them is told, and what makes one another.
//!
//! Pure: when which hook runs is [`plan`](super::plan)'s to say, how one runs is the shells'.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{
    bundle::hexadecimal,
    desired::Action,
    endpoint::Endpoint,
    history::{RunError, RunOutcome},
    migration::{Direction, Section},
};

/// How long a hook may take where nobody says so.
pub const TIMEOUT: Duration = Duration::from_mins(10);
/// The most hooks of one place.
pub const MOST: usize = 16;
/// The longest that one may be given.
pub const LONGEST_TIMEOUT: Duration = Duration::from_hours(24);

/// When hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Before the first migration of a plan that goes up.
    PreApply,
    /// After the last step of such a plan.
    PostApply,
    /// Before the first way down of a plan.
    PreRollback,
    /// After the last step of such a plan.
    PostRollback,
    /// After a migration has failed for good.
    OnFailure,
}

impl Place {
    /// Every place there is.
    pub const ALL: [Self; 5] =
        [Self::PreApply, Self::PostApply, Self::PreRollback, Self::PostRollback, Self::OnFailure];

    /// As `spec.hooks` spells it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::PreApply => "preApply",
            Self::PostApply => "postApply",
            Self::PreRollback => "preRollback",
            Self::PostRollback => "postRollback",
            Self::OnFailure => "onFailure",
        }
    }

    /// As `dunlin.yaml` spells it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::PreApply => "pre_apply",
            Self::PostApply => "post_apply",
            Self::PreRollback => "pre_rollback",
            Self::PostRollback => "post_rollback",
            Self::OnFailure => "on_failure",
        }
    }

    /// What runs before the steps of that direction.
    #[must_use]
    pub fn before(direction: Direction) -> Self {
        match direction {
            Direction::Up => Self::PreApply,
            Direction::Down => Self::PreRollback,
        }
    }

    /// What runs after the steps of that direction.
    #[must_use]
    pub fn after(direction: Direction) -> Self {
        match direction {
            Direction::Up => Self::PostApply,
            Direction::Down => Self::PostRollback,
        }
    }

    /// Reads what `spec.hooks` calls it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|place| place.word() == word)
    }
}

/// One hook of all: its place and its index there. Displayed as runs are named: `preApply[0]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The place.
    pub place: Place,
    /// Which one of the place, from 0.
    pub index: usize,
}

impl Key {
    /// Reads a key as it is displayed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (place, index) = text.strip_suffix(']')?.split_once('[')?;
        Some(Self { place: Place::parse(place)?, index: index.parse().ok()? })
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.place.word(), self.index)
    }
}

/// One thing to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// What it does.
    pub act: Act,
    /// How long it may take.
    pub timeout: Duration,
}

/// What a hook does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// SQL in a transaction of its own, on the set's database.
    Sql(Section),
    /// A Job from the template of that CronJob.
    Job(String),
    /// A POST to that URL.
    Http(Endpoint),
    /// A command of the shell.
    Command(String),
}

/// The hooks of a set, in the order in which they run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hooks {
    /// Before the first migration.
    pub pre_apply: Vec<Hook>,
    /// After the last.
    pub post_apply: Vec<Hook>,
    /// Before the first way down.
    pub pre_rollback: Vec<Hook>,
    /// After the last.
    pub post_rollback: Vec<Hook>,
    /// After a migration has failed.
    pub on_failure: Vec<Hook>,
}

impl Hooks {
    /// Those of a place.
    #[must_use]
    pub fn at(&self, place: Place) -> &[Hook] {
        match place {
            Place::PreApply => &self.pre_apply,
            Place::PostApply => &self.post_apply,
            Place::PreRollback => &self.pre_rollback,
            Place::PostRollback => &self.post_rollback,
            Place::OnFailure => &self.on_failure,
        }
    }

    /// Those of a place, to be filled in.
    pub fn at_mut(&mut self, place: Place) -> &mut Vec<Hook> {
        match place {
            Place::PreApply => &mut self.pre_apply,
            Place::PostApply => &mut self.post_apply,
            Place::PreRollback => &mut self.pre_rollback,
            Place::PostRollback => &mut self.post_rollback,
            Place::OnFailure => &mut self.on_failure,
        }
    }

    /// The hook of that key.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Hook> {
        self.at(key.place).get(key.index)
    }

    /// The hooks of a place with their keys, in the order in which they run.
    pub fn keyed(&self, place: Place) -> impl Iterator<Item = (Key, &Hook)> {
        self.at(place).iter().enumerate().map(move |(index, hook)| (Key { place, index }, hook))
    }

    /// The places that have hooks.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        Place::ALL.into_iter().filter(|place| !self.at(*place).is_empty()).collect()
    }
}

impl Hook {
    /// SHA-256 of what it does: when it changes, a hook that failed is tried again. How long it may take is part of it, since
    /// that may be what it failed for.
    #[must_use]
    pub fn checksum(&self) -> String {
        let (kind, text) = match &self.act {
            Act::Sql(section) => ("sql", section.text.as_str()),
            Act::Job(name) => ("job", name.as_str()),
            Act::Http(endpoint) => ("http", endpoint.url()),
            Act::Command(command) => ("command", command.as_str()),
        };
        let mut hash = Sha256::new();
        hash.update(format!("hook\0{kind}\0{}\0{text}", self.timeout.as_millis()));
        hexadecimal(&hash.finalize())
    }
}

/// The last run of a hook, whatever became of it: a row of `dunlin.run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRun {
    /// Which hook.
    pub key: Key,
    /// The run's number.
    pub run: i64,
    /// `running` from when a plan begins that it is to run after, or from its own begin, to its end.
    pub outcome: RunOutcome,
    /// Checksum of what ran.
    pub checksum: String,
    /// How often it was begun.
    pub attempts: i64,
    /// What went wrong.
    pub error: Option<RunError>,
    /// What a person decided.
    pub resolution: Option<Action>,
    /// The first batch that it runs for.
    pub batch: i64,
    /// The digest of the plan that it runs for.
    pub plan: String,
}

/// What a hook is told of the plan that it runs for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Which hook it is.
    pub key: Key,
    /// Which way the plan's steps go that it runs for.
    pub direction: Direction,
    /// Before: what is to run. After: what has run. On a failure: what failed.
    pub versions: Vec<String>,
    /// The digest of the plan.
    pub plan: String,
    /// How it ended; None before it has begun.
    pub outcome: Option<Outcome>,
}

/// How a plan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it ran.
    Succeeded,
    /// A migration failed.
    Failed {
        /// Which.
        version: String,
        /// Its run, which a resolution names.
        run: i64,
        /// What the server called it.
        sqlstate: Option<String>,
    },
}

/// Where a hook runs: what is the same for all hooks of a set.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The set's key in the history.
    pub set: &'a str,
    /// `namespace/name` of the MigrationSet; None by hand.
    pub owner: Option<&'a str>,
    /// The environment, by hand.
    pub env: Option<&'a str>,
    /// The hook's own run.
    pub run: i64,
    /// The same for every try of one run, and for nothing else.
    pub id: &'a str,
}

/// One fact that a hook is told: its name as JSON has it, and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// `failedVersion`.
    pub name: &'static str,
    /// What it is.
    pub value: Value,
}

/// What a fact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
    /// Texts, in order; blanks are between them where there are no lists.
    List(Vec<String>),
}

impl Context {
    /// Everything that a hook is told, in a fixed order. A format: facts are added, never renamed; those that don't apply
    /// are left out.
    #[must_use]
    pub fn facts(&self, surroundings: &Surroundings<'_>) -> Vec<Fact> {
        let Self { key, direction, versions, plan, outcome } = self;
        let Surroundings { set, owner, env, run, id } = *surroundings;
        let text = |name, value: &str| Fact { name, value: Value::Text(value.to_owned()) };
        let mut facts = vec![text("hook", key.place.word()), text("set", set)];
        facts.extend(owner.map(|owner| text("migrationSet", owner)));
        facts.extend(env.map(|env| text("env", env)));
        facts.push(text("direction", direction.word()));
        facts.push(Fact { name: "versions", value: Value::List(versions.clone()) });
        facts.push(text("plan", plan));
        facts.push(Fact { name: "run", value: Value::Number(run) });
        facts.push(text("id", id));
        match outcome {
            None => {}
            Some(Outcome::Succeeded) => facts.push(text("outcome", "succeeded")),
            Some(Outcome::Failed { version, run, sqlstate }) => {
                facts.push(text("outcome", "failed"));
                facts.push(text("failedVersion", version));
                facts.push(Fact { name: "failedRun", value: Value::Number(*run) });
                facts.extend(sqlstate.as_deref().map(|sqlstate| text("sqlstate", sqlstate)));
            }
        }
        facts
    }
}

impl Fact {
    /// As a variable of the environment: `DUNLIN_FAILED_VERSION`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("DUNLIN_{}", self.snake().to_ascii_uppercase())
    }

    /// As a setting of a session: `dunlin.failed_version`.
    #[must_use]
    pub fn setting(&self) -> String {
        format!("dunlin.{}", self.snake())
    }

    /// As text, where there are neither numbers nor lists.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.value {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::List(list) => list.join(" "),
        }
    }

    fn snake(&self) -> String {
        let mut snake = String::with_capacity(self.name.len() + 4);
        for letter in self.name.chars() {
            if letter.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        }
        snake
    }
}

/// The id of a hook's run: the same for every try of it, and another for every other run, set, database and object, as far
/// as these are known by `parts`.
#[must_use]
pub fn id(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update("\0");
    }
    hexadecimal(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(outcome: Option<Outcome>) -> Context {
        Context {
            key: Key { place: Place::PostApply, index: 1 },
            direction: Direction::Up,
            versions: vec!["001".to_owned(), "002".to_owned()],
            plan: "sha256:ab".to_owned(),
            outcome,
        }
    }

    fn told(context: &Context, owner: Option<&str>, env: Option<&str>) -> Vec<String> {
        let facts = context.facts(&Surroundings { set: "shop", owner, env, run: 7, id: "c0ffee" });
        facts.iter().map(|fact| format!("{}={}", fact.variable(), fact.text())).collect()
    }

    /// M26, M27: what a hook is told, by the names that it goes by in an environment.
    #[test]
    fn a_hook_is_told_what_it_runs_for_and_how_that_ended() {
        let common = [
            "DUNLIN_DIRECTION=up",
            "DUNLIN_VERSIONS=001 002",
            "DUNLIN_PLAN=sha256:ab",
            "DUNLIN_RUN=7",
            "DUNLIN_ID=c0ffee",
        ];
        let mut by_hand = vec!["DUNLIN_HOOK=postApply", "DUNLIN_SET=shop", "DUNLIN_ENV=production"];
        by_hand.extend(common);
        assert_eq!(told(&context(None), None, Some("production")), by_hand);

        let mut succeeded = vec!["DUNLIN_HOOK=postApply", "DUNLIN_SET=shop", "DUNLIN_MIGRATION_SET=a/shop"];
        succeeded.extend(common);
        succeeded.push("DUNLIN_OUTCOME=succeeded");
        assert_eq!(told(&context(Some(Outcome::Succeeded)), Some("a/shop"), None), succeeded);

        let failed = Outcome::Failed { version: "002".to_owned(), run: 6, sqlstate: Some("23505".to_owned()) };
        let told = told(&context(Some(failed)), None, None);
        assert_eq!(
            told[told.len() - 4..],
            ["DUNLIN_OUTCOME=failed", "DUNLIN_FAILED_VERSION=002", "DUNLIN_FAILED_RUN=6", "DUNLIN_SQLSTATE=23505"]
        );
    }

    #[test]
    fn a_fact_has_one_name_in_each_place() {
        let fact = Fact { name: "failedVersion", value: Value::Number(1) };
        assert_eq!(
            (fact.variable().as_str(), fact.setting().as_str()),
            ("DUNLIN_FAILED_VERSION", "dunlin.failed_version")
        );
    }

    #[test]
    fn a_key_is_read_as_it_is_written() {
        for place in Place::ALL {
            let key = Key { place, index: 12 };
            assert_eq!(Key::parse(&key.to_string()), Some(key));
        }
        for text in ["preApply", "preApply[]", "preApply[x]", "preapply[0]", "[0]", "preApply[-1]", "preApply[0] "] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }

    #[test]
    fn another_text_or_time_limit_makes_another_hook() {
        let hook = |act, seconds| Hook { act, timeout: Duration::from_secs(seconds) };
        let all = [
            hook(Act::Command("true".to_owned()), 1),
            hook(Act::Command("true".to_owned()), 2),
            hook(Act::Command("false".to_owned()), 1),
            hook(Act::Job("true".to_owned()), 1),
            hook(Act::Http(Endpoint::parse("https://true").expect("a URL")), 1),
        ];
        let mut checksums: Vec<String> = all.iter().map(Hook::checksum).collect();
        assert_eq!(all[0].checksum(), all[0].clone().checksum());
        checksums.sort();
        checksums.dedup();
        assert_eq!(checksums.len(), all.len());
    }

    #[test]
    fn an_id_is_that_of_all_its_parts() {
        assert_eq!(id(&["a", "b"]), id(&["a", "b"]));
        assert_ne!(id(&["a", "b"]), id(&["ab", ""]));
        assert_eq!(id(&["a"]).len(), 32);
    }
}
