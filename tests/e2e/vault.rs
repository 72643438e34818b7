//! The vault under a running Vizard: keys change while calls go on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use harness::lab::{Lab, Place};
use harness::process::output;
use harness::sipp::Role;
use harness::vizard::{Vizard, gives_up, key_file};

use crate::world::{
    AGENT, Bound, CUSTOMER, MediaPath, Plan, World, binary, bind, callee_at, caller_at, other, world,
};

/// Parties enough that sealing them takes several turns.
const BINDINGS: usize = 280;

/// The epochs in the key file.
fn epochs(lab: &Lab) -> Vec<String> {
    let text = fs::read_to_string(key_file(lab)).unwrap();
    let epochs = text.lines().filter_map(|line| line.strip_prefix("epoch ")?.split_once(' '));
    epochs.map(|(epoch, _)| epoch.to_owned()).collect()
}

fn rotated(vizard: &Vizard<'_>, lab: &Lab) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = epochs(lab);
        let status = vizard.ask(&["vault", "status"]).unwrap();
        if found.len() == 1 && status["vault"]["left"] == 0 {
            return found;
        }
        assert!(Instant::now() < deadline, "epochs {found:?} are in the key file: {status}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn fill(vizard: &Vizard<'_>) {
    for at in 0..BINDINGS {
        let (key, customer) = (format!("k{at}"), format!("+1212555{:04}", 1000 + at));
        let agent = format!("+1310555{:04}", 1000 + at);
        vizard.ask(&["bind", "create", "--key", &key, "--customer", &customer, "--agent", &agent]).unwrap();
    }
}

/// Every binding still finds its parties.
fn check(vizard: &Vizard<'_>) {
    let list = vizard.ask(&["bind", "list", "--limit", "1000"]).unwrap();
    let bindings = list["bindings"].as_array().unwrap();
    assert_eq!(bindings.len(), BINDINGS + 1);
    for binding in bindings.iter().step_by(29) {
        let key = binding["key"].as_str().unwrap();
        let Some(at) = key.strip_prefix('k').and_then(|at| at.parse::<usize>().ok()) else { continue };
        let (caller, proxy) = (format!("+1212555{:04}", 1000 + at), binding["customer"]["proxy"].as_str());
        let resolved = vizard.ask(&["resolve", &caller, proxy.unwrap()]).unwrap();
        assert!(resolved.to_string().contains(binding["id"].as_str().unwrap()), "{resolved}");
    }
}

#[test]
fn keys_rotate_under_a_call_and_through_kill_9_at_random_moments() {
    let Some(world) = world(Plan { path: MediaPath::Sockets, ..Plan::default() }) else { return };
    let mut vizard = world.start();
    let bound = bind(&vizard);
    fill(&vizard);
    assert_eq!(epochs(&world.lab), ["1"]);
    thread::scope(|scope| {
        let rotation = scope.spawn(|| vizard.ask(&["vault", "rotate"]).unwrap());
        let outcome = world.call(
            caller_at(Place::Customer, Role::Caller, &bound.customer_dials),
            callee_at(other(Place::Customer), Role::Callee),
        );
        assert_eq!(outcome.callee.number("From"), Some(bound.agent_dials.as_str()));
        let ended = rotation.join().unwrap();
        assert_eq!((&ended["rotation"]["phase"], &ended["vault"]["epoch"]), (&"ended".into(), &2.into()));
    });
    assert_eq!(epochs(&world.lab), ["2"]);
    check(&vizard);

    // Moments spread over the whole way, by a step that has no common measure with it.
    let mut epoch = 2;
    for round in 0_u64..12 {
        vizard.ask(&["vault", "rotate", "--no-wait"]).unwrap();
        thread::sleep(Duration::from_millis(round * 7919 % 61));
        vizard.kill_and_restart().unwrap();
        epoch += 1;
        assert_eq!(rotated(&vizard, &world.lab), [epoch.to_string()], "round {round}");
    }
    check(&vizard);
    assert!(!vizard.log().contains(&CUSTOMER[2..]));
    for left in ["old", "new"] {
        assert!(!key_file(&world.lab).with_extension(format!("keys.{left}")).exists(), ".{left} is left");
    }
}

/// A call that the customer begins and that ends well.
fn call(world: &World, bound: &Bound) {
    world.call(
        caller_at(Place::Customer, Role::Caller, &bound.customer_dials),
        callee_at(other(Place::Customer), Role::Callee),
    );
}

/// The whole drill: back up, lose everything, restore, go on.
#[test]
fn a_backup_and_its_keys_bring_everything_back_and_neither_does_alone() {
    let Some(world) = world(Plan { path: MediaPath::Sockets, ..Plan::default() }) else { return };
    let mut vizard = world.start();
    let bound = bind(&vizard);
    call(&world, &bound);
    let records = vizard.records(2).unwrap();
    let (folder, keys) = (world.lab.folder(), key_file(&world.lab));
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    vizard.ask(&["backup", &file("backup")]).unwrap();
    vizard.ask(&["vault", "export-keys", &file("safe.keys")]).unwrap();
    let (code, said) = vizard.refused(&["backup", &file("backup")]).unwrap();
    assert!(code == 6 && said.contains("not there yet"), "{code}: {said}");
    let held = fs::read_dir(folder.join("backup")).unwrap();
    let mut held: Vec<_> = held.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    held.sort();
    assert_eq!(held, ["backup.json", "store.rows"]);
    assert_eq!(crate::secrecy::traces_below(&folder.join("backup")), Vec::<String>::new());

    let (code, said) = vizard.refused(&["restore", &file("backup")]).unwrap();
    assert!(code == 6 && said.contains("in use"), "{code}: {said}");
    // What the backup will not have.
    vizard.ask(&["drain"]).unwrap();
    vizard.ask(&["drain", "--undo"]).unwrap();
    vizard.kill().unwrap();
    let store = folder.join("store");
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&keys, folder.join("lost.keys")).unwrap();

    let refused = |expected: &str| {
        let (code, said) = vizard.refused(&["restore", &file("backup")]).unwrap();
        assert!(code == 1 && said.contains(expected), "{code}: {said}");
        assert!(!store.join("format").exists() && !store.join("directory").exists(), "{expected}");
    };
    refused("put the key file of the backup there first");
    vizard.ask(&["vault", "init"]).unwrap();
    refused("does not belong to this store");
    fs::remove_file(&keys).unwrap();
    vizard.ask(&["vault", "import-keys", &file("safe.keys")]).unwrap();
    let rows = fs::read(folder.join("backup/store.rows")).unwrap();
    fs::write(folder.join("backup/store.rows"), &rows[..rows.len() - 1]).unwrap();
    refused("its digest is not that");
    fs::write(folder.join("backup/store.rows"), rows).unwrap();
    let restored = vizard.ask(&["restore", &file("backup")]).unwrap();
    assert_eq!((&restored["bindings"], &restored["parties"]), (&1.into(), &2.into()));

    vizard.start_again(&[]).unwrap();
    assert_eq!(vizard.records(2).unwrap(), records);
    // The log says that it was restored, and what it lacks for that reason.
    let log = vizard.ask(&["audit", "verify"]).unwrap();
    let entry = |name: &str| log["explained"][0][name].as_u64().unwrap();
    assert_eq!((&log["found"], entry("last") - entry("first")), (&0.into(), 1), "{log:#}");
    let restore = vizard.ask(&["audit", "list", "--act", "restore"]).unwrap();
    assert_eq!(restore["entries"][0]["seq"], entry("by"), "{restore:#}");
    assert_eq!(vizard.ask(&["audit", "list", "--act", "mend"]).unwrap()["entries"], serde_json::json!([]));
    let outcome = world.call(
        caller_at(Place::Customer, Role::Caller, &bound.customer_dials),
        callee_at(other(Place::Customer), Role::Callee),
    );
    assert_eq!(outcome.callee.number("From"), Some(bound.agent_dials.as_str()));
}

