//! Plays that go to syslog: rsyslog writes the log that plays-to-sql reads.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use xspace_tests::{Address, Nginx, Protocol, end_with_this_process, poll, project_dir};

use crate::database::Kind;
use crate::plays_to_sql::{database, read_once};
use crate::site::{SPACES, counting, play};

/// rsyslog with the configuration of docs/counting.md; ended when it goes out of scope.
struct Rsyslog(Child);

impl Rsyslog {
    fn start(nginx: &Nginx, port: u16) -> Self {
        let page = fs::read_to_string(project_dir().join("docs/counting.md")).expect("the page");
        // As the site has it.
        let directive =
            "access_log syslog:server=127.0.0.1:5514,tag=plays plays if=$xspace_played;";
        assert!(page.contains(directive));
        let config = page.split("```").find(|block| block.contains("imudp")).expect("its lines");
        let (_, config) = config.split_once('\n').expect("the name of a language");
        assert!(config.contains("port=\"5514\"") && config.contains("/srv/xspace/log/plays.log"));
        let config = config
            .replace("5514", &port.to_string())
            .replace("/srv/xspace/", &format!("{}/", nginx.dir().display()));
        let path = nginx.site().write("rsyslog.conf", config);
        let mut command = Command::new("/usr/sbin/rsyslogd");
        command.arg("-n").arg("-f").arg(path).arg("-i").arg(nginx.dir().join("rsyslog.pid"));
        end_with_this_process(&mut command);
        let child = command.stdin(Stdio::null()).spawn().expect("rsyslogd can be run");
        let is_bound = poll(|| {
            let bound = fs::read_to_string("/proc/net/udp").unwrap_or_default();
            // Its own address, not that which nginx sends to.
            bound.contains(&format!(": 0100007F:{port:04X} "))
        });
        assert!(is_bound, "rsyslog does not listen");
        Self(child)
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lines(log: &Path) -> usize {
    fs::read_to_string(log).unwrap_or_default().lines().count()
}

/// What is played while nobody reads is lost, and nothing else.
#[test]
fn plays_are_lost_while_rsyslog_is_down() {
    let Address::Tcp(address) = Address::free() else { panic!("a port") };
    let nginx = counting(&format!("syslog:server={address},tag=plays"))
        .allow("while logging to syslog")
        .start();
    let database = database(Kind::Sqlite, &nginx);
    let log = nginx.dir().join("log/plays.log");
    let mut connection = nginx.connect(Protocol::Http1);
    let mut number = 0;
    let mut play_some = |count: u64| {
        for _ in 0..count {
            number += 1;
            play(&mut connection, SPACES[0], &number.to_string(), false);
        }
    };

    let rsyslog = Rsyslog::start(&nginx, address.port());
    play_some(50);
    assert!(poll(|| lines(&log) == 50), "{} lines", lines(&log));
    drop(rsyslog);
    play_some(7);
    let _rsyslog = Rsyslog::start(&nginx, address.port());
    // The first message after that may report that the one before could not be delivered.
    play_some(20);
    assert!(poll(|| lines(&log) >= 69), "{} lines", lines(&log));
    read_once(&database, &nginx);
    let plays = database.counts()[SPACES[0]].0;
    assert!((69..=70).contains(&plays), "{plays} plays");
    assert!(nginx.get("/status").text().contains("\"plays\":77,"), "nginx counts all");
}
