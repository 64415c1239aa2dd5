use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use tempfile::TempDir;

use super::*;
use crate::source::{Kind, Object, ObjectKey};
use crate::store::Store;

fn service(name: &str, port: u16) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - port: {port}\n")
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Service, "default", name)
}

/// A folder, the store that its changes went into, and the last look.
struct Bench {
    home: TempDir,
    folder: Folder,
    store: Store,
    doubtful: bool,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(home.path());
        let mut bench = Self { home, folder, store: Store::awaiting(Kind::ALL), doubtful: false };
        for (name, text) in files {
            bench.write(name, text);
        }
        bench.look();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Looks once; returns the kinds of changes seen.
    fn look(&mut self) -> Vec<Change> {
        let Reading { changes, doubtful } = self.folder.refresh().unwrap();
        self.doubtful = doubtful;
        self.store.apply_all(changes.clone());
        changes
    }

    /// The ports of all Services, as `name:port`.
    fn services(&self) -> Vec<String> {
        let ports = self.store.all(Kind::Service).map(|(key, entry)| match &entry.object {
            Some(Object::Service(service)) => {
                format!("{}:{}", key.name, service.spec.ports.first().map_or(0, |port| port.port))
            }
            _ => format!("{}:invalid", key.name),
        });
        ports.collect()
    }

    /// What is told of places, as `name: message`, without the folder.
    fn told(&self) -> Vec<String> {
        let home = format!("{}/", self.home.path().display());
        let findings = self.store.places().values().flatten();
        findings.map(|it| format!("{}: {}", it.place.as_deref().unwrap(), it.message).replace(&home, "")).collect()
    }
}

#[test]
fn reads_a_folder_whole_and_says_that_it_did() {
    let list = format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{}]}}",
        "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"e\"},\"spec\":{\"ports\":[{\"port\":5}]}}"
    );
    let mut bench = Bench::new(&[
        ("a.yaml", &format!("{}---\n{}", service("a", 1), service("b", 2))),
        ("deep/er/c.yml", &service("c", 3)),
        ("e.json", &list),
        ("notes.txt", "no object"),
        (".hidden.yaml", &service("x", 9)),
        (".git/x.yaml", &service("x", 9)),
        ("a.yaml~", &service("x", 9)),
    ]);
    assert_eq!(bench.services(), ["a:1", "b:2", "c:3", "e:5"]);
    assert_eq!(bench.told(), Vec::<String>::new());
    assert!(bench.store.is_synced());
    assert_eq!(bench.look().len(), 0, "nothing changed");
}

#[test]
fn a_first_look_replaces_every_kind_and_syncs_it() {
    let home = tempfile::tempdir().unwrap();
    let changes = read(home.path()).unwrap();
    let (replaced, synced): (Vec<_>, Vec<_>) = changes.iter().partition(|it| matches!(it, Change::Replace(..)));
    assert_eq!((replaced.len(), synced.len()), (9, 9));
    assert!(read(&home.path().join("none")).is_err());
    let file = home.path().join("one.yaml");
    fs::write(&file, service("a", 1)).unwrap();
    let found = read(&file).unwrap().into_iter().any(|it| matches!(it, Change::Replace(_, them) if them.len() == 1));
    assert!(found, "a single file is read too");
}

#[test]
fn changes_only_what_changed() {
    let mut bench = Bench::new(&[("a.yaml", &service("a", 1)), ("b.yaml", &service("b", 2))]);
    bench.write("b.yaml", &service("b", 3));
    let changes = bench.look();
    assert!(matches!(changes.as_slice(), [Change::Upsert(object, _)] if object.key() == key("b")), "{changes:?}");
    assert_eq!(bench.services(), ["a:1", "b:3"]);
    bench.write("b.yaml", &service("c", 3));
    bench.look();
    assert_eq!(bench.services(), ["a:1", "c:3"]);
}

#[test]
fn a_file_that_does_not_parse_keeps_what_it_declared() {
    let mut bench = Bench::new(&[("a.yaml", &format!("{}---\n{}", service("a", 1), service("b", 2)))]);
    bench.write("a.yaml", &format!("{}---\n{}  oops: [\n", service("a", 7), service("b", 8)));
    bench.look();
    assert_eq!(bench.services(), ["a:1", "b:2"]);
    let [told] = <[String; 1]>::try_from(bench.told()).unwrap();
    assert!(told.starts_with("a.yaml:17:1: "), "{told}");
    assert!(told.ends_with("stays in force)"), "{told}");
    assert_eq!(bench.look().len(), 0, "told once");

    bench.write("a.yaml", &service("a", 7));
    bench.look();
    assert_eq!(bench.services(), ["a:7"]);
    assert_eq!(bench.told(), Vec::<String>::new());
}

