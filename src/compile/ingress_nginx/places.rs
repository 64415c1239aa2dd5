//! Where answers of a backend say that things are.

use super::annotations::Annotations;
use crate::filter::{Places, Swap};

const COOKIE_DOMAIN: &str = "proxy-cookie-domain";
const COOKIE_PATH: &str = "proxy-cookie-path";
const REDIRECT_FROM: &str = "proxy-redirect-from";
const REDIRECT_TO: &str = "proxy-redirect-to";

/// Reads what becomes of them.
pub(super) fn read(annotations: &mut Annotations<'_>) -> Option<Places> {
    let places = Places {
        location: redirect(annotations),
        cookie_domain: cookie(annotations, COOKIE_DOMAIN),
        cookie_path: cookie(annotations, COOKIE_PATH),
    };
    (places != Places::default()).then_some(places)
}

fn redirect(annotations: &mut Annotations<'_>) -> Option<Swap> {
    let (from, to) = (annotations.take(REDIRECT_FROM), annotations.take(REDIRECT_TO));
    // `default` is about the address of the backend, which no backend is told.
    let from = from.filter(|from| !matches!(*from, "off" | "default"))?;
    let swap = to.filter(|to| *to != "off").and_then(|to| swap(from, to));
    if swap.is_none() {
        let what = format!("nothing can be put in place of \"{}\"", from.escape_debug());
        annotations.unusable(REDIRECT_FROM, what, REMEDY);
    }
    swap
}

fn cookie(annotations: &mut Annotations<'_>, name: &str) -> Option<Swap> {
    let value = annotations.take(name).filter(|value| *value != "off")?;
    let swap = value.split_once(char::is_whitespace).and_then(|(from, to)| swap(from, to.trim_start()));
    if swap.is_none() {
        annotations.unusable(name, format!("\"{}\" cannot be followed", value.escape_debug()), REMEDY);
    }
    swap
}

const REMEDY: &str = "write what is looked for and what comes in its place, without variables and expressions";

/// Two texts that mean what they say, and can stand in a header.
fn swap(from: &str, to: &str) -> Option<Swap> {
    let is_text = |text: &str| !text.contains('$') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
    let means_itself = !from.is_empty() && !from.starts_with('~') && is_text(from) && is_text(to);
    means_itself.then(|| Swap { from: from.into(), to: to.into() })
}
