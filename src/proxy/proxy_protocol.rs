//! The PROXY protocol, by which a load balancer says whom it has connected for, before anything else (HAProxy's
//! `proxy-protocol.txt`, versions 1 and 2).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::upstream::PROXY_SIGNATURE as SIGNATURE;

/// The longest line of version 1, with its end.
const MAX_LINE: usize = 107;
/// The most that we read of what version 2 may carry beside addresses.
const MAX_EXTRA: u16 = 4096;

/// Reads the header and nothing after it: TLS or a request follows. `None` when the sender speaks for itself, or does not
/// say for whom.
///
/// # Errors
/// When something else comes. The specification forbids to guess: a client of a load balancer that does not speak the
/// protocol could say whatever it wants.
pub(super) async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; SIGNATURE.len()];
    io.read_exact(&mut start).await?;
    if start == SIGNATURE { read_v2(io).await } else { read_v1(io, start).await }
}

async fn read_v1(io: &mut (impl AsyncRead + Unpin), start: [u8; 12]) -> io::Result<Option<SocketAddr>> {
    let mut line = start.to_vec();
    if !line.starts_with(b"PROXY ") {
        return Err(malformed("no PROXY header"));
    }
    while !line.ends_with(b"\r\n") {
        if line.len() >= MAX_LINE {
            return Err(malformed("line over 107 bytes"));
        }
        // One byte at a time, so that nothing of what follows is taken; this is once per connection.
        line.push(io.read_u8().await?);
    }
    let text = std::str::from_utf8(&line).map_err(|_| malformed("line of other than text"))?;
    let mut words = text.trim_end_matches("\r\n").split(' ').skip(1);
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        return Ok(None);
    }
    let mut parts = || {
        let (source, destination) = (words.next()?.parse::<IpAddr>().ok()?, words.next()?.parse::<IpAddr>().ok()?);
        let (from, _to) = (port(words.next()?)?, port(words.next()?)?);
        words.next().is_none().then_some((source, destination, from))
    };
    let (source, destination, from) = parts().ok_or_else(|| malformed("malformed line"))?;
    match family {
        "TCP4" if source.is_ipv4() && destination.is_ipv4() => {}
        "TCP6" if source.is_ipv6() && destination.is_ipv6() => {}
        _ => return Err(malformed("address of another family")),
    }
    Ok(Some(SocketAddr::new(source, from)))
}

fn port(text: &str) -> Option<u16> {
    // `+80` is a number for Rust.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

async fn read_v2(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let [version, family] = [io.read_u8().await?, io.read_u8().await?];
    let length = io.read_u16().await?;
    if version >> 4 != 2 {
        return Err(malformed("unknown version"));
    }
    if length > MAX_EXTRA {
        return Err(malformed("header over 4 KiB"));
    }
    let mut rest = vec![0; usize::from(length)];
    io.read_exact(&mut rest).await?;
    match version & 0xf {
        // The sender itself, as when it looks whether we are well.
        0 => return Ok(None),
        1 => {}
        _ => return Err(malformed("unknown command")),
    }
    let short = || malformed("addresses are missing");
    match family {
        0x11 => {
            let (source, from) = (rest.first_chunk::<4>().ok_or_else(short)?, rest.get(8..10).ok_or_else(short)?);
            rest.get(..12).ok_or_else(short)?;
            Ok(Some(SocketAddr::new(Ipv4Addr::from(*source).into(), big_endian(from))))
        }
        0x21 => {
            let (source, from) = (rest.first_chunk::<16>().ok_or_else(short)?, rest.get(32..34).ok_or_else(short)?);
            rest.get(..36).ok_or_else(short)?;
            Ok(Some(SocketAddr::new(Ipv6Addr::from(*source).into(), big_endian(from))))
        }
        // Not of TCP over IP: whoever it is has no address that could be told on.
        _ => Ok(None),
    }
}

fn big_endian(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte))
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read, and what is left for whoever comes after.
    fn outcome(bytes: &[u8]) -> Result<(Option<String>, Vec<u8>), String> {
        let mut rest = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(read(&mut rest)).map_err(|error| error.to_string())?;
        Ok((read.map(|address| address.to_string()), rest.to_vec()))
    }

    fn v2(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version, family], &length, rest, b"GET"].concat()
    }

    #[test]
    fn lines_of_version_1() {
        for (line, address) in [
            ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", Some("192.0.2.7:4711")),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", Some("[2001:db8::7]:4711")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        ] {
            let read = outcome(format!("{line}GET /").as_bytes());
            assert_eq!(read, Ok((address.map(str::to_owned), b"GET /".to_vec())), "{line:?}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for line in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 1\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 99999 443\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 4711 443\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 4711 443\r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 4711 443\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 4711 443\r\n",
            "PROXY TCP4 192.0.2.7",
            long.as_str(),
        ] {
            assert!(outcome(line.as_bytes()).is_err(), "{line:?}");
        }
    }

    #[test]
    fn headers_of_version_2() {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
        let mut six = [0; 36];
        six[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        six[15] = 7;
        six[32..34].copy_from_slice(&[0x12, 0x67]);
        let extra = [&four[..], &[4, 0, 1, 0]].concat();
        for (bytes, address) in [
            (v2(0x21, 0x11, &four), Some("192.0.2.7:4711")),
            (v2(0x21, 0x11, &extra), Some("192.0.2.7:4711")),
            (v2(0x21, 0x21, &six), Some("[2001:db8::7]:4711")),
            (v2(0x20, 0x11, &four), None),
            (v2(0x20, 0, &[]), None),
            (v2(0x21, 0, &[]), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            assert_eq!(outcome(&bytes), Ok((address.map(str::to_owned), b"GET".to_vec())), "{bytes:?}");
        }
        for bytes in [
            v2(0x11, 0x11, &four),
            v2(0x22, 0x11, &four),
            v2(0x21, 0x11, &four[..11]),
            v2(0x21, 0x21, &six[..35]),
            v2(0x21, 0x11, &[0; 4097]),
            v2(0x21, 0x11, &four)[..20].to_vec(),
            SIGNATURE.to_vec(),
        ] {
            assert!(outcome(&bytes).is_err(), "{bytes:?}");
        }
    }
}
