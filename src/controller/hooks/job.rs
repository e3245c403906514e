//! A Job of a hook: made from the template of a CronJob, by a name that follows from the hook's run, so that an operator
//! which comes after another finds the other's Job and makes no second one.

use std::time::Duration;

use k8s_openapi::{
    api::{
        batch::v1::{CronJob, Job as BatchJob, JobSpec},
        core::v1::{Container, EnvVar, Pod, PodSpec},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use tokio::time::Instant;

use super::{ClusterHooks, quoted};
use crate::{api::v1alpha1::MigrationSet, execute::HookCall};

/// How often a Job is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long the API server may take for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a Job that has ended stays at least: so long that its end is seen.
const SEEN: i32 = 600;
/// The label by which the Jobs of a set are found.
const LABEL: &str = "dunlin.dev/set";
/// The annotation that kubectl puts on a Job made from a CronJob by hand.
const BY_HAND: &str = "cronjob.kubernetes.io/instantiate";

/// A Job that is to run.
pub(super) struct Job<'a> {
    hooks: &'a ClusterHooks<'a>,
    template: &'a str,
    call: &'a HookCall<'a>,
    name: String,
}

/// Why the API server didn't do what it was asked to.
enum Refused {
    /// It may do better another time.
    Again(String),
    /// It won't.
    ForGood(String),
}

impl<'a> Job<'a> {
    pub fn new(hooks: &'a ClusterHooks<'a>, template: &'a str, call: &'a HookCall<'a>) -> Self {
        Self { hooks, template, call, name: name(&hooks.name.name, &call.key.to_string(), call.id) }
    }

    /// Makes the Job, unless it is there, and waits for its end.
    pub async fn run(&self, deadline: Instant) -> Result<(), String> {
        let mut last = "the API server didn't answer".to_owned();
        let mut made = false;
        loop {
            let asked = async {
                if made {
                    self.jobs().get(&self.name).await.map_err(|error| self.refused(&error, "get", "jobs"))
                } else {
                    self.find_or_make().await
                }
            };
            match tokio::time::timeout(ANSWER, asked).await {
                Ok(Ok(job)) => {
                    made = true;
                    "it hasn't ended".clone_into(&mut last);
                    match ended(&job) {
                        None => {}
                        Some(Ok(())) => return Ok(()),
                        Some(Err(why)) => return Err(self.with_last_words(&why).await),
                    }
                }
                Ok(Err(Refused::ForGood(why))) => return Err(why),
                Ok(Err(Refused::Again(why))) => last = why,
                Err(_) => "the API server didn't answer".clone_into(&mut last),
            }
            if Instant::now() + LOOK >= deadline {
                return Err(self.give_up(&last).await);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn jobs(&self) -> Api<BatchJob> {
        Api::namespaced(self.hooks.client.clone(), &self.hooks.name.namespace)
    }

    async fn find_or_make(&self) -> Result<BatchJob, Refused> {
        let jobs = self.jobs();
        if let Some(job) = jobs.get_opt(&self.name).await.map_err(|error| self.refused(&error, "get", "jobs"))? {
            return self.ours(job);
        }
        let templates: Api<CronJob> = Api::namespaced(self.hooks.client.clone(), &self.hooks.name.namespace);
        let template = templates.get_opt(self.template).await;
        let template = template.map_err(|error| self.refused(&error, "get", "cronjobs"))?.ok_or_else(|| {
            Refused::ForGood(format!(
                "names the CronJob {}, which isn't in the namespace {}: make it, with suspend: true",
                self.template, self.hooks.name.namespace
            ))
        })?;
        match jobs.create(&PostParams::default(), &self.made_from(template)).await {
            Ok(job) => Ok(job),
            // Another operator was faster, or an answer was lost.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let job = jobs.get(&self.name).await.map_err(|error| self.refused(&error, "get", "jobs"))?;
                self.ours(job)
            }
            Err(error) => Err(self.refused(&error, "create", "jobs")),
        }
    }

    /// A Job of that name that another has made is not the hook's.
    fn ours(&self, job: BatchJob) -> Result<BatchJob, Refused> {
        let uid = self.hooks.set.uid().unwrap_or_default();
        if job.owner_references().iter().any(|owner| owner.uid == uid) {
            return Ok(job);
        }
        Err(Refused::ForGood(format!("finds a Job {} that isn't this MigrationSet's: delete it", self.name)))
    }

    fn made_from(&self, template: CronJob) -> BatchJob {
        let template = template.spec.map(|spec| spec.job_template).unwrap_or_default();
        let metadata = template.metadata.unwrap_or_default();
        let mut labels = metadata.labels.unwrap_or_default();
        // A name may be longer than a label: the whole of it stands in the owner.
        let set: String = self.hooks.name.name.chars().take(63).collect();
        labels.insert(LABEL.to_owned(), set.trim_end_matches(['-', '.']).to_owned());
        let mut annotations = metadata.annotations.unwrap_or_default();
        annotations.insert(BY_HAND.to_owned(), "manual".to_owned());
        annotations.insert("dunlin.dev/hook".to_owned(), self.call.key.to_string());
        let mut spec = template.spec.unwrap_or_default();
        self.limit(&mut spec);
        if let Some(pod) = spec.template.spec.as_mut() {
            self.tell(pod);
        }
        BatchJob {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.hooks.name.namespace.clone()),
                labels: Some(labels),
                annotations: Some(annotations),
                owner_references: Some(vec![owner(self.hooks.set)]),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
            status: None,
        }
    }

    /// The cluster ends it as well, should nobody be there to do so; and its end stays long enough to be seen.
    fn limit(&self, spec: &mut JobSpec) {
        let limit = i64::try_from(self.call.hook.timeout.as_secs().max(1)).unwrap_or(i64::MAX);
        let own = spec.active_deadline_seconds.unwrap_or(i64::MAX);
        spec.active_deadline_seconds = Some(own.min(limit));
        spec.ttl_seconds_after_finished = spec.ttl_seconds_after_finished.map(|seconds| seconds.max(SEEN));
    }

    /// Puts what the hook is told into each container's environment, where the template may refer to it.
    fn tell(&self, pod: &mut PodSpec) {
        let facts: Vec<EnvVar> = { self.call.facts }
            .iter()
            .map(|fact| EnvVar { name: fact.variable(), value: Some(fact.text()), ..EnvVar::default() })
            .collect();
        let tell = |container: &mut Container| {
            let mut env = facts.clone();
            let own = container.env.take().unwrap_or_default();
            env.extend(own.into_iter().filter(|own| !facts.iter().any(|fact| fact.name == own.name)));
            container.env = Some(env);
        };
        pod.containers.iter_mut().for_each(tell);
        pod.init_containers.iter_mut().flatten().for_each(tell);
    }

    fn refused(&self, error: &kube::Error, verb: &str, resource: &str) -> Refused {
        match error {
            kube::Error::Api(status) if status.code == 403 => Refused::ForGood(format!(
                "can't {verb} {resource}.batch in the namespace {}: let the operator's account get cronjobs, and get, create and \
                 delete jobs, of the group batch; {}",
                self.hooks.name.namespace, status.message
            )),
            kube::Error::Api(status) if status.code == 404 => {
                Refused::ForGood(format!("finds its Job {} gone before it was seen to end", self.name))
            }
            kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => Refused::ForGood(
                format!("can't {verb} its Job {} from CronJob {}: {}", self.name, self.template, status.message),
            ),
            error => Refused::Again(format!("the API server can't be asked: {error}")),
        }
    }

    /// Ends a Job that takes too long.
    async fn give_up(&self, last: &str) -> String {
        let limit = self.call.hook.timeout;
        let deleting = self.jobs();
        let deleted = tokio::time::timeout(ANSWER, deleting.delete(&self.name, &DeleteParams::background())).await;
        let deleted = match deleted {
            Ok(Ok(_)) => "it was deleted",
            Ok(Err(_)) | Err(_) => "it couldn't be deleted: see to it that it has ended",
        };
        format!("took longer than its time limit of {limit:?} as Job {}: {last}; {deleted}", self.name)
    }

    /// Why a Job failed, and what its pods said at their end, as far as that may be read.
    async fn with_last_words(&self, why: &str) -> String {
        let pods: Api<Pod> = Api::namespaced(self.hooks.client.clone(), &self.hooks.name.namespace);
        let of_the_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={}", self.name));
        let said = match tokio::time::timeout(ANSWER, pods.list(&of_the_job)).await {
            Ok(Ok(pods)) => pods.items.iter().flat_map(last_words).next_back(),
            Ok(Err(_)) | Err(_) => None,
        };
        let said = said.map_or_else(
            || format!("; kubectl -n {} logs job/{} may say more", self.hooks.name.namespace, self.name),
            |said| format!("; its last words:\n{said}"),
        );
        format!("failed as Job {}: {}{said}", self.name, quoted(why))
    }
}

/// Whether a Job has ended, and how.
fn ended(job: &BatchJob) -> Option<Result<(), String>> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let is_true =
        |kind: &str| conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True");
    if is_true("Complete").is_some() {
        return Some(Ok(()));
    }
    let failed = is_true("Failed")?;
    let reason = failed.reason.as_deref().unwrap_or("it failed");
    Some(Err(match failed.message.as_deref() {
        Some(message) if !message.is_empty() => format!("{reason}: {message}"),
        _ => reason.to_owned(),
    }))
}

/// What the containers of a pod said that ended badly.
fn last_words(pod: &Pod) -> Vec<String> {
    let statuses = pod.status.iter().flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    });
    let ended = statuses.filter_map(|status| {
        let terminated = status.state.as_ref()?.terminated.as_ref()?;
        let said = terminated.message.as_deref().map(quoted).unwrap_or_default();
        let code = terminated.exit_code;
        (code != 0).then(|| format!("{} ended with exit code {code}: {said}", status.name))
    });
    { ended }.map(|said| said.trim_end_matches([':', ' ']).to_owned()).collect()
}

/// The object for which it was made, and with which it goes.
fn owner(set: &MigrationSet) -> OwnerReference {
    OwnerReference {
        api_version: MigrationSet::api_version(&()).into_owned(),
        kind: MigrationSet::kind(&()).into_owned(),
        name: set.name_any(),
        uid: set.uid().unwrap_or_default(),
        ..OwnerReference::default()
    }
}

/// A name that can be that of a Job and of its pods' labels: of the set, the hook and its run.
fn name(set: &str, key: &str, id: &str) -> String {
    let set: String = set.chars().take(30).map(|letter| if letter == '.' { '-' } else { letter }).collect();
    let key: String = key.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    let id: String = id.chars().take(10).collect();
    format!("{}-{key}-{id}", set.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_a_label_whatever_the_set_is_called() {
        assert_eq!(name("shop", "preApply[0]", "0123456789abcdef"), "shop-preapply0-0123456789");
        let long = name(&"a.".repeat(120), "postRollback[15]", "0123456789abcdef");
        assert!(long.len() <= 63 && !long.contains("--"), "{long}");
        assert!(long.ends_with("-postrollback15-0123456789"), "{long}");
    }
}
