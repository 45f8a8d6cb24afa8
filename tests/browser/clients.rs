//! What is counted for Chromium, as the table in docs/counting.md has it (`make clients-test`).

use serde_json::json;
use xspace_tests::{Protocol, hour};

use crate::clients_table::{FILE, PATH, counts, in_both, in_words, site, table};
use crate::site::{alone, scenario};

const CLIENTS: [&str; 6] = [
    "Chromium, page with preload=none",
    "Chromium, page with preload=metadata",
    "Chromium, page with preload=auto, left after 5 s",
    "Chromium, 5 s",
    "Chromium, 30 s",
    "Chromium, 50 seeks",
];

#[test]
#[ignore = "two minutes, see make clients-test"]
fn chromium_is_counted_as_the_table_says() {
    let _alone = alone();
    let table = table();
    for client in CLIENTS {
        let found = in_both(|limit| {
            let nginx = site(limit).shared(&hour("hour.mp3"), FILE).start();
            nginx.site().write_certificate();
            scenario(&nginx, Protocol::Http1, "clients", json!({ "client": client, "path": PATH }));
            in_words(counts(&nginx))
        });
        println!("{client}: {found:?}");
        assert_eq!(found, table[client], "{client}");
    }
}