/// A copy of the store of before, with the key file of after, yields nothing; and
/// neither do the store's own files.
#[test]
fn an_erased_person_cannot_be_read_from_any_copy_of_the_store() {
    let Some(world) = world(Plan { path: MediaPath::Sockets, ..Plan::default() }) else { return };
    let mut vizard = world.start();
    let bound = bind(&vizard);
    call(&world, &bound);
    vizard.records(2).unwrap();
    let held = vizard.ask(&["privacy", "export", CUSTOMER]).unwrap();
    assert_eq!(held["bindings"][0]["id"], bound.id.as_str());
    assert_eq!(held["sessions"][0]["legs"].as_array().unwrap().len(), 2);
    let folder = world.lab.folder();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    vizard.ask(&["backup", &file("before")]).unwrap();
    let old_keys = fs::read_to_string(key_file(&world.lab)).unwrap();

    let erased = vizard.ask(&["privacy", "erase", CUSTOMER]).unwrap();
    assert_eq!((&erased["erasure"]["ended"], &erased["erasure"]["tombstones"]), (&1.into(), &1.into()));
    let certificate = fs::read_to_string(erased["certificate"].as_str().unwrap()).unwrap();
    assert!(certificate.contains(&bound.id), "{certificate}");
    assert_eq!(crate::secrecy::traces("certificate", certificate.as_bytes()), Vec::<String>::new());
    let noted = vizard.ask(&["audit", "list", "--act", "privacy-erase"]).unwrap();
    let pseudonym = noted["entries"][0]["on"].as_str().unwrap();
    assert!(pseudonym.starts_with("party_") && certificate.contains(pseudonym), "{pseudonym}: {certificate}");
    let (code, said) = vizard.refused(&["privacy", "export", CUSTOMER]).unwrap();
    assert!(code == 5 && said.contains("nothing is held"), "{code}: {said}");
    let shown = vizard.ask(&["bind", "show", &bound.id]).unwrap();
    assert_eq!(
        (&shown["binding"]["customer"]["address"], &shown["binding"]["state"]),
        (&"(erased)".into(), &"entombed".into())
    );

    // No old key is left anywhere, so what lingers in the files is noise.
    assert_eq!(epochs(&world.lab), ["2"]);
    let old_key = old_keys.lines().find_map(|line| line.strip_prefix("epoch 1 ")).unwrap().to_owned();
    vizard.kill().unwrap();
    let bytes: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&old_key[2 * at..2 * at + 2], 16).unwrap()).collect();
    for entry in walk(folder) {
        let content = fs::read(&entry).unwrap();
        let holds = |needle: &[u8]| content.windows(needle.len()).any(|window| window == needle);
        assert!(!holds(old_key.as_bytes()) && !holds(&bytes), "the old key is in {}", entry.display());
    }
    assert_eq!(crate::secrecy::traces_below(&folder.join("store")), Vec::<String>::new());
    assert_eq!(crate::secrecy::traces_below(&folder.join("before")), Vec::<String>::new());
    fs::rename(folder.join("store"), folder.join("after")).unwrap();
    let (code, said) = vizard.refused(&["restore", &file("before")]).unwrap();
    assert!(code == 1 && said.contains("key epoch 1, which the key file does not have"), "{code}: {said}");

    // The store of after is whole: the other party is there, and finds nobody.
    fs::rename(folder.join("after"), folder.join("store")).unwrap();
    vizard.start_again(&[]).unwrap();
    let held = vizard.ask(&["privacy", "export", AGENT]).unwrap();
    assert_eq!(held["bindings"][0]["customer"]["address"], "(erased)");
}