/// As with an API server, which refuses the change and keeps what it has.
#[test]
fn an_object_that_breaks_a_rule_stays_what_it_was() {
    let bad = |name: &str| format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: 80}}\n");
    let mut bench = Bench::new(&[("a.yaml", &format!("{}---\n{}", service("a", 1), bad("never-good")))]);
    bench.write("a.yaml", &[bad("a"), service("b", 2), bad("never-good")].join("---\n"));
    bench.look();
    assert_eq!(bench.services(), ["a:1", "b:2", "never-good:invalid"]);
    let findings = |bench: &Bench, name: &str| bench.store.get(&key(name)).unwrap().findings.clone();
    let [told] = <[Finding; 1]>::try_from(findings(&bench, "a")).unwrap();
    assert_eq!((told.effect, told.field.as_str()), (Effect::Withheld, "spec.ports"));
    assert!(told.message.contains("stays in force)") && told.place.unwrap().ends_with("a.yaml:4:15"));
    assert!(findings(&bench, "never-good").iter().all(Finding::is_fatal));

    // Broken in another way, it is still what it was; an unknown field breaks nothing.
    bench.write("a.yaml", &[bad("a").replace("80", "[{port: 70000}]"), service("b", 3) + "  oops: 1\n"].join("---\n"));
    bench.look();
    assert_eq!(bench.services(), ["a:1", "b:3"]);
    assert_eq!(findings(&bench, "b")[0].effect, Effect::Told);

    bench.write("a.yaml", &service("a", 7));
    bench.look();
    assert_eq!(bench.services(), ["a:7"]);
    assert!(findings(&bench, "a").is_empty());
}

#[test]
fn a_document_that_is_no_sound_object_costs_only_itself() {
    let text = [
        service("a", 1),
        "apiVersion: v1\nkind: Servce\nmetadata: {name: x}\n".to_owned(),
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n".to_owned(),
        "apiVersion: v1\nkind: Service\nmetadata: {}\n".to_owned(),
        "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: 80}\n".to_owned(),
        "apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: x}\n".to_owned(),
        service("b", 2),
    ]
    .join("---\n");
    let bench = Bench::new(&[("a.yaml", &text)]);
    assert_eq!(bench.services(), ["a:1", "b:2", "bad:invalid"]);
    let findings = &bench.store.get(&key("bad")).unwrap().findings;
    assert_eq!(findings[0].field, "spec.ports");
    assert!(findings[0].place.as_ref().unwrap().ends_with("a.yaml:24:15"), "{findings:?}");
    let told = bench.told();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].starts_with("a.yaml:10:7: Servce"), "{told:?}");
    assert!(told[1].contains("Deployment of apps/v1 is not a kind that Headgate reads"), "{told:?}");
    assert!(told[2].starts_with("a.yaml:19:11: is missing; every object needs a name"), "{told:?}");
    assert!(told[3].contains("it reads Ingress of networking.k8s.io/v1"), "{told:?}");
}

#[test]
fn the_first_of_two_declarations_counts_until_it_goes() {
    let mut bench = Bench::new(&[("a.yaml", &service("a", 1)), ("b.yaml", &service("a", 2))]);
    assert_eq!(bench.services(), ["a:1"]);
    let [told] = <[String; 1]>::try_from(bench.told()).unwrap();
    assert!(told.starts_with("b.yaml: Service default/a is also declared in "), "{told}");
    fs::remove_file(bench.path("a.yaml")).unwrap();
    bench.look();
    bench.look();
    assert_eq!(bench.services(), ["a:2"]);
    assert_eq!(bench.told(), Vec::<String>::new());
}

#[test]
fn a_file_gone_or_empty_is_believed_at_the_second_look() {
    let mut bench = Bench::new(&[("a.yaml", &service("a", 1)), ("b.yaml", &service("b", 2))]);
    bench.write("a.yaml", "");
    fs::remove_file(bench.path("b.yaml")).unwrap();
    bench.look();
    assert_eq!(bench.services(), ["a:1", "b:2"]);
    assert!(bench.doubtful);
    bench.look();
    assert_eq!(bench.services(), Vec::<String>::new());
    assert!(!bench.doubtful);
}

#[test]
fn a_file_caught_in_the_middle_of_a_save_loses_nothing() {
    let mut bench = Bench::new(&[("a.yaml", &service("a", 1)), ("b.yaml", &service("b", 2))]);
    bench.write("a.yaml", "# soon\n");
    fs::rename(bench.path("b.yaml"), bench.path("b.yaml~")).unwrap();
    bench.look();
    bench.write("a.yaml", &service("a", 1));
    bench.write("b.yaml", &service("b", 3));
    bench.look();
    assert_eq!(bench.services(), ["a:1", "b:3"]);
    assert!(!bench.doubtful);
}

