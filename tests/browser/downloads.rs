//! Links that save a file.

use std::fs;
use std::path::Path;

use serde_json::json;
use xspace_tests::{hour, same_bytes};

use crate::site::{MODULE, MP3, MP4, WAV, alone, array, can_run, scenario, site, text};

#[test]
fn saved_files_are_identical_and_have_their_names() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let rows = [
        (&MP3, "An-hour-of-sound_1lDxLnrWjwkGm.mp3"),
        (&MP4, "An-hour-of-video_1PlJQpLBvMdxE.mp4"),
        (&WAV, "Μία-ώρα-Über-die-Töne-一時間_1OwxWYzDXjWGQ.wav"),
    ];
    let nginx = site(&[&MP3, &MP4, &WAV], MODULE).start();
    let downloads: Vec<_> = rows
        .iter()
        .map(|(recording, _)| json!({ "id": recording.id, "format": recording.format }))
        .collect();
    for protocol in nginx.protocols() {
        let saved = scenario(&nginx, protocol, "downloads", json!({ "downloads": downloads }));
        for ((recording, name), saved) in rows.iter().zip(array(&saved)) {
            let what = format!("{} over {protocol:?}", recording.format);
            assert_eq!(text(saved, "name"), *name, "{what}");
            let path = Path::new(text(saved, "path"));
            let got = fs::read(path).unwrap_or_else(|e| panic!("{what}: {e}"));
            let want = fs::read(hour(&format!("hour.{}", recording.format))).expect("the file");
            same_bytes(&got, &want, &what);
            fs::remove_file(path).expect("a saved file can be removed");
        }
        assert_eq!(array(&saved).len(), rows.len());
    }
}
