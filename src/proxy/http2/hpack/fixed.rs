//! The table of fields that both sides know from the start (RFC 7541 appendix A).

/// The field at a place, which is counted from 1.
pub(super) fn field(place: usize) -> Option<(&'static str, &'static str)> {
    FIELDS.get(place.checked_sub(1)?).copied()
}

/// How many there are.
pub(super) const COUNT: usize = FIELDS.len();

const FIELDS: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// The place of a name that responses carry; 0 when it has none.
pub(super) fn place(name: &str) -> u8 {
    // The length first, so that a name is compared with a few others and not with all.
    match (name.len(), name) {
        (3, "age") => 21,
        (3, "via") => 60,
        (4, "date") => 33,
        (4, "etag") => 34,
        (4, "vary") => 59,
        (4, "link") => 45,
        (5, "allow") => 22,
        (6, "server") => 54,
        (7, "expires") => 36,
        (7, "refresh") => 52,
        (8, "location") => 46,
        (10, "set-cookie") => 55,
        (11, "retry-after") => 53,
        (12, "content-type") => 31,
        (13, "accept-ranges") => 18,
        (13, "cache-control") => 24,
        (13, "content-range") => 30,
        (13, "last-modified") => 44,
        (14, "content-length") => 28,
        (16, "content-encoding") => 26,
        (16, "content-language") => 27,
        (16, "content-location") => 29,
        (16, "www-authenticate") => 61,
        (18, "proxy-authenticate") => 48,
        (19, "content-disposition") => 25,
        (25, "strict-transport-security") => 56,
        (27, "access-control-allow-origin") => 20,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_table() {
        for at in 1..=COUNT {
            let (name, _) = field(at).unwrap();
            let found = place(name);
            assert!(found == 0 || usize::from(found) == at, "{name}");
        }
        assert_eq!((field(0), field(COUNT + 1), place("x-a")), (None, None, 0));
        assert_eq!((field(1), field(61)), (Some((":authority", "")), Some(("www-authenticate", ""))));
    }
}
