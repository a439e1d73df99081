//! A relay that has gone bad, for the tests of the sandbox: it enters as the daemon does, receives a payload in a thread of its own,
//! and tries to keep it, in the way that its first argument names. `recorder without-landlock PROGRAM …` runs a program on what
//! looks like a kernel without Landlock.
#![allow(unsafe_code, reason = "what the standard library has no name for is tried as well")]
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test program: a panic is how it reports

use relay::sandbox::{Wanted, enter, probe};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Error, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments[0] == "without-landlock" {
        refuse_landlock();
        panic!("{}", Command::new(&arguments[1]).args(&arguments[2..]).exec());
    }
    let (way, file) = (arguments[0].clone(), arguments[1].clone());
    let inherited = OpenOptions::new().append(true).open(&file).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    enter(&Wanted { required: true, ..Wanted::default() }).unwrap();
    let recording = thread::spawn(move || {
        socket.send_to(b"CANARYpayload", socket.local_addr().unwrap()).unwrap();
        let mut payload = [0; 64];
        let length = socket.recv(&mut payload).unwrap();
        record(&way, Path::new(&file), &inherited, &listener, &payload[..length])
    });
    match recording.join().unwrap() {
        Ok(()) => println!("done"),
        Err(error) => println!("denied: {error:?}"),
    }
}

fn record(way: &str, file: &Path, mut inherited: &File, listener: &TcpListener, payload: &[u8]) -> io::Result<()> {
    match way {
        "create" => fs::write(file.with_extension("new"), payload),
        "append" => OpenOptions::new().append(true).open(file)?.write_all(payload),
        "overwrite" => OpenOptions::new().write(true).open(file)?.write_all(payload),
        "inherited" => inherited.write_all(payload),
        "rename" => fs::rename(file, file.with_extension("new")),
        "program" => Command::new("/bin/sh").args(["-c", "true"]).status().map(drop),
        // SAFETY: the name ends in a zero; the descriptor is not used.
        "memory-file" => checked(unsafe { libc::memfd_create(c"recording".as_ptr(), 0) }.into()),
        // SAFETY: the child, if there were one, would end at once.
        "fork" => match unsafe { libc::fork() } {
            0 => std::process::exit(0),
            child => checked(child.into()),
        },
        "read" => fs::read(file).map(drop),
        "list" => fs::read_dir("/").map(drop),
        "probe" => Err(Error::other(format!("{:?}", probe()))),
        "connect" => TcpStream::connect(listener.local_addr()?).map(drop),
        // SAFETY: a new mapping of nobody's address space, not used.
        "code" => unsafe {
            let rights = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
            let mapped = libc::mmap(std::ptr::null_mut(), 4096, rights, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
            if mapped == libc::MAP_FAILED { Err(Error::last_os_error()) } else { Ok(()) }
        },
        // SAFETY: without a structure the kernel would answer EFAULT.
        "ring" => checked(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, 0) }),
        // SAFETY: AF_PACKET sees every packet of the machine; the descriptor is not used.
        "packets" => checked(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) }.into()),
        // SAFETY: no pointers.
        "dumpable" => checked(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) }.into()),
        "serve" => Ok(()),
        other => panic!("no such way: {other}"),
    }
}

fn checked(answer: i64) -> io::Result<()> {
    if answer < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// As on a kernel that was built without: the three calls are not there.
fn refuse_landlock() {
    let first = libc::SYS_landlock_create_ruleset as u32;
    let code = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let errno = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let filter = [
        code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, first),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, errno),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel reads the program and copies it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program), 0);
    }
}
