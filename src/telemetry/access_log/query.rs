//! What a line shows of a query: its values are the client's, and often secrets.

/// What is shown of queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::telemetry) enum QueryShown {
    /// Names, and `REDACTED` for every value.
    #[default]
    Redacted,
    /// All of it.
    Kept,
    /// Nothing.
    Dropped,
}

/// What stands for a value.
pub(super) const REDACTED: &[u8] = b"REDACTED";

impl QueryShown {
    /// Hands on what is shown of a query, piece by piece.
    pub(in crate::telemetry) fn pieces(self, query: &[u8], mut piece: impl FnMut(&[u8])) {
        match self {
            Self::Dropped => {}
            Self::Kept => piece(query),
            Self::Redacted => {
                for (number, pair) in query.split(|byte| *byte == b'&').enumerate() {
                    if number > 0 {
                        piece(b"&");
                    }
                    match pair.iter().position(|byte| *byte == b'=') {
                        Some(end) => {
                            piece(pair.get(..=end).unwrap_or_default());
                            piece(REDACTED);
                        }
                        // It may be a name or a value.
                        None if pair.is_empty() => {}
                        None => piece(REDACTED),
                    }
                }
            }
        }
    }

    /// The same of a whole URL, whose query is all that is not shown.
    pub(super) fn pieces_of_url(self, url: &[u8], mut piece: impl FnMut(&[u8])) {
        let end = url.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(url.len());
        let (rest, query) = url.split_at_checked(end).unwrap_or((url, b""));
        if self == Self::Kept {
            piece(url);
            return;
        }
        // `user:password@` is no part that anybody needs either.
        let authority = rest.windows(3).position(|three| three == b"://").map_or(0, |at| at + 3);
        let path = rest.iter().skip(authority).position(|byte| *byte == b'/').map_or(rest.len(), |at| authority + at);
        match rest.get(authority..path).and_then(|authority| authority.iter().rposition(|byte| *byte == b'@')) {
            Some(at) => {
                piece(rest.get(..authority).unwrap_or_default());
                piece(rest.get(authority + at + 1..).unwrap_or_default());
            }
            None => piece(rest),
        }
        if let Some((b'?', query)) = query.split_first() {
            let end = query.iter().position(|byte| *byte == b'#').unwrap_or(query.len());
            if self == Self::Redacted {
                piece(b"?");
                self.pieces(query.get(..end).unwrap_or_default(), piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(shown: QueryShown, url: &str) -> String {
        let mut out = Vec::new();
        shown.pieces_of_url(url.as_bytes(), |piece| out.extend_from_slice(piece));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_stay_and_values_go() {
        for (url, redacted) in [
            ("/a", "/a"),
            ("/a?", "/a?"),
            ("/a?page=2&token=a=b&&secret#f", "/a?page=REDACTED&token=REDACTED&&REDACTED"),
            ("https://me:pw@a.example/x@y?q=1", "https://a.example/x@y?q=REDACTED"),
            ("https://a.example#access_token=1", "https://a.example"),
        ] {
            assert_eq!(shown(QueryShown::Redacted, url), redacted);
        }
        assert_eq!(shown(QueryShown::Dropped, "https://a.example/x?q=1"), "https://a.example/x");
        assert_eq!(shown(QueryShown::Kept, "https://a.example/x?q=1#y"), "https://a.example/x?q=1#y");
    }
}
