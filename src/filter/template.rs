//! Texts with the values of path parameters in them.

use crate::path::{self, Param, Params, PathMatchError};

/// A path with parameters: `:name` and `*name` stand for whole segments, as in the path template that declares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    parts: Box<[Part]>,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// This text.
    Literal(Box<str>),
    /// The value of this parameter.
    Param(Box<str>),
}

/// What is wrong with a text that inserts path parameters; [`Self::remedy`] says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is not a path.
    #[error(transparent)]
    Path(#[from] PathMatchError),
    /// It inserts a parameter that some match of the rule does not have.
    #[error("the parameter `{name}` is not in every path of the rule")]
    UnknownParam {
        /// The parameter.
        name: Box<str>,
        /// Those that every path of the rule has.
        known: Box<[Box<str>]>,
    },
    /// A brace has no partner, or no name stands between two.
    #[error("`{0}` has a brace that does not enclose a parameter's name")]
    Brace(Box<str>),
    /// It is not the value of a header.
    #[error("`{}` cannot be the value of a header", .0.escape_debug())]
    HeaderValue(Box<str>),
    /// It is not the name of a header.
    #[error("`{}` is not the name of a header", .0.escape_debug())]
    HeaderName(Box<str>),
    /// It is a header that frames messages or belongs to one connection.
    #[error("the header `{0}` is not a route's to change")]
    ReservedHeader(Box<str>),
}

impl TemplateError {
    /// What would be right.
    pub fn remedy(&self) -> String {
        match self {
            Self::Path(error) => error.remedy(),
            Self::UnknownParam { known, .. } if known.is_empty() => {
                "give every match of the rule a path of type Template that declares it".into()
            }
            Self::UnknownParam { known, .. } => {
                format!("use one of `{}`, or declare it in every match", known.join("`, `"))
            }
            Self::Brace(_) => "write `{name}` for a parameter, `{{` and `}}` for braces".into(),
            Self::HeaderValue(_) => "use visible ASCII characters and spaces only".into(),
            Self::HeaderName(_) => "use letters, digits and hyphens".into(),
            Self::ReservedHeader(name) if &**name == "host" => "use a URLRewrite filter with hostname".into(),
            Self::ReservedHeader(_) => "leave it out; it is set as the message needs it".into(),
        }
    }
}

impl Template {
    /// A path with parameters; `known` are the names that every match of the rule declares.
    pub fn parse(declared: &str, known: &[&str]) -> Result<Self, TemplateError> {
        let text = path::parse_path(declared)?;
        let mut parts = Parts::default();
        let mut rest = None;
        for segment in text.split('/').skip(1) {
            if let Some(rest) = rest {
                return Err(PathMatchError::RestNotLast(rest).into());
            }
            parts.literal("/");
            match path::param_name(segment)? {
                None => parts.literal(segment),
                Some(Param::One(name)) => parts.param(name, known)?,
                Some(Param::Rest(name)) => {
                    parts.param(name, known)?;
                    rest = Some(name.into());
                }
            }
        }
        let parts = parts.finish();
        Ok(Self { text: text.into(), parts })
    }

    /// The path with the values in it.
    pub fn render(&self, params: &Params<'_>) -> String {
        render(&self.parts, params)
    }

    /// The template as declared.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

pub(super) fn render(parts: &[Part], params: &Params<'_>) -> String {
    let mut text = String::new();
    for part in parts {
        text.push_str(match part {
            Part::Literal(literal) => literal,
            // Compiling made sure that it is there.
            Part::Param(name) => params.get(name).unwrap_or_default(),
        });
    }
    text
}

/// Pieces in the making; neighbouring literals become one.
#[derive(Default)]
pub(super) struct Parts {
    parts: Vec<Part>,
    literal: String,
}

impl Parts {
    pub(super) fn literal(&mut self, text: &str) {
        self.literal.push_str(text);
    }

    pub(super) fn param(&mut self, name: &str, known: &[&str]) -> Result<(), TemplateError> {
        if !known.contains(&name) {
            let known = known.iter().map(|known| (*known).into()).collect();
            return Err(TemplateError::UnknownParam { name: name.into(), known });
        }
        self.end_literal();
        self.parts.push(Part::Param(name.into()));
        Ok(())
    }

    pub(super) fn finish(mut self) -> Box<[Part]> {
        self.end_literal();
        self.parts.into()
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.parts.push(Part::Literal(std::mem::take(&mut self.literal).into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::sample::with_request;

    #[test]
    fn a_template_takes_the_values_of_the_path() {
        for (declared, path, template, made) in [
            ("Template /orders/:id", "/orders/4%202", "/v2/orders/:id", "/v2/orders/4%202"),
            ("Template /:a/:b", "/1/2", "/:b/x/:a/:b/", "/2/x/1/2/"),
            ("Template /a/*rest", "/a/b/c", "/v2/*rest", "/v2/b/c"),
            ("Template /a/*rest", "/a/", "/v2/*rest", "/v2/"),
            ("Prefix /", "/x", "/fixed", "/fixed"),
        ] {
            let known = ["id", "a", "b", "rest"];
            let template = Template::parse(template, &known).unwrap();
            let (text, _) = with_request(declared, path, None, |_, matched| template.render(&matched.params));
            assert_eq!(text, made);
        }
    }

    #[test]
    fn what_is_wrong_with_a_template_is_said_with_what_would_be_right() {
        for (declared, known, wrong, right) in [
            (
                "/v2/:id",
                &["order", "rest"][..],
                "the parameter `id` is not in every path of the rule",
                "use one of `order`, `rest`, or declare it in every match",
            ),
            (
                "/v2/:id",
                &[],
                "the parameter `id` is not in every path of the rule",
                "give every match of the rule a path of type Template that declares it",
            ),
            ("v2", &[], "`v2` does not begin with `/`", "write `/v2`"),
            (
                "/*rest/x",
                &["rest"],
                "`*rest` takes the rest of the path, but something follows it",
                "end the path with `*rest`, or take single segments with `:rest`",
            ),
        ] {
            let error = Template::parse(declared, known).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.remedy().as_str()), (wrong, right));
        }
    }
}
