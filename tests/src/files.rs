//! Recordings: random bytes with a seed, and real ones made once per machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Mutex;

use crate::random::Random;

/// The root of the project.
pub fn project_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the project's directory")
        .to_owned()
}

/// `len` bytes that look random and are always the same for the same seed.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        out.extend_from_slice(&random.number().to_le_bytes());
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
    fs::read(kept(name)).expect("the recording can be read")
}

/// Where a recording of an hour is that tells its time to a machine, one of `hour.mp3`,
/// `hour.wav`, `hour.m4a` and `hour.mp4`: made on first use and kept in `build/tests`.
///
/// The sound is a tone of [`TONE_BASE`] Hz that grows by [`TONE_SLOPE`] Hz in a second. The
/// pictures of the video, [`PICTURE_RATE`] in a second, are [`PICTURE_COLUMNS`] columns wide, the
/// bits of the picture's number, the lowest first; white is 1.
pub fn hour(name: &str) -> PathBuf {
    kept(name)
}

/// Frequency of the tone where an hour begins.
pub const TONE_BASE: f64 = 500.0;
/// How much higher the tone is a second later.
pub const TONE_SLOPE: f64 = 1.5;
/// Bits of a picture's number.
pub const PICTURE_COLUMNS: u32 = 16;
/// Pictures in a second.
pub const PICTURE_RATE: u32 = 4;
/// Samples of the tone in a second.
const TONE_RATE: u32 = 16_000;

/// The path of a recording in `build/tests`; made if it is not there.
fn kept(name: &str) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());

    let dir = project_dir().join("build/tests");
    let path = dir.join(name);
    // Needed by those of another format, which would wait for this very lock.
    if name.starts_with("hour.") && name != "hour.wav" {
        kept("hour.wav");
    }
    if name == "hour.mp4" {
        kept("hour.m4a");
    }
    let _guard = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !path.is_file() {
        fs::create_dir_all(&dir).expect("build/tests can be made");
        let (stem, extension) = name.rsplit_once('.').expect("an extension");
        // Another run may be making the same file: each writes its own and renames it.
        let unfinished = dir.join(format!("unfinished-{}.{extension}", process::id()));
        match stem {
            "talk" => make_talk(name, &unfinished),
            "hour" => make_hour(name, &dir, &unfinished),
            _ => panic!("there is no recipe for {name}"),
        }
        fs::rename(&unfinished, &path).expect("the recording can be renamed");
    }
    path
}

fn make_talk(name: &str, path: &Path) {
    let tone = "sine=frequency=330:beep_factor=4:duration=20";
    let picture = "testsrc=duration=20:size=160x120:rate=10";
    let mut arguments: Vec<&str> = vec!["-f", "lavfi", "-i", tone];
    match name {
        "talk.mp3" => arguments.extend(["-c:a", "libmp3lame", "-b:a", "64k"]),
        "talk.wav" => arguments.extend(["-c:a", "pcm_s16le", "-ar", "16000"]),
        "talk.m4a" => arguments.extend(["-c:a", "aac", "-movflags", "+faststart"]),
        "talk.mp4" => {
            arguments.extend(["-f", "lavfi", "-i", picture, "-c:v", "mpeg4", "-g", "10"]);
            arguments.extend(["-c:a", "aac", "-movflags", "+faststart"]);
        }
        _ => panic!("there is no recipe for {name}"),
    }
    ffmpeg(&arguments, path);
}

fn make_hour(name: &str, dir: &Path, path: &Path) {
    // The integral of the frequency is the phase.
    let tone = format!(
        "aevalsrc='0.5*sin(2*PI*t*({TONE_BASE}+{}*t))':s={TONE_RATE}:d=3600",
        TONE_SLOPE / 2.0
    );
    let picture = format!(
        "color=black:s={PICTURE_COLUMNS}x2:r={PICTURE_RATE}:d=3600,\
         geq=lum='16+219*mod(floor(N/pow(2,X)),2)':cb=128:cr=128,scale=256:144:flags=neighbor"
    );
    let wav = dir.join("hour.wav");
    let wav = wav.to_str().expect("a UTF-8 path");
    let m4a = dir.join("hour.m4a");
    let m4a = m4a.to_str().expect("a UTF-8 path");
    match name {
        "hour.wav" => ffmpeg(&["-f", "lavfi", "-i", &tone, "-c:a", "pcm_s16le"], path),
        "hour.mp3" => {
            // Of a constant bit rate, as the recordings of the application were.
            let coder = ["-c:a", "libmp3lame", "-b:a", "64k", "-compression_level", "9"];
            ffmpeg(&[&["-i", wav], &coder[..]].concat(), path);
        }
        "hour.m4a" => {
            let coder = ["-c:a", "aac", "-aac_coder", "fast", "-b:a", "64k"];
            ffmpeg(&[&["-i", wav], &coder[..], &["-movflags", "+faststart"]].concat(), path);
        }
        "hour.mp4" => {
            let coder = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"];
            let arguments = [
                &["-f", "lavfi", "-i", &picture, "-i", m4a, "-c:a", "copy", "-g", "20"],
                &coder[..],
                &["-movflags", "+faststart"],
            ];
            ffmpeg(&arguments.concat(), path);
        }
        _ => panic!("there is no recipe for {name}"),
    }
}

fn ffmpeg(arguments: &[&str], path: &Path) {
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(arguments)
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .unwrap_or_else(|e| panic!("cannot run ffmpeg: {e}"));
    assert!(status.success(), "ffmpeg could not make {}", path.display());
}
