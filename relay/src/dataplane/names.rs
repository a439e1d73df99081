//! Socket addresses and control messages as the kernel lays them out, read and written as plain bytes so that
//! nothing here needs `unsafe`. The layouts are Linux's (`struct sockaddr_in`, `sockaddr_in6`, `cmsghdr`, `in_pktinfo`, `in6_pktinfo`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::wire::Icmp;

const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();
const V4_BYTES: usize = size_of::<libc::sockaddr_in>();

/// Room for SO_RXQ_OVFL and TOS (24 bytes each) and the larger of the two PKTINFO forms (40 bytes); or, from the error queue,
/// for TOS and the larger of the two RECVERR forms (64 bytes).
const CONTROL_BYTES: usize = 96;
const WORD: usize = size_of::<usize>();
/// `struct cmsghdr`: a length of one word, level and type of four bytes each; the data follows at once.
const CMSG_HEADER: usize = WORD + 8;
/// `struct sock_extended_err`; the address of whoever sent the error follows it.
const ERROR_BYTES: usize = size_of::<libc::sock_extended_err>();
const PKTINFO_V4: usize = size_of::<libc::in_pktinfo>();
const PKTINFO_V6: usize = size_of::<libc::in6_pktinfo>();

/// One socket address as `recvmsg` writes it and `sendmsg` reads it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Name([u8; NAME_BYTES]);

impl Name {
    pub(super) const EMPTY: Name = Name([0; NAME_BYTES]);
    pub(super) const CAPACITY: u32 = NAME_BYTES as u32;

    /// Writes the address and answers its length for `msg_namelen`.
    pub(super) fn write(&mut self, address: SocketAddr) -> u32 {
        let bytes = &mut self.0;
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                V4_BYTES as u32
            }
            SocketAddr::V6(v6) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                bytes[4..8].fill(0);
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                NAME_BYTES as u32
            }
        }
    }

    /// The address the kernel wrote. The flow label is left out: it is not part of who somebody is.
    pub(super) fn read(&self) -> Option<SocketAddr> {
        let bytes = &self.0;
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        match i32::from(u16::from_ne_bytes([bytes[0], bytes[1]])) {
            libc::AF_INET => {
                let ip = Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]);
                Some(SocketAddr::V4(SocketAddrV4::new(ip, port)))
            }
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(array::<16>(bytes, 8)?);
                let scope = u32::from_ne_bytes(array(bytes, 24)?);
                Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)))
            }
            _ => None,
        }
    }
}

/// What the kernel said beside a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beside {
    /// SO_RXQ_OVFL: datagrams this socket has lost to a full receive buffer, ever; wraps.
    pub(super) overflow: Option<u32>,
    /// PKTINFO: our address the datagram was sent to, and the interface if that address is link-local.
    pub(super) local: Option<(IpAddr, u32)>,
    /// The byte of the IP header that holds DSCP and ECN: TOS, or the traffic class.
    pub(super) tos: u8,
}

/// What a datagram is to leave with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Leaving {
    /// The local address to leave from, on sockets bound to every address.
    pub(super) source: Option<SocketAddr>,
    /// DSCP and ECN.
    pub(super) tos: u8,
}

/// One message's control buffer.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u8; CONTROL_BYTES]);

impl Control {
    pub(super) const EMPTY: Control = Control([0; CONTROL_BYTES]);
    pub(super) const CAPACITY: usize = CONTROL_BYTES;

    /// Reads the first `len` bytes, which the kernel filled.
    pub(super) fn read(&self, len: usize) -> Beside {
        let mut beside = Beside::default();
        let mut rest = &self.0[..len.min(CONTROL_BYTES)];
        while let Some((level, kind, data, next)) = split(rest) {
            match (level, kind) {
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => beside.overflow = array(data, 0).map(u32::from_ne_bytes),
                // ipi_spec_dst, not ipi_addr: the address to answer from, even if the datagram was a broadcast
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    beside.local = array::<4>(data, 4).map(|ip| (IpAddr::from(ip), 0));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => beside.local = local_v6(data),
                (libc::IPPROTO_IP, libc::IP_TOS) => beside.tos = data.first().copied().unwrap_or_default(),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    beside.tos = array(data, 0).map_or(0, |class| u32::from_ne_bytes(class) as u8);
                }
                _ => {}
            }
            rest = next;
        }
        beside
    }

    /// The ICMP error in the first `len` bytes, as they come from the error queue. `None` for errors of this machine's own
    /// making.
    pub(super) fn read_icmp(&self, len: usize) -> Option<Icmp> {
        let mut rest = &self.0[..len.min(CONTROL_BYTES)];
        while let Some((level, kind, data, next)) = split(rest) {
            if matches!((level, kind), (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR))
            {
                // ee_errno (4), ee_origin, ee_type, ee_code, ee_pad, ee_info (4): the MTU if it was too big
                let [_, _, _, _, origin, kind, code, _, i0, i1, i2, i3, ..] = array::<ERROR_BYTES>(data, 0)?;
                let data = u32::from_ne_bytes([i0, i1, i2, i3]);
                let from_network = matches!(origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6);
                return from_network.then_some(Icmp { kind, code, data });
            }
            rest = next;
        }
        None
    }

    /// Writes what makes a datagram to an IPv6 or IPv4 address leave like this; answers the length for `msg_controllen`.
    pub(super) fn write(&mut self, leaving: &Leaving, ipv6: bool) -> usize {
        let mut at = leaving.source.map_or(0, |source| self.write_source(source));
        if leaving.tos != 0 {
            let (level, kind) =
                if ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) } else { (libc::IPPROTO_IP, libc::IP_TOS) };
            let value = i32::from(leaving.tos).to_ne_bytes();
            self.0[at + CMSG_HEADER..][..value.len()].copy_from_slice(&value);
            at = self.write_header(at, level, kind, value.len());
        }
        at
    }

    /// The PKTINFO that makes a datagram leave from `source`.
    fn write_source(&mut self, source: SocketAddr) -> usize {
        let data = CMSG_HEADER;
        let bytes = &mut self.0;
        match source {
            SocketAddr::V4(v4) => {
                bytes[data..data + PKTINFO_V4].fill(0);
                bytes[data + 4..data + 8].copy_from_slice(&v4.ip().octets());
                self.write_header(0, libc::IPPROTO_IP, libc::IP_PKTINFO, PKTINFO_V4)
            }
            SocketAddr::V6(v6) => {
                bytes[data..data + 16].copy_from_slice(&v6.ip().octets());
                bytes[data + 16..data + 20].copy_from_slice(&v6.scope_id().to_ne_bytes());
                self.write_header(0, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, PKTINFO_V6)
            }
        }
    }

    /// Answers where the next one begins.
    fn write_header(&mut self, at: usize, level: i32, kind: i32, data_bytes: usize) -> usize {
        let len = CMSG_HEADER + data_bytes;
        let header = &mut self.0[at..at + CMSG_HEADER];
        header[..WORD].copy_from_slice(&len.to_ne_bytes());
        header[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
        header[WORD + 4..WORD + 8].copy_from_slice(&kind.to_ne_bytes());
        at + len.next_multiple_of(WORD)
    }
}

