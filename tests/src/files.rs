//! Recordings: random bytes with a seed, and real ones made once per machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Mutex;

/// The root of the project.
pub fn project_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the project's directory")
        .to_owned()
}

/// `len` bytes that look random and are always the same for the same seed.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Fails with the place of the first difference; the bytes themselves would fill the screen.
#[track_caller]
pub fn same_bytes(got: &[u8], want: &[u8], what: &str) {
    if got == want {
        return;
    }
    let at = got.iter().zip(want).position(|(a, b)| a != b).unwrap_or(got.len().min(want.len()));
    panic!(
        "{what}: {} bytes where {} were expected, different from byte {at} on: {:?} where {:?} \
         were expected",
        got.len(),
        want.len(),
        String::from_utf8_lossy(&got[at..got.len().min(at + 40)]),
        String::from_utf8_lossy(&want[at..want.len().min(at + 40)]),
    );
}

/// A recording by real encoders, one of `talk.mp3`, `talk.wav`, `talk.m4a` and `talk.mp4`: made
/// on first use and kept in `build/tests`.
pub fn real_recording(name: &str) -> Vec<u8> {
    static MAKING: Mutex<()> = Mutex::new(());

    let dir = project_dir().join("build/tests");
    let path = dir.join(name);
    let _guard = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !path.is_file() {
        fs::create_dir_all(&dir).expect("build/tests can be made");
        let (_, extension) = name.rsplit_once('.').expect("an extension");
        // Another run may be making the same file: each writes its own and renames it.
        let unfinished = dir.join(format!("unfinished-{}.{extension}", process::id()));
        make(name, &unfinished);
        fs::rename(&unfinished, &path).expect("the recording can be renamed");
    }
    fs::read(&path).expect("the recording can be read")
}

fn make(name: &str, path: &Path) {
    let tone = "sine=frequency=330:beep_factor=4:duration=20";
    let picture = "testsrc=duration=20:size=160x120:rate=10";
    let mut arguments: Vec<&str> = vec!["-f", "lavfi", "-i", tone];
    match name {
        "talk.mp3" => arguments.extend(["-c:a", "libmp3lame", "-b:a", "64k"]),
        "talk.wav" => arguments.extend(["-c:a", "pcm_s16le", "-ar", "16000"]),
        "talk.m4a" => arguments.extend(["-c:a", "aac", "-movflags", "+faststart"]),
        "talk.mp4" => arguments.extend([
            "-f",
            "lavfi",
            "-i",
            picture,
            "-c:v",
            "mpeg4",
            "-g",
            "10",
            "-c:a",
            "aac",
            "-movflags",
            "+faststart",
        ]),
        _ => panic!("there is no recipe for {name}"),
    }
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(&arguments)
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .unwrap_or_else(|e| panic!("cannot run ffmpeg: {e}"));
    assert!(status.success(), "ffmpeg could not make {name}");
}
