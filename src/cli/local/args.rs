//! Flags that local commands have: which project, which environment, which database.

use std::path::PathBuf;

use clap::Args;

/// Which project and which environment: what a command takes that works with files alone.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Project")]
pub struct FilesArgs {
    /// The file of settings; dunlin.yaml in this folder, if there is one.
    #[arg(long, short = 'c', value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The environment of `envs`. `DUNLIN_ENV` says the same.
    #[arg(long, short = 'e', value_name = "NAME")]
    pub env: Option<String>,

    /// A file of variables, which count where the process has none of the name.
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,

    /// The folder of the migrations.
    #[arg(long, short = 'm', value_name = "FOLDER")]
    pub migrations: Option<PathBuf>,
}

/// Which project, which environment, which database.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Project")]
pub struct ProjectArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub files: FilesArgs,

    /// The database. A password in it is seen by everybody on this machine: `DUNLIN_DATABASE_URL` says the same.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// The value of a variable, in place of that in `variables` of dunlin.yaml: `:'NAME'` in a file becomes a literal,
    /// `:"NAME"` a name. Everybody on this machine sees it: a secret belongs into the environment, and `${NAME}` into
    /// dunlin.yaml.
    #[arg(long = "variable", short = 'v', value_name = "NAME=VALUE")]
    pub variables: Vec<String>,

    /// Take --url or `DUNLIN_DATABASE_URL` although an environment is named.
    #[arg(long)]
    pub url_overrides: bool,
}

/// Whether hooks run.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct HookArgs {
    /// Run none of the hooks of dunlin.yaml, neither before nor after.
    #[arg(long)]
    pub no_hooks: bool,
}

/// Whether to go on without asking.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct ConfirmArgs {
    /// Don't ask, also in a protected environment.
    #[arg(long, short = 'y')]
    pub yes: bool,
}
