//! Hooks in a cluster: Jobs from a template, and requests. SQL runs in the engine.

mod http;
mod job;
mod trust;

use futures::future::{BoxFuture, FutureExt as _};
use kube::Client;
use tokio::{sync::watch, time::Instant};

use crate::{
    api::v1alpha1::{InvalidSpec, MigrationSet, Parsed, Problem},
    core::{
        desired::Owner,
        hook::{Act, Place},
        hosts::AllowedHosts,
    },
    execute::{HookCall, HookEnd, RunHook, Stop},
};

/// Runs the hooks of one MigrationSet.
pub(super) struct ClusterHooks<'a> {
    pub client: &'a Client,
    pub set: &'a MigrationSet,
    pub name: &'a Owner,
    pub allowed_hosts: &'a AllowedHosts,
}

/// The same, where all requests of hooks go to hosts that are allowed as they are written: what can be said before a plan
/// runs isn't left to what comes after it. Names that are allowed by their addresses are judged when they are looked up.
///
/// # Errors
/// [`InvalidSpec`] with every hook whose host isn't.
pub(super) fn within(parsed: Parsed, allowed: &AllowedHosts) -> Result<Parsed, InvalidSpec> {
    let hooks = Place::ALL.into_iter().flat_map(|place| parsed.desired.hooks.keyed(place));
    let refused = hooks.filter_map(|(key, hook)| {
        let Act::Http(endpoint) = &hook.act else { return None };
        let why = allowed.consider(&endpoint.host, endpoint.port).err()?;
        Some(Problem {
            path: format!("spec.hooks.{key}.http.url"),
            message: format!("{}: {why}", endpoint.authority()),
        })
    });
    let problems: Vec<Problem> = refused.collect();
    if problems.is_empty() { Ok(parsed) } else { Err(InvalidSpec { problems }) }
}

impl RunHook for ClusterHooks<'_> {
    fn run<'a>(&'a self, call: HookCall<'a>) -> BoxFuture<'a, HookEnd> {
        async move {
            let deadline = Instant::now() + call.hook.timeout;
            let mut stop = call.stop.clone();
            let running = async {
                match &call.hook.act {
                    Act::Http(endpoint) => http::send(endpoint, &call, self.allowed_hosts, deadline).await,
                    Act::Job(template) => job::Job::new(self, template, &call).run(deadline).await,
                    Act::Sql(_) | Act::Command(_) => Err("runs nowhere in a cluster".to_owned()),
                }
            };
            tokio::select! {
                biased;
                ended = running => match ended {
                    Ok(()) => HookEnd::Through,
                    Err(why) => HookEnd::Failed(why),
                },
                // A Job goes on: whoever comes next finds it by its name.
                () = stopped(&mut stop) => HookEnd::Stopped,
            }
        }
        .boxed()
    }
}

async fn stopped(stop: &mut watch::Receiver<Stop>) {
    if stop.wait_for(|stop| *stop == Stop::CancelTransaction).await.is_err() {
        // Nobody is left who could ask for it.
        std::future::pending::<()>().await;
    }
}

/// What somebody else said, for a message: at most 1 kB of it, and nothing that a terminal would follow.
fn quoted(text: &str) -> String {
    let plain = |letter: &char| !letter.is_control() || matches!(letter, '\n' | '\t');
    crate::core::conditions::cut(text.trim(), 1_024).chars().filter(plain).collect()
}
