//! What is counted for players, download programs and robots: the table of docs/counting.md.
//!
//! Their requests are replayed here, with the time or the bytes after which each went away.
//! `real_clients`, which is not part of the suite (`make clients-test`), runs the programs
//! themselves; those of Chromium are in tests/browser/clients.rs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use xspace_tests::{Nginx, Protocol, end_with_this_process, hour, is_root};

use crate::clients_table::{FILE, PATH, counts, in_both, in_words, site, table};

/// An hour of 64 kbit/s. A minute is 480,000 bytes.
const SIZE: u64 = 28_800_000;

/// A request, and when the client goes away at the latest.
struct Asked {
    method: &'static str,
    /// The first and the last byte.
    range: Option<(u64, u64)>,
    /// After it has read so many bytes.
    bytes: u64,
    seconds: u64,
}

const fn get(first: u64, last: u64, bytes: u64, seconds: u64) -> Asked {
    Asked { method: "GET", range: Some((first, last)), bytes, seconds }
}

const fn whole(bytes: u64, seconds: u64) -> Asked {
    Asked { method: "GET", range: None, bytes, seconds }
}

const LAST: u64 = SIZE - 1;

/// Those of Chromium, VLC, mpv, ffmpeg, wget, aria2 and curl were recorded with the programs of
/// Debian 12. Safari: soundcloud/areweplayingyet, issue 49. Apple Podcasts and Spotify: the header
/// fields in <https://iabcertified.download/post/what-is-a-request-header>.
fn clients() -> Vec<(&'static str, Vec<Asked>)> {
    let all = |bytes, seconds| vec![get(0, LAST, bytes, seconds)];
    let seeks = (0..50).map(|seek| {
        let first = SIZE / 1000 * (seek * 618 % 1000);
        get(first, LAST, 200_000, 1)
    });
    let ranges = |count: u64, first: u64, len: u64| {
        (0..count).map(move |number| {
            let first = first + 3_000_000 * number;
            get(first, first + len - 1, len, 30)
        })
    };
    let continued = (0..5).map(|time| match time {
        0 => whole(278_000, 1),
        time => get(time * 278_000, LAST, 278_000, 1),
    });
    vec![
        ("Chromium, page with preload=none", vec![]),
        ("Chromium, page with preload=metadata", all(7_000_000, 1)),
        ("Chromium, page with preload=auto, left after 5 s", all(9_000_000, 5)),
        ("Chromium, 5 s", all(11_000_000, 5)),
        ("Chromium, 30 s", all(11_000_000, 30)),
        ("Chromium, 50 seeks", all(278_000, 1).into_iter().chain(seeks).collect()),
        (
            "Safari, 30 s and a seek",
            vec![get(0, 1, 2, 1), get(0, LAST, SIZE, 30), get(SIZE / 4, LAST, SIZE, 1)],
        ),
        ("Apple Podcasts, streaming, 30 s", vec![get(0, 1, 2, 1), get(0, LAST, SIZE, 30)]),
        ("Apple Podcasts, saved episode", vec![whole(SIZE, 30)]),
        ("Spotify, pieces of 10 MB", vec![get(0, 9_999_999, SIZE, 30)]),
        ("VLC, 5 s", all(21_000_000, 5)),
        ("VLC, 30 s", all(21_000_000, 30)),
        ("mpv, 5 s", all(SIZE, 5)),
        ("mpv, 30 s", all(SIZE, 30)),
        ("ffprobe", all(4_000_000, 1)),
        ("ffmpeg, 30 s", all(SIZE, 30)),
        ("wget", vec![whole(SIZE, 30)]),
        (
            "wget -c, interrupted five times, attachment",
            continued.chain([get(1_390_000, LAST, SIZE, 20)]).collect(),
        ),
        (
            "aria2 with 8 connections, attachment",
            std::iter::once(whole(SIZE, 20)).chain(ranges(7, 3_000_000, 3_000_000)).collect(),
        ),
        ("curl, 8 ranges of 50 kB", ranges(8, 0, 50_000).collect()),
        ("curl -I", vec![Asked { method: "HEAD", range: None, bytes: SIZE, seconds: 1 }]),
        ("robot, the first 1 MB", vec![get(0, 999_999, 1_000_000, 30)]),
    ]
}

fn ask(nginx: &Nginx, asked: &Asked, is_attachment: bool, who: &str) {
    let mut stream = TcpStream::connect(nginx.address(Protocol::Http1)).expect("nginx listens");
    let attachment = if is_attachment { "&attachment=1" } else { "" };
    let range = asked.range.map(|(first, last)| format!("Range: bytes={first}-{last}\r\n"));
    let (method, range) = (asked.method, range.unwrap_or_default());
    let request = format!(
        "{method} {PATH}?who={who}{attachment} HTTP/1.1\r\nHost: localhost\r\n{range}\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let end = Instant::now() + Duration::from_secs(asked.seconds);
    let (mut buffer, mut read) = (vec![0; 65_536], 0);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || read >= asked.bytes {
            break;
        }
        stream.set_read_timeout(Some(left)).expect("a deadline");
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => read += len as u64,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(e) => panic!("{who}: {e}"),
        }
    }
    assert!(read > 0, "{who}: no response");
}

