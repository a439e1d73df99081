//! The seccomp filter: which system calls this program makes, as a classic BPF program.
//!
//! Three answers. *Allowed*: what it needs, those of the packet path first (since Linux 5.11 the kernel remembers calls that are
//! always allowed and runs no filter for them). *The process ends*: what puts bytes into a file or makes another program of this
//! one; nothing here does that, so whoever tries is not this program any more, and voices pass through it. *`ENOSYS`*: everything
//! else. A libc that tries a newer call falls back on the older one as it does on an older kernel, which it would not after
//! `EPERM`; and a call that was forgotten here costs one feature, not every conversation.

use libc::sock_filter;

use super::sys::PROBE_FLAGS;

/// What the kernel calls the architecture in `seccomp_data` (linux/audit.h).
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xC000_00B7;

/// The filter is written for this one; 64 bits, little endian.
#[cfg(target_arch = "x86_64")]
pub const ARCHITECTURE: &str = "x86_64";
#[cfg(target_arch = "aarch64")]
pub const ARCHITECTURE: &str = "aarch64";

/// `seccomp_data`: the number, the architecture, and the low half of each argument.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const fn argument_at(index: u32) -> u32 {
    16 + 8 * index
}
const fn argument_high_at(index: u32) -> u32 {
    20 + 8 * index
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const fn errno(error: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | error as u32
}

/// Needed with any arguments. In the order of how often.
#[rustfmt::skip]
const ALLOWED: &[libc::c_long] = &[
    // The packet path, and waiting.
    libc::SYS_recvmmsg, libc::SYS_sendmmsg,
    #[cfg(target_arch = "x86_64")] libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait, libc::SYS_clock_nanosleep, libc::SYS_futex, libc::SYS_clock_gettime,
    libc::SYS_recvfrom, libc::SYS_sendto, libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev,
    libc::SYS_recvmsg, libc::SYS_sendmsg, libc::SYS_setsockopt, libc::SYS_getsockopt,
    // Sockets that come and go.
    libc::SYS_epoll_ctl, libc::SYS_accept4, libc::SYS_close, libc::SYS_bind, libc::SYS_listen, libc::SYS_connect,
    libc::SYS_shutdown, libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_fcntl,
    #[cfg(target_arch = "x86_64")] libc::SYS_poll,
    libc::SYS_ppoll, libc::SYS_epoll_create1, libc::SYS_eventfd2, libc::SYS_dup,
    // Memory.
    libc::SYS_munmap, libc::SYS_madvise, libc::SYS_mremap, libc::SYS_brk, libc::SYS_mlock2, libc::SYS_getrandom,
    // Threads, their signals and their end.
    libc::SYS_rt_sigprocmask, libc::SYS_rt_sigaction, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack, libc::SYS_set_robust_list,
    libc::SYS_rseq, libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity, libc::SYS_gettid,
    libc::SYS_getpid, libc::SYS_tgkill, libc::SYS_nanosleep, libc::SYS_restart_syscall, libc::SYS_getcpu, libc::SYS_membarrier,
    libc::SYS_exit, libc::SYS_exit_group, libc::SYS_gettimeofday, libc::SYS_clock_getres,
    #[cfg(target_arch = "x86_64")] libc::SYS_time,
    // Reading again what Landlock lets be read.
    libc::SYS_fstat, libc::SYS_statx, libc::SYS_newfstatat, libc::SYS_lseek, libc::SYS_pread64, libc::SYS_readlinkat,
    libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_getcwd,
    #[cfg(target_arch = "x86_64")] libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_access,
    #[cfg(target_arch = "x86_64")] libc::SYS_stat,
    #[cfg(target_arch = "x86_64")] libc::SYS_lstat,
    // Names: what the resolver of libc wants to know.
    libc::SYS_uname, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid,
];

/// What puts bytes into a file, or makes another program of this one.
#[rustfmt::skip]
const FATAL: &[libc::c_long] = &[
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
    libc::SYS_memfd_create, libc::SYS_mknodat, libc::SYS_truncate, libc::SYS_ftruncate, libc::SYS_fallocate,
    libc::SYS_pwrite64, libc::SYS_pwritev, libc::SYS_pwritev2, libc::SYS_copy_file_range, libc::SYS_sendfile,
    libc::SYS_splice, libc::SYS_tee, libc::SYS_vmsplice, libc::SYS_linkat, libc::SYS_symlinkat,
    libc::SYS_renameat2, libc::SYS_mkdirat, libc::SYS_mount, libc::SYS_pivot_root, libc::SYS_chroot,
    libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_init_module, libc::SYS_finit_module,
    libc::SYS_kexec_load,
    #[cfg(target_arch = "x86_64")] libc::SYS_creat,
    #[cfg(target_arch = "x86_64")] libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")] libc::SYS_link,
    #[cfg(target_arch = "x86_64")] libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_rename,
    #[cfg(target_arch = "x86_64")] libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")] libc::SYS_fork,
    #[cfg(target_arch = "x86_64")] libc::SYS_vfork,
    libc::SYS_renameat,
];

/// Any of these in `open` means more than reading. O_TMPFILE has a bit of its own beside O_DIRECTORY's.
const WRITING: u32 =
    (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;

const FAMILIES: [i32; 4] = [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX, libc::AF_NETLINK];
/// Non-blocking, how much there is to read, whether it is a terminal, close-on-exec.
const CONTROLS: [u32; 4] = [0x5421, 0x541B, 0x5401, 0x5451];
/// Names of threads and of mappings; whether there are dumps.
const PROCESS_CONTROLS: [u32; 4] =
    [libc::PR_GET_DUMPABLE as u32, libc::PR_SET_NAME as u32, libc::PR_GET_NAME as u32, 0x5356_4D41];
const WRITE_AND_EXECUTE: u32 = (libc::PROT_WRITE | libc::PROT_EXEC) as u32;

/// The whole program. `probing` lets the one open of [`super::probe`] through to Landlock.
pub(super) fn program(probing: bool) -> Vec<sock_filter> {
    let mut code =
        Code(vec![load(ARCHITECTURE_AT), unless_equal(AUDIT_ARCH, 0, 1), jump_over(1), answer(KILL), load(NUMBER_AT)]);
    for call in ALLOWED {
        code.on(*call, &[answer(ALLOW)]);
    }
    code.on(libc::SYS_openat, &opening(2, probing));
    #[cfg(target_arch = "x86_64")]
    code.on(libc::SYS_open, &opening(1, probing));
    code.on(libc::SYS_socket, &one_of(0, &FAMILIES.map(|family| family as u32), libc::EAFNOSUPPORT));
    code.on(libc::SYS_socketpair, &one_of(0, &[libc::AF_UNIX as u32], libc::EAFNOSUPPORT));
    code.on(libc::SYS_ioctl, &one_of(1, &CONTROLS, libc::ENOTTY));
    code.on(libc::SYS_prctl, &one_of(0, &PROCESS_CONTROLS, libc::EPERM));
    code.on(libc::SYS_mmap, &never_all(2, WRITE_AND_EXECUTE));
    code.on(libc::SYS_mprotect, &never_all(2, libc::PROT_EXEC as u32));
    code.on(libc::SYS_clone, &threads_only());
    code.on(libc::SYS_prlimit64, &asking_only());
    #[cfg(target_arch = "x86_64")]
    code.on(libc::SYS_getrlimit, &[answer(ALLOW)]);
    for call in FATAL {
        code.on(*call, &[answer(KILL)]);
    }
    code.0.push(answer(errno(libc::ENOSYS)));
    code.0
}

struct Code(Vec<sock_filter>);

impl Code {
    /// What happens on one call; `then` answers in any case.
    fn on(&mut self, call: libc::c_long, then: &[sock_filter]) {
        self.0.push(unless_equal(call as u32, 0, then.len() as u8));
        self.0.extend_from_slice(then);
    }
}

fn opening(flags: u32, probing: bool) -> Vec<sock_filter> {
    let mut code = vec![
        load(argument_at(flags)),
        statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, WRITING),
        unless_equal(0, 0, 1),
        answer(ALLOW),
    ];
    if probing {
        code.extend([load(argument_at(flags)), unless_equal(PROBE_FLAGS as u32, 0, 1), answer(ALLOW)]);
    }
    code.push(answer(KILL));
    code
}

fn one_of(argument: u32, good: &[u32], otherwise: i32) -> Vec<sock_filter> {
    let mut code = vec![load(argument_at(argument))];
    for value in good {
        code.extend([unless_equal(*value, 0, 1), answer(ALLOW)]);
    }
    code.push(answer(errno(otherwise)));
    code
}

/// Not with all of these bits.
fn never_all(argument: u32, bits: u32) -> Vec<sock_filter> {
    vec![
        load(argument_at(argument)),
        statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits),
        unless_equal(bits, 0, 1),
        answer(errno(libc::EPERM)),
        answer(ALLOW),
    ]
}

