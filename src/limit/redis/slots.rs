//! Which server of a cluster holds which key.

use redis::Value;

use super::settings::Server;

/// How many slots there are.
const SLOTS: u16 = 16_384;

/// The servers of a cluster and the slots of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    /// Ranges, both ends included, in order.
    ranges: Vec<(u16, u16, Server)>,
}

impl Slots {
    /// Reads the answer to `CLUSTER SLOTS`, which `asked` gave. Slots of a cluster that is not whole may be missing.
    pub(super) fn read(answer: &Value, asked: &Server) -> Option<Self> {
        let Value::Array(entries) = answer else { return None };
        let mut ranges = Vec::with_capacity(entries.len());
        for entry in entries {
            let Value::Array(entry) = entry else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = entry.as_slice() else {
                return None;
            };
            let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
            // A server that does not know its own address leaves it to us.
            let host = match host {
                Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?,
                Value::SimpleString(text) => text,
                _ => "",
            };
            let host = if host.is_empty() || host == "?" { &*asked.host } else { host };
            let server = Server { host: host.into(), port: u16::try_from(*port).ok()? };
            ranges.push((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, server));
        }
        ranges.sort();
        Some(Self { ranges })
    }

    /// The server that holds a slot.
    pub(super) fn server(&self, slot: u16) -> Option<&Server> {
        let after = self.ranges.partition_point(|(first, ..)| *first <= slot);
        let (_, last, server) = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= *last).then_some(server)
    }

    /// Every server that holds a slot, with the first that it holds; some come several times.
    pub(super) fn servers(&self) -> impl Iterator<Item = (&Server, u16)> {
        self.ranges.iter().map(|(first, _, server)| (server, *first))
    }
}

/// The slot of a key: of the part in its first braces, if there is one (Redis Cluster specification, "Hash tags").
pub(super) fn slot_of(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
        .unwrap_or(key);
    crc16(tag.as_bytes()) % SLOTS
}

/// A short text that is of this slot.
pub(super) fn text_in(slot: u16) -> String {
    // Of so many the chance that none is of it is one in 10^20 and some.
    (0..SLOTS as u32 * 50)
        .map(|number| format!("{number:x}"))
        .find(|text| crc16(text.as_bytes()) % SLOTS == slot)
        .unwrap_or_default()
}

/// CRC16 as XMODEM has it, which is what the specification names.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc: u16, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_slots_that_redis_gives_them() {
        // The specification's own check value, and what `CLUSTER KEYSLOT` says of the others.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, slot) in [("foo", 12_182), ("{foo}bar", 12_182), ("x{foo}{bar}", 12_182), ("", 0)] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
        assert_ne!(slot_of("{}a"), slot_of("{}b"), "empty braces are no tag");
        for slot in [0, 1, 5_460, 16_383] {
            assert_eq!(slot_of(&format!("headgate:{{{}}}:probe", text_in(slot))), slot);
        }
    }

    fn server(host: &str) -> Server {
        Server { host: host.into(), port: 1 }
    }

    fn entry(first: i64, last: i64, host: &str) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host: &str| Value::Array(vec![text(host), Value::Int(1), text("id"), Value::Array(vec![])]);
        Value::Array(vec![Value::Int(first), Value::Int(last), node(host), node("replica")])
    }

    #[test]
    fn slots_are_found() {
        let answer = Value::Array(vec![entry(200, 300, "b"), entry(0, 100, "a"), entry(301, 16_383, "")]);
        let slots = Slots::read(&answer, &server("asked")).unwrap();
        for (slot, host) in
            [(0, Some("a")), (100, Some("a")), (101, None), (200, Some("b")), (300, Some("b")), (16_383, Some("asked"))]
        {
            assert_eq!(slots.server(slot), host.map(server).as_ref(), "{slot}");
        }
        assert_eq!(Slots::default().server(5), None);
        assert_eq!(Slots::read(&Value::Okay, &server("asked")), None);
    }
}