#[test]
fn replayed_clients_are_counted_as_the_table_says() {
    let table = table();
    let measured: Vec<(&str, [String; 2])> = thread::scope(|scope| {
        let clients = clients().into_iter().map(|(name, requests)| {
            // Of each a site of its own, so that what was counted is its own.
            scope.spawn(move || {
                let is_attachment = name.ends_with(", attachment");
                let measured = in_both(|limit| {
                    let nginx = site(limit).file(FILE, "").start();
                    let file = nginx.dir().join(FILE);
                    let file = fs::File::options().write(true).open(file).expect("the recording");
                    file.set_len(SIZE).expect("its length");
                    if name.starts_with("aria2") {
                        thread::scope(|scope| {
                            for asked in &requests {
                                scope.spawn(|| ask(&nginx, asked, is_attachment, "replayed"));
                            }
                        });
                    } else {
                        for asked in &requests {
                            ask(&nginx, asked, is_attachment, "replayed");
                        }
                    }
                    in_words(counts(&nginx))
                });
                (name, measured)
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().map(|client| client.join().expect("a client")).collect()
    });
    let measured: BTreeMap<String, [String; 2]> =
        measured.into_iter().map(|(name, counts)| (name.to_owned(), counts)).collect();
    assert_eq!(measured, table);
}

/// The programs themselves. Those of Apple and Spotify are not for this system.
#[test]
#[ignore = "players of 200 MB, see make clients-test"]
fn real_clients() {
    let table = table();
    let run = |name: &str, commands: &[&str]| {
        let row = table.get(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        let found = in_both(|limit| {
            let nginx =
                site(limit).shared(&hour("hour.mp3"), FILE).http("keepalive_timeout 0;").start();
            let dir = nginx.site().make_dir("client");
            fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777))
                .expect("a directory for everybody");
            for command in commands {
                let url = nginx.url(&format!("{PATH}?who=client"));
                // VLC refuses to run as root.
                let user = if is_root() {
                    "setpriv --reuid nobody --regid nogroup --clear-groups"
                } else {
                    ""
                };
                let command = command.replace("ATTACHMENT", &format!("'{url}&attachment=1'"));
                let command = command.replace("URL", &format!("'{url}'"));
                let mut shell = Command::new("sh");
                shell
                    .args(["-c", &format!("exec {user} {command} >>log 2>&1")])
                    .current_dir(&dir)
                    .env("HOME", &dir)
                    .stdin(Stdio::null());
                end_with_this_process(&mut shell);
                shell.status().expect("a shell");
            }
            let found = in_words(counts(&nginx));
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            println!("{name}, {limit} {found} {log}");
            found
        });
        assert_eq!(&found, row, "{name}");
    };
    let vlc = |seconds| {
        format!(
            "timeout 60 cvlc -q --aout=adummy --run-time={seconds} --play-and-exit URL vlc://quit"
        )
    };
    let mpv = |seconds| {
        format!(
            "timeout 60 mpv --no-config --really-quiet --ao=null --no-video --length={seconds} URL"
        )
    };
    let continued = "wget -q --limit-rate=300k -c -O file ATTACHMENT";
    let interrupted = format!("timeout 1 {continued}");
    let ranges: Vec<String> = (0..8)
        .map(|number| {
            format!(
                "curl -sS -o file -r {0}-{1} URL",
                number * 3_000_000,
                number * 3_000_000 + 49_999
            )
        })
        .collect();
    thread::scope(|scope| {
        let run = &run;
        for (name, commands) in [
            ("VLC, 5 s", vec![vlc(5)]),
            ("VLC, 30 s", vec![vlc(30)]),
            ("mpv, 5 s", vec![mpv(5)]),
            ("mpv, 30 s", vec![mpv(30)]),
            ("ffprobe", vec!["ffprobe -v error URL".to_owned()]),
            ("ffmpeg, 30 s", vec!["ffmpeg -v error -re -t 30 -i URL -f null -".to_owned()]),
            ("wget", vec!["timeout 30 wget -q -O file URL".to_owned()]),
            ("curl -I", vec!["curl -sS -I URL".to_owned()]),
            (
                "robot, the first 1 MB",
                vec!["timeout 40 curl -sS -o file -r 0-999999 URL".to_owned()],
            ),
            (
                "aria2 with 8 connections, attachment",
                vec!["timeout 30 aria2c -q -x8 -s8 -k1M -o file ATTACHMENT".to_owned()],
            ),
            (
                "wget -c, interrupted five times, attachment",
                std::iter::repeat_n(interrupted.clone(), 5)
                    .chain([format!("timeout 30 {continued}")])
                    .collect(),
            ),
            ("curl, 8 ranges of 50 kB", ranges),
        ] {
            scope
                .spawn(move || run(name, &commands.iter().map(String::as_str).collect::<Vec<_>>()));
        }
    });
}
