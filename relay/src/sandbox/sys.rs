//! The system calls of the sandbox: Landlock, seccomp, prctl, capabilities, users, limits. Written by hand because they are few, and
//! because a crate between the promise and the kernel would be one more thing to believe.
#![allow(unsafe_code, reason = "the standard library has none of these calls")]

use std::ffi::{CString, c_int, c_long, c_void};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::{null, null_mut};

use serde::{Deserialize, Serialize};

/// The one way of opening for writing that seccomp lets through to Landlock. Nobody opens a file like this.
pub(super) const PROBE_FLAGS: c_int =
    libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
/// A file that everybody may write to, wherever there is one, and that keeps nothing.
const PROBE_FILE: &std::ffi::CStr = c"/dev/null";

/// What a thread got for trying to open a file for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// What Landlock answers.
    Denied,
    Opened,
    /// Some other error, by number.
    Failed(i32),
    /// It would have ended the process: seccomp is there and Landlock is not.
    NotTried,
}

/// Tries to open a file for writing, in the calling thread. Not to be called where seccomp is and Landlock is not.
pub fn probe() -> Probe {
    // SAFETY: the path ends in a zero; a non-negative answer is a new descriptor that nobody else owns.
    let opened = unsafe { libc::open(PROBE_FILE.as_ptr(), PROBE_FLAGS) };
    if opened >= 0 {
        // SAFETY: as above; dropped, and so closed, at once.
        drop(unsafe { OwnedFd::from_raw_fd(opened) });
        return Probe::Opened;
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EACCES) => Probe::Denied,
        error => Probe::Failed(error.unwrap_or_default()),
    }
}

/// The kernel's number of the calling thread, by which /proc knows it.
pub fn thread_id() -> i32 {
    // SAFETY: no pointers.
    unsafe { libc::gettid() }
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    name: CString,
    user: libc::uid_t,
    group: libc::gid_t,
}

/// Looks a user up by name; `None` if there is no such user.
///
/// # Errors
/// What the system says if it cannot tell.
pub fn account(name: &str) -> io::Result<Option<Account>> {
    const ROOM: usize = 16 * 1024;
    let name = CString::new(name).map_err(io::Error::other)?;
    let mut room = vec![0; ROOM];
    // SAFETY: a plain C structure of integers and pointers; all zeroes are a valid value of each.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = null_mut();
    // SAFETY: every pointer lives through the call, and `ROOM` is the length of `room`.
    let error = unsafe { libc::getpwnam_r(name.as_ptr(), &raw mut entry, room.as_mut_ptr(), ROOM, &raw mut found) };
    match (error, found.is_null()) {
        (0, false) => Ok(Some(Account { name, user: entry.pw_uid, group: entry.pw_gid })),
        (0 | libc::ENOENT | libc::ESRCH, true) => Ok(None),
        (error, _) => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Becomes that user, for good, if this process is root; with the groups that user is in, which may be what the certificate's key
/// is readable by. Gives up the right to any capability on the way.
pub(super) fn become_user(account: Option<&Account>) -> io::Result<()> {
    empty_bounding_set();
    let Some(Account { name, user, group }) = account else { return Ok(()) };
    // SAFETY: no pointers.
    let now = unsafe { libc::geteuid() };
    if now == *user {
        return Ok(());
    }
    // SAFETY: the name ends in a zero and lives through the call; the others take numbers. There is one thread.
    unsafe {
        checked(libc::initgroups(name.as_ptr(), *group as _))?;
        checked(libc::setresgid(*group, *group, *group))?;
        checked(libc::setresuid(*user, *user, *user))
    }
}

/// No program this process might start could have any capability. Without the right to do so there is nothing to give up.
fn empty_bounding_set() {
    const LAST: c_int = 63;
    for capability in 0..=LAST {
        let _ = control(libc::PR_CAPBSET_DROP, capability as _, 0);
    }
}

/// Gives up every capability. What they were good for (low ports, large buffers) is done.
pub(super) fn drop_capabilities() -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: c_int,
    }
    let _ = control(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as _, 0); // older than Linux 4.3: there are none
    let header = Header { version: VERSION_3, pid: 0 };
    let none = [0u32; 6]; // effective, permitted, inheritable; twice 32 bits of each
    // SAFETY: header and data are of the sizes version 3 asks for and live through the call, which only reads them.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) })
}

