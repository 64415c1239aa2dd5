//! What a path template took from a path.

/// How many parameters a template may have.
pub const MAX_PARAMS: usize = 8;

/// The parameters of a matched path template: names of the template, values borrowed from the path.
#[derive(Clone, Copy, Debug, Default)]
pub struct Params<'a> {
    names: &'a [Box<str>],
    path: &'a str,
    spans: Spans,
}

/// Where the values stand in the path, in the order of the names; the bounds fit, since no head is 4 GiB long.
pub(crate) type Spans = [(u32, u32); MAX_PARAMS];

impl<'a> Params<'a> {
    pub(crate) fn new(names: &'a [Box<str>], path: &'a str, spans: Spans) -> Self {
        Self { names, path, spans }
    }

    /// The value of a parameter, in the normal form of paths: still percent-encoded, visible ASCII only.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Names and values, in the order of the path.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let path = self.path;
        self.names
            .iter()
            .zip(self.spans)
            .map(move |(name, (from, to))| (&**name, path.get(from as usize..to as usize).unwrap_or_default()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}
