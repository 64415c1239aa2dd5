//! Who is asking: the step that lets a request in, or says why not.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use http::Response;
use http::header::{self, HeaderMap, HeaderValue};
use tokio::sync::Semaphore;

use super::Worker;
use super::body::ResponseBody;
use super::error::Error;
use super::forward::X_REQUEST_ID;
use super::record::Record;
use crate::auth::{
    BasicRequirement, Claims, Credentials, Found, KeySource, PasswordCache, Place, Provider, Refusal, Requirement,
    TokenCache, TokenRequirement, Verified,
};

/// Passwords that wait for their check; more are turned away, since each costs a core some time.
const WAITING: usize = 64;

/// What a worker remembers of whom it has let in.
pub(super) struct Doorkeeper {
    tokens: RefCell<TokenCache>,
    passwords: RefCell<PasswordCache>,
    /// One password is checked at a time, on a thread that serves nothing.
    checking: Semaphore,
    waiting: Cell<usize>,
}

/// What is known of who is asking.
#[derive(Default)]
pub(super) struct Known {
    token: Option<Rc<Verified>>,
    /// The query without the token that was in it.
    pub(super) query: Option<String>,
}

/// A request is not let in.
#[derive(Debug)]
pub(super) struct Denied {
    error: Error,
    challenge: Option<HeaderValue>,
}

/// What can be said at once.
enum Look<'r> {
    Known(Known),
    Denied(Denied),
    /// The token names a key that may be there by now: these issuers are to be asked.
    UnknownKey(Vec<&'r Provider>),
    /// This takes too long for here.
    Password(&'r BasicRequirement, Credentials),
}

impl Doorkeeper {
    /// One that has let nobody in yet; the numbers are to be random.
    pub(super) fn new(seed: u64, salt: u64) -> Self {
        Self {
            tokens: RefCell::new(TokenCache::new(seed)),
            passwords: RefCell::new(PasswordCache::new(salt)),
            checking: Semaphore::const_new(1),
            waiting: Cell::new(0),
        }
    }
}

impl Known {
    /// What the caller's token says.
    pub(super) fn claims(&self) -> Option<&Claims> {
        self.token.as_deref().map(|verified| &verified.claims)
    }
}

/// Finds out who is asking, and makes the head say it to the backend. What a client says of that by the names of
/// [`Access::vouched`](crate::table::Access) must be gone before this.
pub(super) async fn check(
    worker: &Rc<Worker>,
    secure: bool,
    requirement: &Requirement,
    headers: &mut HeaderMap,
    query: Option<&str>,
) -> Result<Known, Denied> {
    match look(worker, secure, requirement, headers, query) {
        Look::Known(known) => Ok(known),
        Look::Denied(denied) => Err(denied),
        // Boxed, since these are rare and would make the future of every exchange larger.
        Look::UnknownKey(providers) => {
            Box::pin(refresh(&providers)).await;
            match look(worker, secure, requirement, headers, query) {
                Look::Known(known) => Ok(known),
                Look::Denied(denied) => Err(denied),
                Look::UnknownKey(_) | Look::Password(..) => Err(invalid(Refusal::UnknownKey)),
            }
        }
        Look::Password(requirement, credentials) => Box::pin(password(worker, requirement, credentials, headers)).await,
    }
}

fn look<'r>(
    worker: &Worker,
    secure: bool,
    requirement: &'r Requirement,
    headers: &mut HeaderMap,
    query: Option<&str>,
) -> Look<'r> {
    match requirement {
        Requirement::Token(TokenRequirement { require_tls: true, .. }) if !secure => Look::Denied(in_clear()),
        Requirement::Basic(BasicRequirement { require_tls: true, .. }) if !secure => Look::Denied(in_clear()),
        Requirement::Token(requirement) => token(worker, requirement, headers, query),
        Requirement::Basic(requirement) => basic(worker, requirement, headers),
    }
}

// === tokens ===

fn token<'r>(
    worker: &Worker,
    requirement: &'r TokenRequirement,
    headers: &mut HeaderMap,
    query: Option<&str>,
) -> Look<'r> {
    let now = worker.clock.wall() / 1000;
    let mut refused: Option<(&Provider, Refusal)> = None;
    let mut unknown = Vec::new();
    let mut right: Option<(&Provider, Place<'_>, Rc<Verified>)> = None;
    for provider in &requirement.providers {
        let outcome = match provider.sources.find(headers, query) {
            Found::Nothing => continue,
            Found::Unclear => Err(Refusal::Malformed),
            Found::Token(token, place) => verify(worker, provider, token, now).map(|verified| (place, verified)),
        };
        match outcome {
            Ok((place, verified)) => {
                right = Some((provider, place, verified));
                break;
            }
            Err(refusal) => {
                if refusal == Refusal::UnknownKey && matches!(provider.keys, KeySource::Remote(_)) {
                    unknown.push(&**provider);
                }
                // That a token is another issuer's says less than what is wrong with it for its own.
                if refused.is_none_or(|(_, before)| before == Refusal::Issuer) {
                    refused = Some((provider, refusal));
                }
            }
        }
    }
    let Some((provider, place, verified)) = right else {
        let may_ask = |provider: &&Provider| match &provider.keys {
            KeySource::Remote(keys) => keys.may_be_asked(),
            KeySource::Fixed(_) => false,
        };
        if unknown.iter().any(may_ask) {
            return Look::UnknownKey(unknown);
        }
        return match (refused, requirement.providers.first()) {
            (Some((provider, refusal)), _) => {
                worker.metrics.token(&provider.name, refusal.as_str());
                Look::Denied(invalid(refusal))
            }
            (None, _) if requirement.optional => Look::Known(Known::default()),
            (None, first) => {
                if let Some(provider) = first {
                    worker.metrics.token(&provider.name, "missing");
                }
                let challenge = HeaderValue::from_static("Bearer");
                Look::Denied(Denied { error: Error::TokenMissing, challenge: Some(challenge) })
            }
        };
    };
    if let Err(lack) = requirement.permits(&verified.claims) {
        worker.metrics.token(&provider.name, "forbidden");
        return Look::Denied(Denied { error: Error::TokenForbidden, challenge: Some(requirement.challenge(lack)) });
    }
    worker.metrics.token(&provider.name, "ok");
    let query = if provider.forward_token { None } else { place.remove(headers, query) };
    for (name, value) in &verified.headers {
        headers.insert(name.clone(), value.clone());
    }
    Look::Known(Known { token: Some(verified), query })
}

