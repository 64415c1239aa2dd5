//! Keys that are fetched from their issuer, and kept when it does not answer.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};

use super::algorithm::Algorithm;
use super::key_set::{Fingerprint, KeySet, KeySetError, Origin};

/// A key set at an issuer's. It lives on from one table to the next, so what was fetched is not fetched again.
#[derive(Debug)]
pub struct RemoteKeys {
    /// Where it is and how it is fetched.
    pub settings: RemoteSettings,
    keys: ArcSwapOption<KeySet>,
    /// Why the last fetch came to nothing, if it did.
    failure: ArcSwapOption<String>,
    /// Somebody has met a key that is not in the set.
    wanted: Notify,
    /// Counts fetches that are over, whatever came of them; and whether one may be asked for.
    fetched: watch::Sender<Fetches>,
}

/// How keys are fetched.
#[derive(Clone, Debug)]
pub struct RemoteSettings {
    /// The provider's name, as metrics and logs give it.
    pub name: Arc<str>,
    /// Where: an https address.
    pub uri: http::Uri,
    /// What the keys must be for.
    pub algorithms: Box<[Algorithm]>,
    /// How long they are used before they are fetched again.
    pub every: Duration,
    /// How long a fetch may take.
    pub timeout: Duration,
    /// Trust in the issuer's address.
    pub tls: Arc<rustls::ClientConfig>,
    /// Whether the address may be on this very machine.
    pub allow_loopback: bool,
}

/// What is known of fetching.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fetches {
    over: u64,
    /// The last fetch is long enough ago for another to be asked for.
    open: bool,
}

impl RemoteKeys {
    /// A set of which nothing has been fetched.
    pub fn new(settings: RemoteSettings) -> Self {
        let (fetched, _) = watch::channel(Fetches::default());
        Self { settings, keys: ArcSwapOption::empty(), failure: ArcSwapOption::empty(), wanted: Notify::new(), fetched }
    }

    /// What was last fetched.
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        self.keys.load().as_ref().map(|keys| *keys.fingerprint())
    }

    /// Why the last fetch came to nothing, if it did.
    pub fn failure(&self) -> Option<Arc<String>> {
        self.failure.load_full()
    }

    /// Takes note of how the last fetch went; whether that is something else than before.
    pub fn note(&self, failure: Option<String>) -> bool {
        let before = self.failure.swap(failure.clone().map(Arc::new));
        before.as_deref() != failure.as_ref()
    }

    /// Takes in what was fetched.
    ///
    /// # Errors
    /// When nothing in it can be used; then the former set stays.
    pub fn publish(&self, text: &[u8]) -> Result<(), KeySetError> {
        let new = KeySet::read(text, &self.settings.algorithms, Origin::Remote)?;
        let same = self.keys.load().as_ref().is_some_and(|keys| keys.fingerprint() == new.fingerprint());
        if !same {
            self.keys.store(Some(Arc::new(new)));
        }
        Ok(())
    }

    /// Forgets what was fetched too long ago to be believed.
    pub fn forget(&self) {
        self.keys.store(None);
    }

    /// A fetch is over, whatever came of it; no other may be asked for until [`Self::open`].
    pub fn over(&self) {
        self.fetched.send_modify(|fetches| *fetches = Fetches { over: fetches.over + 1, open: false });
    }

    /// From now on a fetch may be asked for.
    pub fn open(&self) {
        self.fetched.send_modify(|fetches| fetches.open = true);
    }

    /// Comes when somebody has asked for a fetch since the last time.
    pub async fn asked(&self) {
        self.wanted.notified().await;
    }

    /// Whether a fetch may be asked for, or one is under way that was.
    pub fn may_be_asked(&self) -> bool {
        self.fetched.borrow().open
    }

    /// Asks for a fetch and waits for its end, if one may be asked for; says whether there was one. Whoever asks while
    /// one is under way waits for the same.
    pub async fn refreshed(&self) -> bool {
        let mut fetched = self.fetched.subscribe();
        let Fetches { over, open } = *fetched.borrow_and_update();
        if !open {
            return false;
        }
        self.wanted.notify_one();
        // A fetch ends within its own time; the rest is for whoever runs it.
        let limit = self.settings.timeout + Duration::from_secs(1);
        let ended = fetched.wait_for(|fetches| fetches.over != over);
        tokio::time::timeout(limit, ended).await.is_ok()
    }
}
