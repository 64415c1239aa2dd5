//! Looks at every byte of a text, sixteen at a time.
//!
//! Left to itself the compiler makes such code of a loop only where it takes it for a long one. What a profile shows of
//! requests is that most texts are short, and then a token would cost ten times as much.

const BLOCK: usize = 16;

/// Whether any byte is wanted.
pub(crate) fn any(bytes: &[u8], is_wanted: impl Fn(u8) -> bool) -> bool {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    // Within a block there is no early end.
    blocks.iter().any(|block| block.iter().fold(false, |found, byte| found | is_wanted(*byte)))
        || rest.iter().any(|byte| is_wanted(*byte))
}

/// Where the first byte is that is wanted.
pub(crate) fn position(bytes: &[u8], is_wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let before = blocks.iter().take_while(|block| !block.iter().fold(false, |found, byte| found | is_wanted(*byte)));
    let from = before.count() * BLOCK;
    let here = bytes.get(from..).unwrap_or_default().iter().position(|byte| is_wanted(*byte))?;
    Some(from + here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_is_found_wherever_it_is() {
        for length in 0..3 * BLOCK {
            let mut bytes = vec![b'a'; length];
            assert!(!any(&bytes, |byte| byte == b'b'), "{length}");
            assert_eq!(position(&bytes, |byte| byte == b'b'), None, "{length}");
            for at in 0..length {
                bytes[at] = b'b';
                assert!(any(&bytes, |byte| byte == b'b'), "{at} of {length}");
                assert_eq!(position(&bytes, |byte| byte == b'b' || byte == b'c'), Some(at), "{length}");
                bytes[at] = b'a';
            }
        }
    }
}
