//! The date, as answers tell it (RFC 9110 5.6.7): made once in a second.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use http::HeaderValue;

/// The date that was told last.
#[derive(Debug)]
pub(super) struct Date(RefCell<(u64, HeaderValue)>);

impl Default for Date {
    fn default() -> Self {
        Self(RefCell::new((0, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))))
    }
}

impl Date {
    /// The date of this moment, in milliseconds since 1970.
    pub(super) fn at(&self, wall: u64) -> HeaderValue {
        let mut known = self.0.borrow_mut();
        let second = wall / 1000;
        if known.0 != second {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            if let Ok(value) = HeaderValue::try_from(text) {
                *known = (second, value);
            }
        }
        known.1.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_on_by_the_second() {
        let date = Date::default();
        for (wall, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_382_386_401_999, "Mon, 21 Oct 2013 20:13:21 GMT"),
            (1_382_386_402_000, "Mon, 21 Oct 2013 20:13:22 GMT"),
        ] {
            assert_eq!(date.at(wall), text);
        }
    }
}
