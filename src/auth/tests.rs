//! Keys that are too weak, files of passwords, and what a worker remembers. Tokens are tested through the binary.

use std::rc::Rc;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::*;

/// 32 bytes, base64url: enough for an HMAC key.
const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const ED25519: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn encoded(bytes: usize) -> String {
    URL_SAFE_NO_PAD.encode(vec![0xa5; bytes])
}

#[test]
fn weak_keys_and_keys_of_the_wrong_kind_are_refused() {
    use Algorithm::{ES256, ES384, EdDSA, HS256, RS256};
    let point = |bytes: usize| json!({"kty": "EC", "crv": "P-256", "x": encoded(bytes), "y": encoded(bytes)});
    let with = |changes: Value| {
        let mut key = json!({"kty": "RSA", "n": encoded(256), "e": "AQAB"});
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key
    };
    for (key, algorithm, expected) in [
        (json!({"kty": "oct", "k": SECRET}), HS256, None),
        (json!({"kty": "oct", "k": encoded(31)}), HS256, Some("key 1 is an HMAC key of 31 bytes")),
        (json!({"kty": "oct", "k": ""}), HS256, Some("key 1 is an HMAC key of 0 bytes")),
        (with(json!({})), RS256, None),
        (with(json!({"n": encoded(128)})), RS256, Some("key 1 is an RSA key of 1024 bits")),
        (with(json!({"n": encoded(255)})), RS256, Some("key 1 is an RSA key of 2040 bits")),
        // Zeros before it make it no longer.
        (
            with(json!({"n": URL_SAFE_NO_PAD.encode([vec![0; 200], vec![0xa5; 128]].concat())})),
            RS256,
            Some("key 1 is an RSA key of 1024 bits"),
        ),
        (with(json!({"n": encoded(2048)})), RS256, Some("key 1 is an RSA key of 16384 bits")),
        (with(json!({"e": "AQ"})), RS256, Some("key 1 cannot be read: its exponent is none")),
        (with(json!({"e": "Ag"})), RS256, Some("key 1 cannot be read: its exponent is none")),
        (with(json!({"n": "?"})), RS256, Some("key 1 cannot be read: a part is missing or no base64url")),
        (with(json!({"n": null})), RS256, Some("key 1 cannot be read: a part is missing or no base64url")),
        (with(json!({"d": "AQAB"})), RS256, Some("key 1 is a private key")),
        (with(json!({"use": "enc"})), RS256, Some("key 1 is not for checking signatures")),
        (with(json!({"key_ops": ["encrypt"]})), RS256, Some("key 1 is not for checking signatures")),
        (with(json!({"key_ops": ["verify"], "use": "sig"})), RS256, None),
        (with(json!({"alg": "ES256"})), RS256, Some("key 1 cannot be read: its alg and kty do not agree")),
        (with(json!({"alg": "RSA-OAEP"})), RS256, Some("key 1 is of a kind that is not supported")),
        (with(json!({"alg": "RS512"})), RS256, Some("key 1 is a RSA key, which none of the algorithms uses")),
        (with(json!({"kid": 1})), RS256, Some("key 1 cannot be read: its kid is no text")),
        (with(json!({})), ES256, Some("key 1 is a RSA key, which none of the algorithms uses")),
        (point(32), ES256, None),
        (point(32), ES384, Some("key 1 is a P-256 key, which none of the algorithms uses")),
        (point(48), ES256, Some("key 1 cannot be read: its point is not one of its curve")),
        (
            json!({"kty": "EC", "crv": "secp256k1", "x": encoded(32), "y": encoded(32)}),
            ES256,
            Some("key 1 is of a kind that is not supported"),
        ),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519}), EdDSA, None),
        (
            json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(31)}),
            EdDSA,
            Some("key 1 cannot be read: its point is not one of its curve"),
        ),
        (json!({"kty": "OKP", "crv": "X25519", "x": ED25519}), EdDSA, Some("key 1 is of a kind that is not supported")),
        (json!({"kty": "XYZ"}), RS256, Some("key 1 is of a kind that is not supported")),
        (json!({}), RS256, Some("key 1 cannot be read: it has no kty")),
        (json!("key"), RS256, Some("key 1 cannot be read: it is no object")),
    ] {
        let text = json!({"keys": [key]}).to_string();
        let found =
            KeySet::read(text.as_bytes(), &[algorithm], Origin::Secret).map(|_| ()).map_err(|it| it.to_string());
        assert_eq!(found, expected.map_or(Ok(()), |error| Err(error.to_owned())), "{text}");
        // What is fetched is for others too: such a key is passed over, and a set of nothing else is none.
        let remote = KeySet::read(text.as_bytes(), &[algorithm], Origin::Remote);
        assert_eq!(remote.is_ok(), expected.is_none() && algorithm != HS256, "{text}");
    }
}

