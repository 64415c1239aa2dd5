//! The memory of a response's fields, which goes from one head to the next on a thread. The allocator would give each
//! head another piece, and the processor would have to fetch it.

use std::cell::RefCell;

use http::HeaderMap;

/// How many are kept.
const KEPT: usize = 64;
/// How many fields a map may have room for that is kept.
pub(crate) const KEPT_FIELDS: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// Room for so many fields.
pub(super) fn headers(fields: usize) -> HeaderMap {
    let mut headers = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    headers.reserve(fields);
    headers
}

/// Takes the memory of fields that nobody needs any more.
pub(crate) fn give_headers(mut headers: HeaderMap) {
    if (1..=KEPT_FIELDS).contains(&headers.capacity()) {
        headers.clear();
        FREE.with_borrow_mut(|free| {
            if free.len() < KEPT {
                free.push(headers);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::VIA;

    use super::*;

    #[test]
    fn memory_is_used_again_and_what_was_in_it_is_gone() {
        let mut map = headers(8);
        for _ in 0..8 {
            map.append(VIA, HeaderValue::from_static("a"));
        }
        let room = map.capacity();
        give_headers(map);
        let map = headers(1);
        assert_eq!((map.len(), map.capacity()), (0, room));
        give_headers(HeaderMap::with_capacity(2 * KEPT_FIELDS));
        assert!(headers(1).capacity() < KEPT_FIELDS, "much room was kept");
    }
}
