//! The memory of `xspace_stats_zone`, shared by processes that are killed while they count.

use std::env;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use model::plays::{Count, Layout, Listener, MAX_NAME_LEN, Rule, Sent, Zone};
use model::request::SpaceId;
use xspace_tests::{Random, Site, end_with_this_process, poll, shared_words};

const PROCESSES: usize = 4;
const KILLS: usize = 60;
const SPACES: usize = 40;
const PEOPLE: usize = 20;
const NOW: u64 = 1_700_000_000;

const ZONE_LEN: usize = 16 << 10;
/// Each process writes down what it has counted, when it has: requests and bytes of each space.
const JOURNAL_LEN: usize = SPACES * 2;
const LEN: usize = ZONE_LEN + (PROCESSES + KILLS) * JOURNAL_LEN;

/// The path of the memory, and which journal a process has.
const PATH: &str = "XSPACE_TEST_SHARED_PATH";
const NUMBER: &str = "XSPACE_TEST_SHARED_NUMBER";

fn memory(path: &Path) -> (&'static [AtomicU64], Vec<&'static [AtomicU64]>) {
    let (zone, journals) = shared_words(path, LEN).split_at(ZONE_LEN);
    (zone, journals.chunks(JOURNAL_LEN).collect())
}

fn name(space: usize) -> String {
    format!("a-space-whose-name-takes-several-words-{space}")
}

/// Not a test but what the processes of the test below do: it counts until it is killed.
#[test]
fn process_that_counts() {
    let (Some(path), Ok(number)) = (env::var_os(PATH), env::var(NUMBER)) else { return };
    let number: usize = number.parse().expect("a number");
    let (words, journals) = memory(Path::new(&path));
    let (zone, journal) = (Zone::open(words).expect("a zone"), journals[number]);
    let mut random = Random::new(number as u64);
    let names: Vec<String> = (0..SPACES).map(name).collect();
    loop {
        let space = random.below(SPACES);
        let bytes = 1 + random.below(30_000) as u64;
        let sent = Sent {
            space: SpaceId::parse(names[space].as_bytes()).expect("an id"),
            bytes,
            size: 10_000_000,
            duration: 0,
            is_attachment: false,
            started: NOW,
        };
        let who = random.below(PEOPLE).to_string();
        let listener = Some(Listener::Value(who.as_bytes()));
        let rule = Rule { minute: 100_000, ..Rule::default() };
        let secret = random.number();
        zone.count_sent(number, &sent, listener, &rule, NOW, || secret);
        journal[2 * space].fetch_add(1, SeqCst);
        journal[2 * space + 1].fetch_add(bytes, SeqCst);
    }
}

fn start(path: &Path, number: usize) -> Child {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--exact", "plays_memory::process_that_counts"]);
    command.env(PATH, path).env(NUMBER, number.to_string()).stdout(Stdio::null());
    end_with_this_process(&mut command);
    command.spawn().expect("this program can be run")
}

#[test]
fn processes_are_killed_while_they_count() {
    let site = Site::new();
    let path = site.dir().join("shared");
    let (words, journals) = memory(&path);
    let layout = Layout::new(ZONE_LEN, Some(4096)).expect("a layout");
    let zone = Zone::create(words, layout, NOW, || 5).expect("a zone");

    let written = |number: usize| -> u64 {
        (0..SPACES).map(|space| journals[number][2 * space].load(SeqCst)).sum()
    };
    let mut running: Vec<(usize, Child)> =
        (0..PROCESSES).map(|number| (number, start(&path, number))).collect();
    let mut random = Random::new(1);
    for number in PROCESSES..PROCESSES + KILLS {
        let at = random.below(PROCESSES);
        // Nobody waits for those that are dead: every process goes on counting.
        for (number, _) in &running {
            let before = written(*number);
            assert!(poll(|| written(*number) > before), "{number} counts nothing");
        }
        let (_, mut victim) = running.swap_remove(at);
        victim.kill().expect("it can be killed");
        victim.wait().expect("it is dead");
        running.push((number, start(&path, number)));
    }
    // Until each listener has had more than a minute of each space.
    let all = (SPACES * PEOPLE) as u64;
    assert!(poll(|| zone.total(Count::Plays) + KILLS as u64 >= all));
    for (_, child) in &mut running {
        child.kill().expect("it can be killed");
        child.wait().expect("it is dead");
    }

    let kills = (KILLS + PROCESSES) as u64;
    let sum = |at: usize| -> u64 { journals.iter().map(|journal| journal[at].load(Relaxed)).sum() };
    let (mut requests, mut bytes, mut plays) = (0, 0, 0);
    for number in 0..SPACES {
        let name = name(number);
        let space = zone.space(SpaceId::parse(name.as_bytes()).expect("an id")).expect("a space");
        let mut buffer = [0; MAX_NAME_LEN];
        assert_eq!(space.id(&mut buffer).map(|id| id.to_string()), Some(name.clone()));
        let range = |written: u64, most: u64| written..=written + most;
        assert!(range(sum(2 * number), kills).contains(&space.requests()), "{name}");
        // One process that is killed can have counted bytes that it has not written down.
        assert!(range(sum(2 * number + 1), kills * 30_000).contains(&space.bytes()), "{name}");
        assert!(space.plays() <= PEOPLE as u64, "{name}: {}", space.plays());
        requests += space.requests();
        bytes += space.bytes();
        plays += space.plays();
    }
    let written: u64 = (0..SPACES).map(|number| sum(2 * number)).sum();
    assert!((written..=written + kills).contains(&requests), "{requests}, {written} written down");
    let written: u64 = (0..SPACES).map(|number| sum(2 * number + 1)).sum();
    assert!(bytes >= written && bytes - written <= kills * 30_000, "{bytes}, {written}");
    // A play can be lost with the process that has it, and is never counted twice.
    for plays in [plays, zone.total(Count::Plays)] {
        assert!((all - kills..=all).contains(&plays), "{plays} of {all}");
    }
    assert_eq!(zone.spaces().count(), SPACES, "no space has two slots");
    assert_eq!(zone.total(Count::ListenersDiscarded), 0);
}