#[test]
fn a_set_is_read_in_the_forms_it_comes_in() {
    use Algorithm::{EdDSA, HS256, RS256};
    let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519});
    let oct = json!({"kty": "oct", "k": SECRET});
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    let many = json!({"keys": vec![ed.clone(); 101]}).to_string();
    for (text, algorithm, origin, is_good) in [
        (json!({"keys": [ed]}).to_string(), EdDSA, Origin::Public, true),
        (ed.to_string(), EdDSA, Origin::Secret, true),
        (format!("\n {ed}"), EdDSA, Origin::Secret, true),
        (pem.to_owned(), EdDSA, Origin::Public, true),
        (format!("# The key\n{pem}{pem}"), EdDSA, Origin::Remote, true),
        (pem.to_owned(), RS256, Origin::Public, false),
        (format!("{pem}{private}"), EdDSA, Origin::Secret, false),
        ("x".repeat(32), HS256, Origin::Secret, true),
        ("x".repeat(31), HS256, Origin::Secret, false),
        ("x".repeat(32), EdDSA, Origin::Secret, false),
        ("x".repeat(32), HS256, Origin::Public, false),
        ("x".repeat(32), HS256, Origin::Remote, false),
        // A public key that would be taken for a secret.
        (pem.to_owned(), HS256, Origin::Secret, false),
        (oct.to_string(), HS256, Origin::Secret, true),
        (oct.to_string(), HS256, Origin::Public, false),
        (oct.to_string(), HS256, Origin::Remote, false),
        (json!({"keys": []}).to_string(), EdDSA, Origin::Secret, false),
        (json!({"keys": {}}).to_string(), EdDSA, Origin::Secret, false),
        (json!({"key": []}).to_string(), EdDSA, Origin::Secret, false),
        ("{".to_owned(), EdDSA, Origin::Secret, false),
        (String::new(), EdDSA, Origin::Secret, false),
        (many, EdDSA, Origin::Remote, false),
    ] {
        let found = KeySet::read(text.as_bytes(), &[algorithm], origin);
        assert_eq!(found.is_ok(), is_good, "{algorithm} {origin:?}: {text}");
        if let Err(error) = found {
            assert!(!error.remedy().is_empty() && !error.to_string().contains(SECRET));
        }
    }
}

/// A provider of tokens signed with [`SECRET`], and one of its tokens.
fn provider(name: &str, secret: &str) -> Provider {
    let keys =
        KeySet::read(json!({"kty": "oct", "k": secret}).to_string().as_bytes(), &[Algorithm::HS256], Origin::Secret);
    let rules =
        TokenRules { issuer: None, audiences: Box::default(), algorithms: [Algorithm::HS256].into(), clock_skew: 5 };
    Provider::new(
        name.into(),
        rules,
        KeySource::Fixed(Arc::new(keys.unwrap())),
        Sources::default(),
        Box::default(),
        false,
    )
}

fn token(subject: &str, exp: u64) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(json!({"alg": "HS256"})), part(json!({"sub": subject, "exp": exp})));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode(SECRET).unwrap());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
}

