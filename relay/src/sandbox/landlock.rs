//! Landlock: which files may be opened, and where TCP connections may lead. Everything else of the file system is out of reach,
//! whoever owns it. Needs no privilege, and the process cannot take it back.

use std::io;
use std::path::PathBuf;

use super::Tcp;
use super::sys::{self, Ruleset};

/// Access rights to files by the version that brought them (linux/landlock.h): everything up to MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV.
const FILE_RIGHTS: [(i32, u64); 4] = [(1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15)];
const READ_FILE: u64 = 1 << 2;
const CONNECT_TCP: u64 = 1 << 1;
/// Abstract Unix sockets and signals of others.
const SCOPES: u64 = 0b11;

/// The version this kernel speaks.
///
/// # Errors
/// It was built or started without.
pub(super) fn abi() -> io::Result<i32> {
    sys::landlock_abi()
}

/// Binds this thread, and all it starts, to reading `readable` and to `tcp`. What does not exist is left out.
pub(super) fn restrict(abi: i32, readable: &[PathBuf], tcp: &Tcp) -> io::Result<()> {
    let ruleset = Ruleset::create(&rights(abi, tcp))?;
    for path in readable {
        ruleset.allow_beneath(path, READ_FILE)?;
    }
    if let (true, Tcp::Ports(ports)) = (abi >= 4, tcp) {
        for port in ports {
            ruleset.allow_port(*port, CONNECT_TCP)?;
        }
    }
    ruleset.restrict_self()
}

/// What is forbidden unless a rule allows it. Listening is not: a reload may open another TCP listener, and nothing leaves by one that was not
/// there before.
fn rights(abi: i32, tcp: &Tcp) -> sys::Rights {
    let files = FILE_RIGHTS.iter().filter(|(since, _)| *since <= abi).fold(0, |all, (_, rights)| all | rights);
    let net = if abi >= 4 && *tcp != Tcp::Anywhere { CONNECT_TCP } else { 0 };
    sys::Rights { files, net, scopes: if abi >= 6 { SCOPES } else { 0 } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_forbids_what_it_knows_and_nothing_more() {
        let none = Tcp::default();
        assert_eq!(rights(1, &none), sys::Rights { files: 0x1FFF, net: 0, scopes: 0 });
        assert_eq!(rights(3, &none), sys::Rights { files: 0x7FFF, net: 0, scopes: 0 });
        assert_eq!(rights(4, &none), sys::Rights { files: 0x7FFF, net: 2, scopes: 0 });
        assert_eq!(rights(7, &none), sys::Rights { files: 0xFFFF, net: 2, scopes: 3 });
        assert_eq!(rights(7, &Tcp::Anywhere), sys::Rights { files: 0xFFFF, net: 0, scopes: 3 });
    }
}