pub(super) fn no_new_privileges() -> io::Result<()> {
    control(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

/// No core file, no core handler, and no memory to read for other processes of the same user.
pub(super) fn forbid_dumps() -> io::Result<()> {
    control(libc::PR_SET_DUMPABLE, 0, 0)
}

/// Closes regular files that somebody left open for writing in this process (a lock of a script's, say), but for standard output and
/// error. Sockets are left alone: a supervisor may have meant them. To be called by a program that opens no file for writing itself.
pub fn close_inherited_files() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<c_int> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in numbers.into_iter().filter(|number| *number > libc::STDERR_FILENO) {
        // SAFETY: no pointers. What is closed is nobody's here: nothing in this program has a file open for writing.
        unsafe {
            let flags = libc::fcntl(descriptor, libc::F_GETFL);
            if flags >= 0 && flags & libc::O_ACCMODE != libc::O_RDONLY && is_a_file(descriptor) {
                libc::close(descriptor);
            }
        }
    }
}

/// What the kernel says of [`forbid_dumps`].
pub fn is_dumpable() -> bool {
    // SAFETY: this control takes no pointer.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 }
}

/// Leaves all memory out of whatever is dumped all the same, by a debugger of root's.
pub(super) fn dump_no_memory() -> io::Result<()> {
    fs::write("/proc/self/coredump_filter", "0")
}

/// Sets both the soft and the hard limit.
pub(super) fn limit_to_zero(resource: libc::__rlimit_resource_t) -> io::Result<()> {
    let zero = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel only reads the `rlimit`.
    checked(unsafe { libc::setrlimit(resource, &raw const zero) })
}

/// Whether standard output or standard error is a regular file.
pub(super) fn output_is_a_file() -> bool {
    [libc::STDOUT_FILENO, libc::STDERR_FILENO].into_iter().any(is_a_file)
}

fn is_a_file(descriptor: c_int) -> bool {
    // SAFETY: a plain C structure; all zeroes are a valid value. The kernel writes one `stat` to it.
    let (done, stat) = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        (libc::fstat(descriptor, &raw mut stat), stat)
    };
    done == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFREG
}

/// Installs a seccomp filter in this thread, and so in every thread it starts.
pub(super) fn filter_calls(program: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel reads `len` instructions and copies them; nothing is written.
    checked(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) })
}

/// What a Landlock ruleset is about (`struct landlock_ruleset_attr`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) files: u64,
    pub(super) net: u64,
    pub(super) scopes: u64,
}

/// `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: c_int,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

const RULE_PATH_BENEATH: c_int = 1;
const RULE_NET_PORT: c_int = 2;

/// The version of the interface.
pub(super) fn landlock_abi() -> io::Result<i32> {
    const VERSION: u32 = 1;
    // SAFETY: with this flag the kernel looks at no pointer.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, null::<c_void>(), 0usize, VERSION) };
    if abi < 1 { Err(io::Error::last_os_error()) } else { Ok(abi as i32) }
}

/// A ruleset in the making.
pub(super) struct Ruleset(OwnedFd);

impl Ruleset {
    pub(super) fn create(rights: &Rights) -> io::Result<Ruleset> {
        // An older kernel takes a longer structure as long as what it does not know is zero.
        // SAFETY: pointer and size describe `rights`; a non-negative answer is a new descriptor that nobody else owns.
        unsafe {
            let made = libc::syscall(libc::SYS_landlock_create_ruleset, &raw const *rights, size_of::<Rights>(), 0);
            checked(made)?;
            Ok(Ruleset(OwnedFd::from_raw_fd(made as c_int)))
        }
    }

    /// Allows this of a file, or of everything in a folder. What is not there cannot be allowed, which is no error.
    pub(super) fn allow_beneath(&self, path: &Path, allowed: u64) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
        // SAFETY: the path ends in a zero; a non-negative answer is a new descriptor that nobody else owns.
        let parent = unsafe {
            let opened = libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
            if opened < 0 {
                return Ok(());
            }
            OwnedFd::from_raw_fd(opened)
        };
        self.add(RULE_PATH_BENEATH, &PathBeneath { allowed, parent: parent.as_raw_fd() })
    }

    pub(super) fn allow_port(&self, port: u16, allowed: u64) -> io::Result<()> {
        self.add(RULE_NET_PORT, &NetPort { allowed, port: port.into() })
    }

    fn add<R>(&self, kind: c_int, rule: &R) -> io::Result<()> {
        let ruleset = self.0.as_raw_fd();
        // SAFETY: `rule` is the structure that `kind` asks for and lives through the call.
        checked(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, kind, &raw const *rule, 0) })
    }

    /// From now on it holds for this thread and those it starts. Needs `no_new_privs`.
    pub(super) fn restrict_self(self) -> io::Result<()> {
        // SAFETY: no pointers.
        checked(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.0.as_raw_fd(), 0) })
    }
}

fn control(what: c_int, first: libc::c_ulong, second: libc::c_ulong) -> io::Result<()> {
    // SAFETY: none of the controls used here takes a pointer; the arguments not used must be zero.
    checked(unsafe { libc::prctl(what, first, second, 0 as libc::c_ulong, 0 as libc::c_ulong) })
}

fn checked(answer: impl Into<c_long>) -> io::Result<()> {
    if answer.into() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn users_are_known_by_name() {
        assert_eq!(account("root").unwrap().unwrap().user, 0);
        assert_eq!(account("nobody at all").unwrap(), None);
    }

    /// Nothing is forbidden here: the probe must be able to tell.
    #[test]
    fn outside_a_sandbox_the_probe_opens() {
        assert_eq!(probe(), Probe::Opened);
    }
}
