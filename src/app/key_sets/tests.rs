//! At a quick pace: a second of the real one is a millisecond here.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use http::Uri;
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::*;
use crate::auth::{Algorithm, RemoteSettings};

const KEYS: &str =
    r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

const QUICK: Pace = Pace {
    ask_again: Duration::from_millis(30),
    first_retry: Duration::from_millis(1),
    last_retry: Duration::from_millis(30),
    believed: Duration::from_millis(600),
};

fn keys(every: u64) -> Arc<RemoteKeys> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Arc::new(RemoteKeys::new(RemoteSettings {
        name: "shop/shop/main".into(),
        uri: Uri::from_static("https://issuer.test/keys"),
        algorithms: [Algorithm::EdDSA].into(),
        every: Duration::from_millis(every),
        timeout: Duration::from_secs(3),
        tls: Arc::new(tls),
        allow_loopback: false,
    }))
}

/// An issuer that does what it is told, and when it was asked.
#[derive(Clone)]
struct Issuer {
    up: Rc<Cell<bool>>,
    asked: Rc<RefCell<Vec<Instant>>>,
}

/// Runs a test beside the task that keeps a set fresh.
fn beside<T: Future<Output = ()>>(keys: &Arc<RemoteKeys>, up: bool, test: impl FnOnce(Issuer) -> T) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let issuer = Issuer { up: Rc::new(Cell::new(up)), asked: Rc::default() };
    let fetch = {
        let issuer = issuer.clone();
        move || {
            issuer.asked.borrow_mut().push(Instant::now());
            let up = issuer.up.get();
            async move {
                tokio::task::yield_now().await;
                if up { Ok(KEYS.as_bytes().to_vec()) } else { Err("connection refused".to_owned()) }
            }
        }
    };
    let local = LocalSet::new();
    local.spawn_local(keep_fresh(keys.clone(), QUICK, fetch, |_, _| {}));
    local.block_on(&runtime, test(issuer));
}

/// Waits for something that comes.
async fn until(so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < deadline, "it never came");
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn keys_outlive_an_issuer_that_is_down_and_not_for_ever() {
    let keys = keys(20);
    beside(&keys.clone(), true, |issuer| async move {
        until(|| keys.current().is_some()).await;
        issuer.up.set(false);
        let (down, asked) = (Instant::now(), issuer.asked.borrow().len());
        until(|| keys.failure().is_some()).await;
        assert_eq!(keys.failure().unwrap().as_str(), "connection refused");
        // Tried again and again, and nothing is forgotten over it.
        until(|| issuer.asked.borrow().len() > asked + 8).await;
        assert!(keys.current().is_some() || down.elapsed() > QUICK.believed);
        until(|| keys.current().is_none()).await;
        assert!(down.elapsed() + Duration::from_millis(100) > QUICK.believed, "{:?}", down.elapsed());
        issuer.up.set(true);
        until(|| keys.current().is_some() && keys.failure().is_none()).await;
    });
}

#[test]
fn keys_are_fetched_again_when_due() {
    let keys = keys(5);
    beside(&keys, true, |issuer| async move {
        until(|| issuer.asked.borrow().len() >= 7).await;
        for pair in issuer.asked.borrow().windows(2) {
            assert!(pair[1] - pair[0] >= Duration::from_millis(5));
        }
    });
}

#[test]
fn ten_thousand_made_up_names_lead_to_few_fetches() {
    let keys = keys(600_000);
    beside(&keys.clone(), true, |issuer| async move {
        until(|| keys.current().is_some()).await;
        for _ in 0..10_000 {
            keys.refreshed().await;
        }
        // Once more, when it may be asked again.
        until(|| keys.may_be_asked()).await;
        assert!(keys.refreshed().await);
        let asked = issuer.asked.borrow();
        assert!(asked.len() >= 2);
        for pair in asked.windows(2) {
            assert!(pair[1] - pair[0] >= QUICK.ask_again, "{:?}", pair[1] - pair[0]);
        }
    });
}

#[test]
fn many_who_ask_at_once_wait_for_one_fetch() {
    let keys = keys(600_000);
    beside(&keys.clone(), true, |issuer| async move {
        until(|| keys.may_be_asked()).await;
        let all = futures_util::future::join_all((0..1000).map(|_| keys.refreshed())).await;
        assert!(all.into_iter().all(|was| was));
        assert_eq!(issuer.asked.borrow().len(), 2);
    });
}

#[test]
fn what_does_not_come_is_tried_again_after_ever_longer() {
    let waits: Vec<_> = (1..=8).map(|failures| PACE.retry(failures).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
    let keys = keys(600_000);
    beside(&keys.clone(), false, |issuer| async move {
        until(|| issuer.asked.borrow().len() == 5).await;
        let asked = issuer.asked.borrow();
        for (pair, wait) in asked.windows(2).zip([1, 2, 4, 8]) {
            assert!(pair[1] - pair[0] >= Duration::from_millis(wait));
        }
        assert!(keys.current().is_none());
    });
}
