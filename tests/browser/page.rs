//! What the page shows, by keyboard, on a phone, in the dark.

use serde_json::{Value, json};
use xspace_tests::Protocol;

use crate::site::{MODULE, MP3, MP4, WAV, alone, array, can_run, number, scenario, site, text};

#[test]
fn the_page_is_usable_by_keyboard_on_a_phone_and_in_the_dark() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let nginx = site(&[&MP3, &WAV, &MP4], MODULE).start();
    let result = scenario(&nginx, Protocol::Http2, "page", json!({}));
    for ((recording, media, label), shown) in
        [(&MP3, "audio", "MP3"), (&WAV, "audio", "WAV"), (&MP4, "video", "MP4")]
            .iter()
            .zip(array(&result["shown"]))
    {
        let megabytes = format!("{:.1} MB", recording.size() as f64 / 1e6);
        assert_eq!(text(shown, "id"), recording.id);
        assert_eq!(text(shown, "title"), recording.title);
        assert_eq!(text(shown, "facts"), format!("01:00:00 · {megabytes} · {label}"));
        assert_eq!(text(shown, "media"), *media);
        assert_eq!(number(shown, "players"), 1.0);
        assert_eq!(shown["links"], json!([format!("↓ {label}, {megabytes}")]));
    }
    assert_eq!(result["shown"].as_array().map(Vec::len), Some(3));
    // What WCAG 2 wants of text (AA).
    for (scheme, ratio) in result["contrasts"].as_object().expect("an object") {
        assert!(ratio.as_f64().unwrap_or_default() >= 4.5, "{scheme}: {ratio}");
    }
    let schemes: Vec<&Value> = result["contrasts"].as_object().expect("two").values().collect();
    assert_ne!(schemes[0], schemes[1], "light and dark are the same");
}