#[test]
fn follows_a_mounted_config_map() {
    let mut bench = Bench::new(&[("..2026_1/a.yaml", &service("a", 1)), ("..2026_1/b.yaml", &service("b", 1))]);
    symlink("..2026_1", bench.path("..data")).unwrap();
    symlink("..data/a.yaml", bench.path("a.yaml")).unwrap();
    symlink("..data/b.yaml", bench.path("b.yaml")).unwrap();
    bench.look();
    assert_eq!(bench.services(), ["a:1", "b:1"]);
    assert_eq!(bench.told(), Vec::<String>::new());

    // As the kubelet does: a new generation, a new link, renamed over the old one.
    bench.write("..2026_2/a.yaml", &service("a", 2));
    symlink("..2026_2", bench.path("..data_tmp")).unwrap();
    fs::rename(bench.path("..data_tmp"), bench.path("..data")).unwrap();
    fs::remove_dir_all(bench.path("..2026_1")).unwrap();
    fs::remove_file(bench.path("b.yaml")).unwrap();
    bench.look();
    bench.look();
    assert_eq!(bench.services(), ["a:2"]);
}

#[test]
fn links_lead_nowhere_twice() {
    let bench = Bench::new(&[("real/a.yaml", &service("a", 1))]);
    symlink("..", bench.path("real/up")).unwrap();
    symlink("real", bench.path("again")).unwrap();
    symlink("real/a.yaml", bench.path("z.yaml")).unwrap();
    symlink("nowhere", bench.path("dangling.yaml")).unwrap();
    let mut bench = bench;
    bench.look();
    assert_eq!(bench.services(), ["a:1"]);
    assert_eq!(bench.told(), Vec::<String>::new());
}

#[test]
fn a_file_replaced_by_a_folder_is_gone() {
    let mut bench = Bench::new(&[("a.yaml", &service("a", 1))]);
    fs::remove_file(bench.path("a.yaml")).unwrap();
    bench.write("a.yaml/b.yaml", &service("b", 2));
    bench.look();
    bench.look();
    assert_eq!(bench.services(), ["b:2"]);
}

#[test]
fn what_is_too_large_or_no_text_keeps_what_it_declared() {
    let mut bench = Bench::new(&[("a.yaml", &service("a", 1)), ("b.yaml", &service("b", 2))]);
    bench.write("a.yaml", &"# filler\n".repeat(500_000));
    fs::write(bench.path("b.yaml"), b"a: \xff\n").unwrap();
    bench.look();
    assert_eq!(bench.services(), ["a:1", "b:2"]);
    assert_eq!(bench.told(), ["a.yaml: is larger than 4194304 bytes; split it", "b.yaml: is no UTF-8 from byte 3 on"]);
    bench.write("a.yaml", &service("a", 3));
    bench.look();
    assert_eq!(bench.services(), ["a:3", "b:2"]);
}

#[test]
fn what_is_no_regular_file_is_told_and_not_opened() {
    let mut bench = Bench::new(&[]);
    symlink("/dev/zero", bench.path("zero.yaml")).unwrap();
    bench.look();
    assert_eq!(bench.told(), ["zero.yaml: cannot be read: is no regular file"]);
}