fn verify(worker: &Worker, provider: &Provider, token: &[u8], now: u64) -> Result<Rc<Verified>, Refusal> {
    if let Some(known) = worker.doorkeeper.tokens.borrow_mut().get(provider, token, now) {
        return Ok(known);
    }
    let text = std::str::from_utf8(token).map_err(|_| Refusal::Malformed)?;
    let verified = Rc::new(provider.verify(text, now)?);
    worker.doorkeeper.tokens.borrow_mut().insert(provider, token, verified.clone());
    Ok(verified)
}

/// Has these issuers asked for their keys, if they may be asked yet.
async fn refresh(providers: &[&Provider]) {
    for provider in providers {
        if let KeySource::Remote(keys) = &provider.keys {
            keys.refreshed().await;
        }
    }
}

fn invalid(refusal: Refusal) -> Denied {
    match refusal {
        Refusal::NoKeys => Denied { error: Error::KeysUnavailable, challenge: None },
        refusal => {
            let text = format!("Bearer error=\"invalid_token\", error_description=\"{}\"", refusal.description());
            let challenge = HeaderValue::try_from(text).ok();
            Denied { error: Error::TokenInvalid(refusal.description()), challenge }
        }
    }
}

fn in_clear() -> Denied {
    Denied { error: Error::InClear, challenge: None }
}

// === passwords ===

fn basic<'r>(worker: &Worker, requirement: &'r BasicRequirement, headers: &mut HeaderMap) -> Look<'r> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let credentials = match (sent.next(), sent.next()) {
        (Some(one), None) => Credentials::parse(one),
        (None, _) | (Some(_), Some(_)) => None,
    };
    let Some(credentials) = credentials else {
        let sent = headers.contains_key(header::AUTHORIZATION);
        return Look::Denied(wrong_password(
            requirement,
            if sent { Error::PasswordWrong } else { Error::PasswordMissing },
        ));
    };
    let now = worker.clock.now();
    if worker.doorkeeper.passwords.borrow().knows(&requirement.users, &credentials, now) {
        return Look::Known(welcome(requirement, &credentials, headers));
    }
    if !requirement.users.is_quick(&credentials) {
        return Look::Password(requirement, credentials);
    }
    match requirement.users.check(&credentials) {
        true => Look::Known(welcome(requirement, &credentials, headers)),
        false => Look::Denied(wrong_password(requirement, Error::PasswordWrong)),
    }
}

/// Checks a password where it holds up nobody else.
async fn password(
    worker: &Rc<Worker>,
    requirement: &BasicRequirement,
    credentials: Credentials,
    headers: &mut HeaderMap,
) -> Result<Known, Denied> {
    let doorkeeper = &worker.doorkeeper;
    if doorkeeper.waiting.get() >= WAITING {
        return Err(Denied { error: Error::PasswordsBusy, challenge: None });
    }
    let _place = Waiting::take(&doorkeeper.waiting);
    let Ok(_turn) = doorkeeper.checking.acquire().await else {
        return Err(Denied { error: Error::PasswordsBusy, challenge: None });
    };
    // Whoever waited behind the same password need not pay for it again.
    if doorkeeper.passwords.borrow().knows(&requirement.users, &credentials, worker.clock.now()) {
        return Ok(welcome(requirement, &credentials, headers));
    }
    let users = requirement.users.clone();
    let checked = tokio::task::spawn_blocking(move || (users.check(&credentials), credentials)).await;
    match checked {
        Ok((true, credentials)) => {
            doorkeeper.passwords.borrow_mut().remember(&requirement.users, &credentials, worker.clock.now());
            Ok(welcome(requirement, &credentials, headers))
        }
        Ok((false, _)) => Err(wrong_password(requirement, Error::PasswordWrong)),
        Err(_) => Err(Denied { error: Error::PasswordsBusy, challenge: None }),
    }
}

/// One that waits; no more once it is dropped.
struct Waiting<'w>(&'w Cell<usize>);

impl<'w> Waiting<'w> {
    fn take(waiting: &'w Cell<usize>) -> Self {
        waiting.set(waiting.get() + 1);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

fn welcome(requirement: &BasicRequirement, credentials: &Credentials, headers: &mut HeaderMap) -> Known {
    if !requirement.forward_credentials {
        headers.remove(header::AUTHORIZATION);
    }
    if let Some(name) = &requirement.user_header
        && let Ok(value) = HeaderValue::from_bytes(credentials.user.as_bytes())
    {
        headers.insert(name.clone(), value);
    }
    Known::default()
}

fn wrong_password(requirement: &BasicRequirement, error: Error) -> Denied {
    Denied { error, challenge: Some(requirement.challenge.clone()) }
}

impl Denied {
    /// The answer.
    pub(super) fn response(self, headers: &HeaderMap, record: &mut Record) -> Response<ResponseBody> {
        let Self { error, challenge } = self;
        record.answered(error.status(), error.reason());
        let mut response = error.response(headers.get(X_REQUEST_ID), record.trace());
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