/// The first control message of `bytes` and what follows it.
fn split(bytes: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let len = usize::from_ne_bytes(array(bytes, 0)?);
    let level = i32::from_ne_bytes(array(bytes, WORD)?);
    let kind = i32::from_ne_bytes(array(bytes, WORD + 4)?);
    let data = bytes.get(CMSG_HEADER..len)?;
    Some((level, kind, data, bytes.get(len.next_multiple_of(WORD)..).unwrap_or_default()))
}

fn local_v6(data: &[u8]) -> Option<(IpAddr, u32)> {
    let ip = Ipv6Addr::from(array::<16>(data, 0)?);
    let interface = u32::from_ne_bytes(array(data, 16)?);
    Some((IpAddr::V6(ip), if ip.is_unicast_link_local() { interface } else { 0 }))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_reads_back_as_it_was_written() {
        for text in ["192.0.2.1:3478", "[2001:db8::7]:65535", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut name = Name::EMPTY;
            name.write(address);
            assert_eq!(name.read(), Some(address));
        }
        assert_eq!(Name::EMPTY.read(), None);
    }

    #[test]
    fn a_v4_name_written_over_a_v6_one_reads_as_v4() {
        let mut name = Name::EMPTY;
        name.write("[2001:db8::7]:1".parse().unwrap());
        let v4: SocketAddr = "192.0.2.1:2".parse().unwrap();
        assert_eq!(name.write(v4), 16);
        assert_eq!(name.read(), Some(v4));
    }

    #[test]
    fn the_source_we_ask_for_reads_back_as_the_local_address() {
        for text in ["192.0.2.1:0", "[2001:db8::7]:0"] {
            let source: SocketAddr = text.parse().unwrap();
            for tos in [0, 0xB9] {
                let mut control = Control::EMPTY;
                let len = control.write(&Leaving { source: Some(source), tos }, source.is_ipv6());
                assert_eq!(control.read(len), Beside { overflow: None, local: Some((source.ip(), 0)), tos });
            }
        }
    }

    #[test]
    fn nothing_special_takes_no_control_bytes_and_tos_alone_reads_back() {
        for ipv6 in [false, true] {
            let mut control = Control::EMPTY;
            assert_eq!(control.write(&Leaving::default(), ipv6), 0);
            let len = control.write(&Leaving { source: None, tos: 3 }, ipv6);
            assert_eq!(control.read(len), Beside { tos: 3, ..Beside::default() });
            assert_eq!(control.read_icmp(len), None);
        }
    }

    #[test]
    fn an_error_is_read_if_it_came_from_the_network_and_is_whole() {
        for (level, kind, origin) in [
            (libc::IPPROTO_IP, libc::IP_RECVERR, libc::SO_EE_ORIGIN_ICMP),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR, libc::SO_EE_ORIGIN_ICMP6),
        ] {
            let mut control = Control::EMPTY;
            control.0[CMSG_HEADER + 4..CMSG_HEADER + 8].copy_from_slice(&[origin, 3, 4, 0]);
            control.0[CMSG_HEADER + 8..CMSG_HEADER + 12].copy_from_slice(&1280u32.to_ne_bytes());
            let len = control.write_header(0, level, kind, ERROR_BYTES);
            assert_eq!(control.read_icmp(len), Some(Icmp { kind: 3, code: 4, data: 1280 }));
            assert_eq!(control.read_icmp(len - 4), None);
            control.0[CMSG_HEADER + 4] = libc::SO_EE_ORIGIN_LOCAL;
            assert_eq!(control.read_icmp(len), None);
        }
    }

    #[test]
    fn truncated_control_bytes_say_nothing() {
        let mut control = Control::EMPTY;
        let len = control.write_source("[2001:db8::7]:0".parse().unwrap());
        for short in 0..len - 4 {
            assert_eq!(control.read(short), Beside::default());
        }
    }
}