/// Root reads everything, so for root this only says that nothing breaks.
#[test]
fn a_file_that_may_not_be_read_keeps_what_it_declared() {
    let mut bench = Bench::new(&[("a.yaml", &service("a", 1)), ("sub/b.yaml", &service("b", 2))]);
    fs::set_permissions(bench.path("a.yaml"), fs::Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(bench.path("sub"), fs::Permissions::from_mode(0o0)).unwrap();
    let unreadable = fs::read(bench.path("a.yaml")).is_err();
    bench.look();
    bench.look();
    assert_eq!(bench.services(), ["a:1", "b:2"]);
    assert_eq!(bench.told().len(), if unreadable { 2 } else { 0 });
    fs::set_permissions(bench.path("sub"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn says_where_a_field_stands() {
    let bench = Bench::new(&[("a.yaml", &format!("# two\n{}---\n{}", service("a", 1), service("b", 2)))]);
    let spot = bench.folder.spot(&key("b"), "spec.ports[0].port").unwrap();
    let expected = Spot { file: bench.path("a.yaml"), line: 16, column: 11, text: "  - port: 2".to_owned() };
    assert_eq!(spot, expected);
    assert_eq!(bench.folder.spot(&key("none"), ""), None);
}

#[test]
fn a_thousand_broken_files_break_no_other() {
    let mut files: Vec<(String, String)> = (0..1000).map(|n| (format!("bad{n}.yaml"), "a: [\n".to_owned())).collect();
    files.push(("good.yaml".to_owned(), service("a", 1)));
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let bench = Bench::new(&files);
    assert_eq!(bench.services(), ["a:1"]);
    assert_eq!(bench.told().len(), 1000);
}

// === run ===

/// A running source and the store that its batches go into.
struct Running {
    batches: mpsc::Receiver<Vec<Change>>,
    task: tokio::task::JoinHandle<Result<(), Error>>,
    bench: Bench,
}

impl Running {
    async fn start(files: &[(&str, &str)]) -> Self {
        let bench = Bench::new(files);
        let (sender, batches) = mpsc::channel(16);
        let task = tokio::spawn(run(bench.home.path().to_owned(), sender));
        let bench = Bench { store: Store::awaiting(Kind::ALL), ..bench };
        let mut running = Self { batches, task, bench };
        running.batch().await;
        running
    }

    async fn batch(&mut self) -> bool {
        let changes = self.batches.recv().await.expect("the source ended");
        self.bench.store.apply_all(changes)
    }

    /// Waits until the Services are these.
    async fn until(&mut self, services: &[&str]) {
        while self.bench.services() != services {
            self.batch().await;
        }
    }

    async fn stop(mut self) {
        self.batches.close();
        while self.batches.recv().await.is_some() {}
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn reloads_what_editors_and_scripts_do() {
    let mut running = Running::start(&[("a.yaml", &service("a", 1))]).await;
    assert_eq!(running.bench.services(), ["a:1"]);
    assert!(running.bench.store.is_synced());
    let home = running.bench.home.path().to_owned();

    // Written in place; saved beside and renamed over; a new folder; a deletion; a rename.
    running.bench.write("a.yaml", &service("a", 2));
    running.until(&["a:2"]).await;
    running.bench.write(".a.yaml.swp", &service("a", 3));
    fs::rename(home.join(".a.yaml.swp"), home.join("a.yaml")).unwrap();
    running.until(&["a:3"]).await;
    running.bench.write("new/b.yaml", &service("b", 1));
    running.until(&["a:3", "b:1"]).await;
    running.bench.write("new/b.yaml", &service("b", 2));
    running.until(&["a:3", "b:2"]).await;
    fs::remove_file(home.join("a.yaml")).unwrap();
    running.until(&["b:2"]).await;
    fs::rename(home.join("new/b.yaml"), home.join("new/c.txt")).unwrap();
    running.until(&[]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_swapped_config_map_is_one_batch() {
    let mut running = Running::start(&[("..1/a.yaml", &service("a", 1)), ("..1/b.yaml", &service("b", 1))]).await;
    let home = running.bench.home.path().to_owned();
    symlink("..1", home.join("..data")).unwrap();
    symlink("..data/a.yaml", home.join("a.yaml")).unwrap();
    symlink("..data/b.yaml", home.join("b.yaml")).unwrap();
    running.until(&["a:1", "b:1"]).await;
    running.bench.write("..2/a.yaml", &service("a", 2));
    running.bench.write("..2/b.yaml", &service("b", 2));
    symlink("..2", home.join("..data_tmp")).unwrap();
    fs::rename(home.join("..data_tmp"), home.join("..data")).unwrap();
    running.batch().await;
    assert_eq!(running.bench.services(), ["a:2", "b:2"]);
    running.stop().await;
}

#[tokio::test]
async fn tells_and_clears_what_is_wrong_with_a_file() {
    let mut running = Running::start(&[("a.yaml", &service("a", 1))]).await;
    running.bench.write("a.yaml", "a: [\n");
    while running.bench.told().is_empty() {
        running.batch().await;
    }
    assert_eq!(running.bench.services(), ["a:1"]);
    running.bench.write("a.yaml", &service("a", 2));
    running.until(&["a:2"]).await;
    assert_eq!(running.bench.told(), Vec::<String>::new());
    running.stop().await;
}

#[tokio::test]
async fn a_folder_that_goes_keeps_what_it_declared_until_it_is_back() {
    let mut running = Running::start(&[("a.yaml", &service("a", 1))]).await;
    let home = running.bench.home.path().to_owned();
    let away = tempfile::tempdir().unwrap();
    fs::rename(&home, away.path().join("gone")).unwrap();
    while running.bench.store.places().is_empty() {
        running.batch().await;
    }
    assert_eq!(running.bench.services(), ["a:1"]);
    fs::create_dir(&home).unwrap();
    running.bench.write("b.yaml", &service("b", 2));
    running.until(&["b:2"]).await;
    assert!(running.bench.store.places().is_empty());
    // The new folder is watched as the old one was.
    running.bench.write("b.yaml", &service("b", 3));
    running.until(&["b:3"]).await;
    running.stop().await;
}

#[tokio::test]
async fn fails_at_once_without_a_folder() {
    let home = tempfile::tempdir().unwrap();
    let (sender, _batches) = mpsc::channel(1);
    let error = run(home.path().join("none"), sender).await.unwrap_err();
    assert!(error.to_string().contains("none"), "{error}");
}
