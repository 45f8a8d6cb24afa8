//! Reload with requests under way, and with another file of the module.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use xspace_tests::{
    Application, Gate, Nginx, Protocol, Reply, Request, Site, build, bytes, same_bytes,
};

use crate::common::{
    FILE, ID, MISSING_PATH, PATH, ask, assert_no_recording, assert_recording, recording,
};

#[test]
fn reload_under_load_fails_no_request() {
    let nginx = Site::simple().file(FILE, recording()).start();
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = [Protocol::Http1, Protocol::Http1, Protocol::Http2]
        .into_iter()
        .map(|protocol| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            let address = nginx.address(protocol);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert_recording(&ask(protocol, address, &Request::get(PATH)), "under load");
                    let request = Request::get(PATH).range("bytes=1000-1999");
                    let part = ask(protocol, address, &request);
                    same_bytes(&part.body, &recording()[1000..2000], "under load");
                    let missing = ask(protocol, address, &Request::get(MISSING_PATH));
                    assert_no_recording(&missing, 404, "under load");
                    done.fetch_add(3, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..5 {
        let before = done.load(Ordering::Relaxed);
        nginx.reload();
        while done.load(Ordering::Relaxed) < before + 12 && clients.iter().all(|c| !c.is_finished())
        {
            thread::yield_now();
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no request failed");
    }
    nginx.finish();
}

#[test]
fn download_goes_on_through_a_reload() {
    let big = bytes(6, 20_000_000);
    let nginx = Site::simple().file(FILE, &big).start();
    let mut connection = nginx.raw();
    connection
        .write(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    let mut answer = connection.read_exactly(50_000);
    let old = nginx.start_reload();
    assert!(nginx.workers().iter().any(|pid| old.contains(pid)), "the old worker still sends");
    answer.extend(connection.read_to_end());
    let start = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("headers") + 4;
    same_bytes(&answer[start..], &big, "through the reload");
}

#[test]
fn new_configuration_counts_after_a_reload() {
    let nginx = Site::with_directives("xspace_formats mp3;", "")
        .file(FILE, recording())
        .file("downloads/1lDxLnrWjwkGm.wav", "wav")
        .start();
    assert_recording(&nginx.get(PATH), "before");
    let conf = nginx.site().conf_path();
    let text = std::fs::read_to_string(&conf).expect("nginx.conf");
    let new = text.replace("xspace_formats mp3;", "xspace_formats wav;");
    assert_ne!(new, text);
    std::fs::write(&conf, new).expect("nginx.conf");
    nginx.reload();
    assert_eq!(nginx.get(PATH).text(), "wav");
}

#[test]
fn refused_configuration_leaves_the_old_one() {
    let nginx = Site::with_directives("xspace_formats mp3;", "")
        .allow("has no known media type")
        .file(FILE, recording())
        .start();
    let conf = nginx.site().conf_path();
    let text = std::fs::read_to_string(&conf).expect("nginx.conf");
    std::fs::write(&conf, text.replace("xspace_formats mp3;", "xspace_formats xyz;"))
        .expect("nginx.conf");
    assert!(!nginx.check().ok);
    let workers = nginx.workers();
    nginx.hang_up();
    nginx.wait_error(&["[emerg]", "has no known media type"]);
    assert_recording(&nginx.get(PATH), "the old configuration");
    assert_eq!(nginx.workers(), workers);
    std::fs::write(&conf, text).expect("nginx.conf");
    nginx.reload();
    assert_recording(&nginx.get(PATH), "mended");
}

#[test]
fn many_reloads_leave_one_generation_of_workers() {
    let nginx = Site::simple().file(FILE, recording()).start();
    for round in 0..5 {
        nginx.reload();
        for protocol in nginx.protocols() {
            let response = nginx.send(protocol, &Request::get(PATH));
            assert_recording(&response, &format!("{protocol:?}, round {round}"));
        }
        assert_eq!(nginx.workers().len(), 1, "round {round}");
    }
}

/// The module under test in two versions: as it is, and with a header field that can be told apart.
/// `None` if it is compiled in.
fn two_versions() -> Option<(Vec<u8>, Vec<u8>)> {
    let one = fs::read(build().module.as_ref()?).expect("the module");
    let mut other = one.clone();
    let (text, marked) = (b"inline; filename=", b"INLINE; filename=");
    let mut count = 0;
    for start in 0..other.len() - text.len() {
        let part = &mut other[start..start + text.len()];
        if part == text {
            part.copy_from_slice(marked);
            count += 1;
        }
    }
    assert!(count > 0, "the module does not hold the text in one piece");
    Some((one, other))
}

/// A site that loads its own copy of the module.
fn site_with_copy(module: &[u8]) -> Site {
    let site = Site::with_directives("xspace_catalog {dir}/catalog.json;", "")
        .daemon()
        .file("module.so", module)
        .file("catalog.json", "{}")
        .file(FILE, recording());
    let copy = site.dir().join("module.so");
    site.module(&copy)
}

/// The disposition type of an answer: it shows which version has made it.
fn version(nginx: &Nginx) -> String {
    let response = nginx.get(PATH);
    assert_eq!(response.status, 200, "{response:?}");
    let value = response.header("content-disposition").expect("Content-Disposition");
    value.split_once(';').expect("a file name").0.to_owned()
}

#[test]
fn another_file_of_the_module_is_loaded_by_an_upgrade_and_by_no_reload() {
    let Some((one, other)) = two_versions() else { return };
    let big = bytes(7, 20_000_000);
    let mut nginx = site_with_copy(&one).allow("dlopen() ").file("downloads/big.mp3", &big).start();
    assert_eq!(version(&nginx), "inline");

    // nginx -t is another process, and loads what is there now.
    nginx.site().replace("module.so", "no library");
    let checked = nginx.check();
    assert!(!checked.ok && checked.output.contains("dlopen() "), "{}", checked.output);
    nginx.reload();
    assert_eq!(version(&nginx), "inline", "the file was not looked at");

    nginx.site().replace("module.so", &other);
    assert!(nginx.check().ok);
    nginx.reload();
    assert_eq!(version(&nginx), "inline", "a reload goes on with the library that is loaded");

    // A download that was begun before goes on.
    let mut connection = nginx.raw();
    connection.write("GET /download/big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut answer = connection.read_exactly(50_000);
    let rest = std::thread::spawn(move || connection.read_to_end());
    nginx.upgrade();
    assert_eq!(version(&nginx), "INLINE", "a new process loads the new file");
    answer.extend(rest.join().expect("the rest of the download"));
    let start = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("headers") + 4;
    same_bytes(&answer[start..], &big, "through the upgrade");
    nginx.finish();
}

#[test]
fn module_that_is_no_longer_configured_is_unloaded_by_a_reload() {
    let Some((one, other)) = two_versions() else { return };
    let nginx = site_with_copy(&one).start();
    assert_eq!(version(&nginx), "inline");
    let maps = || fs::read_to_string(format!("/proc/{}/maps", nginx.pid())).expect("maps");
    assert!(maps().contains("module.so"));

    let path = nginx.site().conf_path();
    let conf = fs::read_to_string(&path).expect("nginx.conf");
    let without: String = conf
        .lines()
        .filter(|line| !line.contains("load_module") && !line.contains("xspace_"))
        .flat_map(|line| [line, "\n"])
        .collect();
    fs::write(&path, without).expect("nginx.conf");
    nginx.reload();
    assert_ne!(nginx.get(PATH).status, 200);
    assert!(!maps().contains("module.so"), "{}", maps());

    nginx.site().replace("module.so", &other);
    fs::write(&path, conf).expect("nginx.conf");
    nginx.reload();
    assert_eq!(version(&nginx), "INLINE");
}

/// A worker that is told to terminate frees its configuration while requests are open that began
/// with it, timers run and threads work: nothing of it may be used afterwards.
#[test]
fn terminated_with_requests_open() {
    let gate = Gate::default();
    let application = Application::always(Reply::json("{}").behind(&gate));
    let entries: Vec<String> =
        (0..200_000).map(|n| format!("\"{n}\": {{\"title\": \"Number {n}\"}}")).collect();
    let catalog = |last: &str| format!("{{{}, \"{ID}\": \"{last}\"}}", entries.join(","));
    let last = format!("{ID}.mp3");
    let nginx = Site::simple()
        // A master process does not wait for long, and under a checker that is not enough.
        .allow("exited on signal 9")
        .http("xspace_catalog {dir}/catalog.json refresh=10ms; sendfile off; output_buffers 1 8k;")
        .server(&format!(
            "location ^~ /looked-up/ {{ xspace_download /downloads/; xspace_lookup /_space; }}
             location = /_space {{ internal; proxy_pass http://{}; }}
             location = /page.html {{ root {{dir}}/html; ssi on; types {{ text/html html; }} }}",
            application.address()
        ))
        .file("catalog.json", catalog(&last))
        .file("html/page.html", format!("<!--#include virtual=\"/looked-up/{ID}\" -->"))
        .file(FILE, bytes(6, 20_000_000))
        .start();
    let mut open = Vec::new();
    for path in [PATH, &format!("/looked-up/{ID}"), "/page.html", PATH] {
        let mut connection = nginx.raw();
        connection.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        open.push(connection);
    }
    for download in [0, 3] {
        open[download].read_exactly(50_000);
    }
    application.wait_asked(2);
    nginx.site().replace("catalog.json", catalog(&last));
    let [worker] = nginx.workers()[..] else { panic!("one worker: {:?}", nginx.workers()) };
    nginx.wait_open(worker, "catalog.json");
    nginx.terminate();
    gate.open();
}
