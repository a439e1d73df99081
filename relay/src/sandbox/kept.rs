//! What holds after [`super::enter`], for the log and for `relay prove`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the process has bound itself to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The version of Landlock's interface that holds.
    pub landlock: Option<i32>,
    pub seccomp: bool,
    pub no_new_privileges: bool,
    /// No regular file can grow. Not so if standard output or error is one: the log must go on.
    pub file_size_zero: bool,
    /// What was wanted and this system does not have.
    pub missing: Vec<Missing>,
}

/// Something a system may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    Landlock,
    Seccomp,
    NoNewPrivileges,
    Capabilities,
    Dumpable,
    DumpFilter,
    CoreLimit,
    FileSize,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Missing::Landlock => "Landlock (Linux 5.13, lsm=…,landlock)",
            Missing::Seccomp => "seccomp filters",
            Missing::NoNewPrivileges => "no_new_privs",
            Missing::Capabilities => "way to drop capabilities",
            Missing::Dumpable => "PR_SET_DUMPABLE",
            Missing::DumpFilter => "/proc/self/coredump_filter that can be written",
            Missing::CoreLimit => "RLIMIT_CORE that can be lowered",
            Missing::FileSize => "RLIMIT_FSIZE that can be lowered",
        })
    }
}