/// `clone3` hides its flags behind a pointer and is `ENOSYS`, whereupon libc takes this.
fn threads_only() -> Vec<sock_filter> {
    let thread = libc::CLONE_THREAD as u32;
    vec![
        load(argument_at(0)),
        statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, thread),
        unless_equal(thread, 0, 1),
        answer(ALLOW),
        answer(KILL),
    ]
}

/// Limits may be asked for, not set: the new value is a null pointer.
fn asking_only() -> Vec<sock_filter> {
    vec![
        load(argument_at(2)),
        unless_equal(0, 0, 3),
        load(argument_high_at(2)),
        unless_equal(0, 0, 1),
        answer(ALLOW),
        answer(errno(libc::EPERM)),
    ]
}

fn load(at: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at)
}

fn answer(action: u32) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, action)
}

fn jump_over(count: u32) -> sock_filter {
    statement(libc::BPF_JMP | libc::BPF_JA, count)
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Skips `equal` instructions if what was loaded is `k`, and `otherwise` if it is not.
fn unless_equal(k: u32, equal: u8, otherwise: u8) -> sock_filter {
    sock_filter { code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, jt: equal, jf: otherwise, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would: only what it is made of.
    fn run(program: &[sock_filter], number: libc::c_long, arguments: [u64; 6]) -> u32 {
        let word = |at: u32| match at {
            NUMBER_AT => number as u32,
            ARCHITECTURE_AT => AUDIT_ARCH,
            at if at % 8 == 0 => arguments[(at as usize - 16) / 8] as u32,
            at => (arguments[(at as usize - 20) / 8] >> 32) as u32,
        };
        let (mut at, mut value) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            match u32::from(code) {
                code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => value = word(k),
                code if code == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => value &= k,
                code if code == libc::BPF_JMP | libc::BPF_JA => at += k as usize,
                code if code == libc::BPF_RET | libc::BPF_K => return k,
                _ => at += usize::from(if value == k { jt } else { jf }),
            }
        }
    }

    fn opens(flags: i32, probing: bool) -> u32 {
        run(&program(probing), libc::SYS_openat, [0, 0, flags as u64, 0, 0, 0])
    }

    #[test]
    fn files_are_opened_for_reading_and_for_nothing_else() {
        assert_eq!(opens(libc::O_RDONLY | libc::O_CLOEXEC, true), ALLOW);
        assert_eq!(opens(libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC, true), ALLOW);
        let writing = [
            libc::O_WRONLY,
            libc::O_RDWR,
            libc::O_CREAT,
            libc::O_TRUNC,
            libc::O_APPEND,
            libc::O_TMPFILE,
            libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC,
        ];
        for flags in writing {
            assert_eq!(opens(flags | libc::O_CLOEXEC, true), KILL, "{flags:o}");
        }
    }

    #[test]
    fn the_probe_reaches_landlock_and_dies_where_there_is_none() {
        assert_eq!(opens(PROBE_FLAGS, true), ALLOW);
        assert_eq!(opens(PROBE_FLAGS, false), KILL);
        assert_eq!(opens(PROBE_FLAGS | libc::O_CREAT, true), KILL);
    }

    #[test]
    fn programs_and_copies_of_this_one_are_fatal_threads_are_not() {
        let code = program(true);
        assert_eq!(run(&code, libc::SYS_execve, [0; 6]), KILL);
        assert_eq!(run(&code, libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0, 0, 0]), KILL);
        assert_eq!(run(&code, libc::SYS_clone, [(libc::CLONE_VM | libc::CLONE_THREAD) as u64, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(run(&code, libc::SYS_clone3, [0; 6]), errno(libc::ENOSYS), "libc falls back on clone");
    }

    #[test]
    fn what_depends_on_its_arguments_is_looked_at() {
        let code = program(true);
        let of = |call, index: usize, value: u64| {
            let mut arguments = [0; 6];
            arguments[index] = value;
            run(&code, call, arguments)
        };
        assert_eq!(of(libc::SYS_socket, 0, libc::AF_INET6 as u64), ALLOW);
        assert_eq!(of(libc::SYS_socket, 0, libc::AF_PACKET as u64), errno(libc::EAFNOSUPPORT));
        assert_eq!(of(libc::SYS_mmap, 2, (libc::PROT_READ | libc::PROT_WRITE) as u64), ALLOW);
        assert_eq!(of(libc::SYS_mmap, 2, 7), errno(libc::EPERM));
        assert_eq!(of(libc::SYS_mprotect, 2, libc::PROT_EXEC as u64), errno(libc::EPERM));
        assert_eq!(of(libc::SYS_prctl, 0, libc::PR_SET_DUMPABLE as u64), errno(libc::EPERM));
        assert_eq!(of(libc::SYS_prlimit64, 2, 0), ALLOW);
        assert_eq!(of(libc::SYS_prlimit64, 2, 1 << 40), errno(libc::EPERM), "the high half counts");
        assert_eq!(of(libc::SYS_ioctl, 1, 0x5421), ALLOW);
        assert_eq!(of(libc::SYS_ioctl, 1, 0x5412), errno(libc::ENOTTY), "no typing into terminals");
    }

    #[test]
    fn another_architecture_is_fatal_and_no_call_stands_in_two_lists() {
        let code = program(true);
        assert_eq!((code[1].k, code[3].k), (AUDIT_ARCH, KILL));
        assert!(ALLOWED.iter().all(|call| !FATAL.contains(call)));
        let mut seen = ALLOWED.to_vec();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), ALLOWED.len());
        assert!(code.len() < 4096, "the kernel takes no more (BPF_MAXINSNS)");
    }
}
