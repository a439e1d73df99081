//! What the process gives up, once everything is bound and loaded and before there is a second thread or a byte from the network:
//! privileges, files, programs, dumps. The kernel holds it to that from then on; `relay prove` asks the kernel whether it does.
//!
//! Landlock (as far as ABI 7) and seccomp cover the thread that calls and those it starts later: [`enter`] comes first, threads after.
//!
//! Two layers say no to a file opened for writing: seccomp ends the process, whatever the path, because this program has no such
//! line and whoever tries is not this program; Landlock would refuse it besides. One peculiar open passes seccomp, so that
//! [`probe`] can hear Landlock's answer from a living process.

mod filter;
mod kept;
mod landlock;
mod sys;
mod wiping;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use filter::ARCHITECTURE;
pub use kept::{Kept, Missing};
pub use sys::{Account, Probe, account, close_inherited_files, is_dumpable, probe, thread_id};
pub use wiping::Wiping;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Nothing may be missing.
    pub required: bool,
    /// Whom the process becomes if it is root.
    pub user: Option<Account>,
    /// Files that are read again later, and what is asked to find a backend by its name. Whole folders: a certificate that was
    /// renewed is another file of the same name.
    pub readable: Vec<PathBuf>,
    pub tcp: Tcp,
}

/// Where new TCP connections may lead. Those that come in are bound already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tcp {
    /// Users may have connections relayed, and listeners opened for them.
    Anywhere,
    /// To these ports alone; no new listeners.
    Ports(Vec<u16>),
}

impl Default for Tcp {
    fn default() -> Tcp {
        Tcp::Ports(Vec::new())
    }
}

/// Why the process stays outside; it must not go on.
#[derive(Debug)]
pub enum Refused {
    /// It was to be all of it.
    Missing(Missing, io::Error),
    /// It was to become somebody, and could not.
    User(io::Error),
}

/// Gives up what is not needed any more, for good: what is missing is told, or refused if all was required.
///
/// # Errors
/// What could not be given up. The process may be half inside and must end.
pub fn enter(wanted: &Wanted) -> Result<Kept, Refused> {
    let mut kept = Kept::default();
    let mut missing = Vec::new();
    let mut note = |what: Missing, result: io::Result<()>| match result {
        Ok(()) => Ok(true),
        Err(error) if wanted.required => Err(Refused::Missing(what, error)),
        Err(_) => {
            missing.push(what);
            Ok(false)
        }
    };
    // While /proc/self is still ours: whatever is dumped, by whomever, has none of the memory in it.
    note(Missing::DumpFilter, sys::dump_no_memory())?;
    note(Missing::CoreLimit, sys::limit_to_zero(libc::RLIMIT_CORE))?;
    kept.file_size_zero = !sys::output_is_a_file() && note(Missing::FileSize, sys::limit_to_zero(libc::RLIMIT_FSIZE))?;
    sys::become_user(wanted.user.as_ref()).map_err(Refused::User)?;
    note(Missing::Capabilities, sys::drop_capabilities())?;
    // After any change of user, which sets it anew.
    note(Missing::Dumpable, sys::forbid_dumps())?;
    kept.no_new_privileges = note(Missing::NoNewPrivileges, sys::no_new_privileges())?;
    let abi = landlock::abi();
    if note(Missing::Landlock, abi.as_ref().map_err(again).map(|_| ()))? {
        let abi = abi.unwrap_or_default();
        if note(Missing::Landlock, landlock::restrict(abi, &wanted.readable, &wanted.tcp))? {
            kept.landlock = Some(abi);
        }
    }
    kept.seccomp = note(Missing::Seccomp, sys::filter_calls(&filter::program(kept.landlock.is_some())))?;
    kept.missing = missing;
    Ok(kept)
}

/// An error to keep, made of one to look at.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Missing(what, error) => write!(
                f,
                "sandbox.mode is \"required\", and this system has no {what}: {error}. Start it on a newer kernel or in a container that \
                 allows it, or set [sandbox] mode to \"on\", which takes what there is"
            ),
            Refused::User(error) => {
                write!(f, "cannot become the user of [sandbox] user: {error}. Start it as root or as that user")
            }
        }
    }
}

impl std::error::Error for Refused {}
