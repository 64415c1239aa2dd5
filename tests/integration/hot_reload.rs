//! A folder that changes all the time, in every way that folders do, under load.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::backend::Backend;
use crate::harness::gateway::Gateway;
use crate::harness::http::get;
use crate::harness::load::{Ask, Load, Pace};
use crate::harness::run::headgate;

/// What is asked of the example while other files change: a GatewayRoute with filters, and an Ingress.
const UNTOUCHED: Load = Load {
    connections: 8,
    requests: 10_000,
    pace: Pace::Even(500),
    asks: &[
        Ask { host: "any.test", path: "/hello/world", body: "" },
        Ask { host: "echo.localhost", path: "/any", body: "" },
        Ask { host: "any.test", path: "/hello/you", body: "who is there?" },
        Ask { host: "echo.localhost", path: "/", body: "some text" },
    ],
};

#[test]
fn no_request_fails_while_other_files_change() {
    let backend = Backend::named("example");
    let folder = tempfile::tempdir().unwrap();
    let written = headgate(&["init", folder.path().to_str().unwrap()]);
    assert_eq!(written.code, 0, "{}", written.err);
    let addresses = folder.path().join("backend.yaml");
    let text = fs::read_to_string(&addresses).unwrap();
    let port = backend.address.port().to_string();
    fs::write(&addresses, text.replace("8082", &port)).unwrap();
    // The example's limit stays where it is and has room for the load.
    let limit = folder.path().join("limit.yaml");
    let text = fs::read_to_string(&limit).unwrap();
    assert!(text.contains("requests: 5"), "{text}");
    fs::write(&limit, text.replace("requests: 5", "requests: 100000")).unwrap();
    let gateway = Gateway::serve(folder, &["--workers", "2"]);

    let load = UNTOUCHED.start(gateway.http);
    let folder = gateway.folder();
    let mut round = 0;
    while !load.is_over() {
        round += 1;
        change_everything(folder, &backend, round);
        for name in TOUCHED {
            is_served(&gateway, name, round);
        }
        break_and_mend(&gateway, round);
        fs::remove_file(folder.join("deleted.yaml")).unwrap();
        gateway.wait_until("the route is gone", || get(gateway.http, "/deleted").unwrap().status == 404);
    }
    round += 1;
    change_everything(folder, &backend, round);

    let outcome = load.outcome();
    println!("{round} rounds of changes, {} generations", gateway.generation());
    outcome.assert_none_failed(&UNTOUCHED);
    assert!(outcome.answers.iter().all(|answer| answer.body == "example"));
    for name in TOUCHED {
        is_served(&gateway, name, round);
    }
    gateway.wait_until("nothing is wrong", || gateway.api("problems")["problems"].as_array().unwrap().is_empty());
    assert!(round >= 20, "only {round} rounds of changes");
}

/// The routes that change: each is in a file of its name, or in the mounted folder, and answers below its name.
const TOUCHED: [&str; 6] = ["atomic", "in_place", "broken", "truncated", "deleted", "mounted"];

/// Writes every file anew, at once, each in its own way.
fn change_everything(folder: &Path, backend: &Backend, round: u32) {
    let aside = folder.join(".atomic.yaml.swp");
    fs::write(&aside, route("atomic", round)).unwrap();
    fs::rename(&aside, folder.join("atomic.yaml")).unwrap();
    for name in ["in_place", "broken", "truncated"] {
        fs::write(folder.join(format!("{name}.yaml")), route(name, round)).unwrap();
    }
    let with_backend = route("deleted", round) + &backend.service(&format!("deleted{round}"));
    fs::write(folder.join("deleted.yaml"), with_backend).unwrap();
    swap_mounted(&folder.join("config"), round);
}

/// Changes a folder as a mounted ConfigMap changes: a generation beside the last, and the link put over to it.
fn swap_mounted(folder: &Path, round: u32) {
    let generation = format!("..generation_{round}");
    fs::create_dir_all(folder.join(&generation)).unwrap();
    fs::write(folder.join(&generation).join("mounted.yaml"), route("mounted", round)).unwrap();
    symlink(&generation, folder.join("..data_tmp")).unwrap();
    let last = fs::read_link(folder.join("..data"));
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    match last {
        Ok(last) => fs::remove_dir_all(folder.join(last)).unwrap(),
        Err(_) => symlink("..data/mounted.yaml", folder.join("mounted.yaml")).unwrap(),
    }
}

/// Spoils two files; both are told of and stay in force as they were. The next round mends one, this one the other.
fn break_and_mend(gateway: &Gateway, round: u32) {
    let truncated = route("truncated", round + 1);
    let cut = truncated.find("statusCode").unwrap();
    fs::write(gateway.folder().join("truncated.yaml"), &truncated[..cut]).unwrap();
    fs::write(gateway.folder().join("broken.yaml"), "spec: [unclosed\nkind: }").unwrap();
    gateway.wait_until("both files are told of", || {
        let problems = gateway.api("problems").to_string();
        ["truncated.yaml:", "broken.yaml:"].iter().all(|place| problems.contains(place))
    });
    for name in ["truncated", "broken"] {
        assert_eq!(get(gateway.http, &format!("/{name}")).unwrap().text(), answer(name, round));
    }
    fs::write(gateway.folder().join("broken.yaml"), route("broken", round)).unwrap();
    gateway.wait_until("it is mended", || !gateway.api("problems").to_string().contains("broken.yaml:"));
}

fn is_served(gateway: &Gateway, name: &str, round: u32) {
    gateway.wait_until(&format!("{name} of round {round} is served"), || {
        get(gateway.http, &format!("/{name}")).unwrap().text() == answer(name, round)
    });
}

/// What the route of that name answers after that round.
fn answer(name: &str, round: u32) -> String {
    format!("{name} {round}")
}

/// A route of all hosts, as the example's is, so that each change compiles what both are in.
fn route(name: &str, round: u32) -> String {
    format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: {}}}\nspec:\n  rules:\n  - name: \
         only\n    matches: [{{path: {{type: Exact, value: /{name}}}}}]\n    filters: [{{type: DirectResponse, \
         directResponse: {{statusCode: 200, body: {}}}}}]\n",
        name.replace('_', "-"),
        answer(name, round)
    )
}