#[test]
fn what_is_remembered_of_a_token_ends_with_it_and_with_the_keys() {
    let mut cache = TokenCache::new(1);
    let (main, other) = (provider("a/a/main", SECRET), provider("b/b/main", SECRET));
    let (rotated, same) = (provider("a/a/main", &encoded(32)), provider("a/a/main", SECRET));
    let token = token("ann", 1000);
    assert!(cache.get(&main, token.as_bytes(), 10).is_none());
    cache.insert(&main, token.as_bytes(), Rc::new(main.verify(&token, 10).unwrap()));
    assert_eq!(cache.get(&main, token.as_bytes(), 1004).unwrap().claims.get("sub").as_deref(), Some("ann"));
    // A table that is made anew makes no difference, and everything that decides on a token does.
    assert!(cache.get(&same, token.as_bytes(), 1004).is_some());
    assert!(cache.get(&main, token.as_bytes(), 1005).is_none());
    assert!(cache.get(&other, token.as_bytes(), 10).is_none());
    assert!(cache.get(&rotated, token.as_bytes(), 10).is_none());
    assert!(cache.get(&main, &token.as_bytes()[..token.len() - 1], 10).is_none());
    assert_eq!(rotated.verify(&token, 10).unwrap_err(), Refusal::Signature);
}

#[test]
fn what_is_remembered_is_bounded_and_what_is_in_use_stays() {
    let mut cache = TokenCache::new(1);
    let main = provider("a/a/main", SECRET);
    let often = token("often", 1000);
    let verified = Rc::new(main.verify(&often, 10).unwrap());
    cache.insert(&main, often.as_bytes(), verified.clone());
    for number in 0..20_000 {
        cache.insert(&main, format!("token-{number}").as_bytes(), verified.clone());
        assert!(cache.get(&main, often.as_bytes(), 10).is_some(), "{number}");
    }
    let kept =
        (0..20_000).filter(|number| cache.get(&main, format!("token-{number}").as_bytes(), 10).is_some()).count();
    assert!((2000..=4096).contains(&kept), "{kept}");
}

#[test]
fn a_password_file_is_read_or_refused_as_a_whole() {
    let bcrypt = bcrypt::hash("user", 4).unwrap();
    let sha = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
    let users =
        Users::parse(format!("# people\n\nann:{bcrypt}\r\nbob:{sha}\nzoë:{bcrypt}:a comment\n").as_bytes()).unwrap();
    assert_eq!((users.len(), users.weak().len()), (3, 1));
    let say = |user: &str, password: &str| {
        let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Credentials::parse(&HeaderValue::try_from(value).unwrap())
    };
    for (user, password, is_right) in [
        ("ann", "user", true),
        ("zoë", "user", true),
        ("bob", "secret", true),
        ("bob", "Secret", false),
        ("ann", "User", false),
        ("ann", "", false),
        ("Ann", "user", false),
        ("nobody", "user", false),
        ("", "user", false),
    ] {
        assert_eq!(users.check(&say(user, password).unwrap()), is_right, "{user}:{password}");
    }
    // bcrypt would look at the first 72 bytes and take what follows for right.
    assert!(say("ann", &"x".repeat(73)).is_none());
    for value in ["", "Basic", "Basic ", "Bearer YTpi", "Basic !", "Basic YQ==", "Basic YToAYg==", "Basic /zpi"] {
        assert!(Credentials::parse(&HeaderValue::from_static(value)).is_none(), "{value}");
    }
    for (file, error) in [
        ("", "it has no line"),
        ("ann", "line 1 is not name:hash"),
        (":x", "line 1 is not name:hash"),
        ("ann:secret", "line 1 has a hash that is neither bcrypt nor {SHA}"),
        ("ann:$apr1$x$y", "line 1 has a hash that is neither bcrypt nor {SHA}"),
        ("ann:{SHA}eA==", "line 1 has a hash that is neither bcrypt nor {SHA}"),
        ("ann:$2y$05$short", "line 1 has a hash that is neither bcrypt nor {SHA}"),
    ] {
        assert_eq!(Users::parse(file.as_bytes()).unwrap_err().to_string(), error, "{file}");
    }
    let dear = bcrypt.replace("$04$", "$31$");
    assert_eq!(
        Users::parse(format!("a:{dear}").as_bytes()).unwrap_err().to_string(),
        "line 1 has a bcrypt hash of cost 31"
    );
    assert_eq!(
        Users::parse(format!("a:{bcrypt}\na:{bcrypt}").as_bytes()).unwrap_err().to_string(),
        "line 2 has a name that stands above already"
    );
    assert!(!format!("{users:?}").contains("$04$"));
}