fn walk(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap().map(|entry| entry.unwrap()) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(walk(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

/// An erasure is over with a certificate, or did not happen.
#[test]
fn an_erasure_that_is_killed_at_a_random_moment_ends_or_did_not_begin() {
    let Some(world) = world(Plan { path: MediaPath::Sockets, ..Plan::default() }) else { return };
    let mut vizard = world.start();
    bind(&vizard);
    let certificates = || {
        let found = fs::read_dir(world.lab.folder().join("store/certificates"));
        let names =
            found.into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with("json")).count()
    };
    let (mut erased, mut kept) = (0, 0);
    for round in 0_u64..14 {
        let (key, person) = (format!("k{round}"), format!("+1212555{:04}", 1000 + round));
        let agent = format!("+1310555{:04}", 1000 + round);
        vizard.ask(&["bind", "create", "--key", &key, "--customer", &person, "--agent", &agent]).unwrap();
        let mut erasing = vizard.command();
        erasing.args(["privacy", "erase", &person]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut erasing = erasing.spawn().unwrap();
        thread::sleep(Duration::from_millis(10 + round * 7919 % 61));
        vizard.kill_and_restart().unwrap();
        let _cut_short_or_not = erasing.wait().unwrap();
        rotated(&vizard, &world.lab);
        let deadline = Instant::now() + Duration::from_secs(20);
        while vizard.ask(&["vault", "status"]).unwrap()["vault"]["erasures"] != 0 {
            assert!(Instant::now() < deadline, "round {round}: no certificate: {}", vizard.log());
            thread::sleep(Duration::from_millis(20));
        }
        match vizard.refused(&["privacy", "export", &person]).unwrap() {
            (0, _) => kept += 1,
            (5, _) => erased += 1,
            (code, said) => panic!("round {round}: {code}: {said}"),
        }
        assert_eq!(certificates(), erased, "round {round}");
        let held = vizard.ask(&["privacy", "export", &agent]).unwrap();
        assert_eq!(held["bindings"].as_array().unwrap().len(), 1, "round {round}");
    }
    assert!(erased > 0, "every erasure was killed before it began, {kept} times");
}

/// A file system of its own, for as long as it is wanted.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&at).unwrap();
        let options = format!("size={size},mode=0700");
        output(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "vizard-test"]).arg(&at)).unwrap();
        Self(at)
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        output(Command::new("mount").args(["-o", &options]).arg(&self.0)).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _busy = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_what_it_cannot_keep_and_loses_nothing() {
    let Some(world) = world(Plan { path: MediaPath::Sockets, ..Plan::default() }) else { return };
    let folder = world.lab.folder().to_owned();
    let disk = Small::mount(folder.join("store"), "6m");
    let mut vizard = world.start();
    bind(&vizard);
    let junk = folder.join("store/junk");
    let mut made = vec!["order-81".to_owned()];
    // Nothing but the last pages is left.
    let _full =
        Command::new("dd").args(["if=/dev/zero", "bs=4096"]).arg(format!("of={}", junk.display())).output();
    let refused = (0..400).find_map(|at| {
        let (key, customer) = (format!("k{at}"), format!("+1212555{:04}", 1000 + at));
        let agent = format!("+1310555{:04}", 1000 + at);
        let create = ["bind", "create", "--key", &key, "--customer", &customer, "--agent", &agent];
        let (code, said) = vizard.refused(&create).unwrap();
        if code == 0 {
            made.push(key);
            return None;
        }
        Some((code, said))
    });
    let (code, said) = refused.expect("400 bindings fitted on a full disk");
    assert!(code == 8 && said.contains("the store failed"), "{code}: {said}");
    // It serves what it has, and says what is wrong.
    assert!(vizard.ask(&["status"]).is_ok());
    assert!(vizard.log().contains("No space left"), "{}", vizard.log());
    assert!(!vizard.log().contains("panicked"), "{}", vizard.log());

    fs::remove_file(&junk).unwrap();
    disk.grow("64m");
    vizard.kill_and_restart().unwrap();
    let list = vizard.ask(&["bind", "list", "--limit", "1000"]).unwrap();
    let keys: Vec<&str> =
        list["bindings"].as_array().unwrap().iter().map(|binding| binding["key"].as_str().unwrap()).collect();
    for key in &made {
        assert!(keys.contains(&key.as_str()), "{key} was acknowledged and is gone");
    }

    // A backup that does not fit leaves nothing that could be taken for one.
    let small = Small::mount(folder.join("small"), "4k");
    let target = small.0.join("backup");
    let (code, said) = vizard.refused(&["backup", target.to_str().unwrap()]).unwrap();
    assert!(code == 1 && said.contains("No space left") && !target.exists(), "{code}: {said}");

    // Keys that others can read are refused before anything is opened.
    vizard.kill().unwrap();
    fs::set_permissions(key_file(&world.lab), fs::Permissions::from_mode(0o640)).unwrap();
    let (code, said) = gives_up(&world.lab, binary(), &folder.join("vizard.toml")).unwrap();
    assert!(code == 1 && said.contains("chmod 600"), "{code}: {said}");
}
