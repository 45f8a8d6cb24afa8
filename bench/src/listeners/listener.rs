//! A listener: what one does and when, and what the buffer of a player holds meanwhile.

use std::mem;
use std::time::{Duration, Instant};

use xspace_tests::Random;

/// Bytes of a second of a recording, each of them as often as the others: 128 to 320 kbit/s.
const RATES: [u32; 4] = [16_000, 24_000, 32_000, 40_000];

/// The mean time between two things that a listener does.
const BETWEEN: f64 = 30.0;

/// One of so many things done is the last one of a listener: so one stays for five minutes.
pub const THINGS_DONE: usize = 10;

/// The mean time from join to leave, in seconds.
pub const STAY: f64 = BETWEEN * THINGS_DONE as f64;

/// How much of the recording a player fetches in advance.
const AHEAD: f64 = 10.0;

/// How much of it a player has before there is sound, after a seek too.
const TO_START: f64 = 1.0;

/// What a listener does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// Goes to another position.
    Seek,
    /// Stops the sound for so long, and then goes on.
    Pause(Duration),
    /// Closes the page.
    Leave,
    /// The phone is off the network: nothing comes from it any more, no FIN either.
    Vanish,
}

/// What one listener does, the same for the same number.
#[derive(Clone, Debug)]
pub struct Script {
    random: Random,
    /// Bytes of a second of the recording.
    pub rate: u32,
}

impl Script {
    /// Of the listener with this number.
    pub fn new(number: u64) -> Self {
        let mut random = Random::new(number);
        let rate = random.pick(&RATES);
        Self { random, rate }
    }

    /// What comes next, and how long after what came before.
    pub fn next(&mut self) -> (Duration, Act) {
        // What is much longer would reach the end of a recording.
        let after = Duration::from_secs_f64(self.exponential(BETWEEN).clamp(3.0, 4.0 * BETWEEN));
        let act = match self.random.below(THINGS_DONE) {
            // One in five that go does so without a word.
            0 if self.random.one_in(5) => Act::Vanish,
            0 => Act::Leave,
            1 => Act::Pause(Duration::from_secs(10 + self.random.below(20) as u64)),
            _ => Act::Seek,
        };
        (after, act)
    }

    /// One of so many recordings.
    pub fn recording(&mut self, count: usize) -> usize {
        self.random.below(count)
    }

    /// A position in a recording, a multiple of 8 and before its last quarter.
    pub fn position(&mut self, len: u64) -> u64 {
        self.random.below((len * 3 / 4) as usize) as u64 / 8 * 8
    }

    /// A time, in seconds, of which the mean is known and nothing else.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        const BITS: u32 = 53;
        let share = (self.random.number() >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64;
        -mean * (1.0 - share).ln()
    }
}

/// What a player has of a recording, from one seek to the next.
#[derive(Clone, Copy, Debug)]
pub struct Playback {
    rate: f64,
    received: f64,
    /// When there would have been sound if it had never stopped since.
    since: Option<Instant>,
    paused: Option<Instant>,
    /// Whether nothing was left at the last look.
    is_dry: bool,
    /// How often, and for how long, there was no sound because nothing was left to play.
    stalls: u64,
    stalled: Duration,
}

impl Playback {
    /// Nothing yet of a recording with so many bytes a second.
    pub fn new(rate: u32) -> Self {
        Self {
            rate: f64::from(rate),
            received: 0.0,
            since: None,
            paused: None,
            is_dry: false,
            stalls: 0,
            stalled: Duration::ZERO,
        }
    }

    /// How many bytes a second of it has.
    pub fn rate(&self) -> usize {
        self.rate as usize
    }

    /// How often, and for how long, there was no sound because nothing was left to play, since this
    /// was called last.
    pub fn take_stalls(&mut self) -> (u64, Duration) {
        (mem::take(&mut self.stalls), mem::take(&mut self.stalled))
    }

    /// How many bytes have come.
    pub fn received(&self) -> u64 {
        self.received as u64
    }

    /// So many bytes have come.
    pub fn receive(&mut self, now: Instant, len: usize) {
        self.look(now);
        self.received += len as f64;
        self.is_dry = false;
        if self.since.is_none() && self.received >= TO_START * self.rate {
            self.since = Some(now);
        }
    }