#[test]
fn passwords_are_remembered_for_a_while_and_by_no_other_file() {
    let users = |hash: &str| Users::parse(format!("ann:{hash}").as_bytes()).unwrap();
    let (one, two) = (users("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="), users("{SHA}EfatjsUqKYSrqv18O1FlA3hcIHI="));
    let say = |text: &str| {
        Credentials::parse(&HeaderValue::try_from(format!("Basic {}", STANDARD.encode(text))).unwrap()).unwrap()
    };
    let mut cache = PasswordCache::new(7);
    assert!(!cache.knows(&one, &say("ann:secret"), 0));
    cache.remember(&one, &say("ann:secret"), 0);
    assert!(cache.knows(&one, &say("ann:secret"), 59_999));
    assert!(!cache.knows(&one, &say("ann:secret"), 60_000));
    assert!(!cache.knows(&one, &say("ann:Secret"), 0));
    assert!(!cache.knows(&two, &say("ann:secret"), 0));
    for number in 0..10_000 {
        cache.remember(&one, &say(&format!("ann:{number}")), 0);
    }
    let known = (0..10_000).filter(|number| cache.knows(&one, &say(&format!("ann:{number}")), 1)).count();
    assert!((1000..=2048).contains(&known), "{known}");
}

#[test]
fn reserved_headers_go_in_the_spelling_that_is_left_of_all() {
    let reserved = Reserved::new([HeaderName::from_static("x-user"), HeaderName::from_static("x_tenant.id")]);
    let mut headers = HeaderMap::new();
    for name in ["x-user", "x_tenant.id", "x-tenant-id", "x-users", "user"] {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
        headers.append(HeaderName::from_static(name), HeaderValue::from_static("2"));
    }
    reserved.strip(&mut headers);
    let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["user", "x-users"]);
}

#[test]
fn a_token_is_found_in_the_first_place_that_has_one() {
    let sources = Sources {
        headers: [(header::AUTHORIZATION, "Bearer ".into()), (HeaderName::from_static("x-token"), "".into())].into(),
        cookies: ["a".into()].into(),
        params: ["t".into()].into(),
    };
    let headers = |fields: &[(&'static str, &'static str)]| -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    };
    let all = [("authorization", "Basic x"), ("authorization", "Bearer 1"), ("x-token", "2"), ("cookie", "b=0;a=3")];
    for (from, expected) in [(0, "1"), (2, "2"), (3, "3"), (4, "4")] {
        let headers = headers(&all[from..]);
        let Found::Token(token, _) = sources.find(&headers, Some("x=1&t=4")) else { panic!("{from}") };
        assert_eq!(token, expected.as_bytes());
    }
    assert_eq!(sources.find(&HeaderMap::new(), Some("T=1&tt=1&at=2")), Found::Nothing);
    assert_eq!(sources.find(&HeaderMap::new(), None), Found::Nothing);
    assert_eq!(sources.find(&headers(&[("cookie", "a=1; a=2")]), None), Found::Unclear);
    assert_eq!(sources.find(&headers(&[("cookie", "a=1"), ("cookie", "a=2")]), None), Found::Unclear);
    assert_eq!(
        sources.find(&headers(&[("authorization", "Bearer 1"), ("authorization", "bearer 2")]), None),
        Found::Unclear
    );
}