    /// How many bytes the player would take now.
    pub fn wanted(&self, now: Instant) -> usize {
        let now = self.paused.unwrap_or(now);
        let played = self.since.map_or(0.0, |since| (now - since).as_secs_f64() * self.rate);
        (played + AHEAD * self.rate - self.received).max(0.0) as usize
    }

    /// The sound stops because the listener wants it so.
    pub fn pause(&mut self, now: Instant) {
        self.look(now);
        self.paused = Some(now);
    }

    /// It goes on.
    pub fn resume(&mut self, now: Instant) {
        if let Some(paused) = self.paused.take() {
            self.since = self.since.map(|since| since + (now - paused));
        }
    }

    /// Finds out whether the buffer ran dry before this moment.
    pub fn look(&mut self, now: Instant) {
        let (Some(since), None) = (self.since, self.paused) else { return };
        let dry = since + Duration::from_secs_f64(self.received / self.rate);
        if now > dry {
            // One that goes on is still the same.
            self.stalls += u64::from(!self.is_dry);
            self.is_dry = true;
            self.stalled += now - dry;
            self.since = Some(since + (now - dry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 1000;

    fn seconds(count: f64) -> Duration {
        Duration::from_secs_f64(count)
    }

    #[test]
    fn a_buffer_runs_dry_when_all_of_it_was_played() {
        let start = Instant::now();
        let mut playback = Playback::new(RATE);
        playback.receive(start, 500);
        playback.look(start + seconds(60.0));
        assert_eq!(playback.stalls, 0, "no sound yet");
        playback.receive(start, 500);
        playback.receive(start + seconds(0.9), 1000);
        playback.receive(start + seconds(2.0), 1000);
        assert_eq!(playback.stalls, 0, "it came in time");
        playback.receive(start + seconds(3.5), 1000);
        assert_eq!((playback.stalls, playback.stalled), (1, seconds(0.5)));
        playback.look(start + seconds(4.5));
        assert_eq!((playback.stalls, playback.stalled), (1, seconds(0.5)), "half a second later");
        playback.look(start + seconds(4.75));
        assert_eq!((playback.stalls, playback.stalled), (2, seconds(0.75)));
        playback.look(start + seconds(5.0));
        assert_eq!((playback.stalls, playback.stalled), (2, seconds(1.0)), "it goes on");
    }

    #[test]
    fn a_paused_player_takes_no_more() {
        let start = Instant::now();
        let mut playback = Playback::new(RATE);
        assert_eq!(playback.wanted(start), 10_000);
        playback.receive(start, 10_000);
        assert_eq!(playback.wanted(start), 0);
        assert_eq!(playback.wanted(start + seconds(2.0)), 2000);
        playback.pause(start + seconds(2.0));
        assert_eq!(playback.wanted(start + seconds(60.0)), 2000);
        playback.resume(start + seconds(60.0));
        assert_eq!(playback.wanted(start + seconds(61.0)), 3000);
        playback.look(start + seconds(68.0));
        assert_eq!(playback.stalls, 0);
    }

    #[test]
    fn listeners_do_what_the_page_says_that_they_do() {
        const COUNT: u64 = 20_000;
        let (mut time, mut seeks, mut gone, mut bytes) = (0.0, 0, 0, 0);
        for number in 0..COUNT {
            let mut script = Script::new(number);
            let (after, act) = script.next();
            time += after.as_secs_f64() / COUNT as f64;
            bytes += u64::from(script.rate);
            seeks += u64::from(act == Act::Seek);
            gone += u64::from(matches!(act, Act::Leave | Act::Vanish));
            let position = script.position(1 << 20);
            assert!(position % 8 == 0 && position < 3 << 18, "{position}");
        }
        assert!((28.0..32.0).contains(&time), "{time}");
        assert!((27_500..28_500).contains(&(bytes / COUNT)), "{bytes}");
        assert!((15_500..16_500).contains(&seeks), "{seeks}");
        assert!((1900..2100).contains(&gone), "{gone}");
    }
}
