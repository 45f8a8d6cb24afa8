// Runs in the page under test, before its own scripts: seeks as the page's player does, and reads
// from what the browser decodes at which place of the recording it is.
//
// The recordings tell their time to a machine (tests/src/files.rs): the sound is a tone whose
// frequency grows with the time, a picture is a row of black and white columns, the bits of its
// number. All waiting is for events and for drawn frames, up to a deadline.
"use strict";

{
  const DEADLINE = 60_000;

  // How far the decoded place may be from `currentTime`, in seconds. The clock goes on while the
  // sound is read, and pictures follow each other every quarter of a second.
  const TOLERANCE = 0.5;

  const FFT_SIZE = 8192;

  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));

  const describe = (media) =>
    `currentTime ${media.currentTime}, seeking ${media.seeking}, paused ${media.paused}, ` +
    `readyState ${media.readyState}, networkState ${media.networkState}`;

  async function until(media, isSo, what, deadline = DEADLINE) {
    const end = performance.now() + deadline;
    while (!isSo()) {
      if (media.error) {
        throw new Error(`${what}: error ${media.error.code} ${media.error.message}`);
      }
      if (performance.now() > end) {
        throw new Error(`${what}: not so in ${deadline} ms; ${describe(media)}`);
      }
      await frame();
    }
  }

  function event(media, name) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no "${name}" in ${DEADLINE} ms; ${describe(media)}`)), DEADLINE);
      media.addEventListener(name, () => { clearTimeout(timer); resolve(); }, { once: true });
      media.addEventListener("error", () => {
        clearTimeout(timer);
        reject(new Error(`error instead of "${name}": ${media.error?.message}`));
      }, { once: true });
    });
  }

  // Gives a function that reads the place in seconds, NaN where nothing can be read yet.
  async function tone(media, { base, slope }) {
    const context = new AudioContext();
    const analyser = new AnalyserNode(context, { fftSize: FFT_SIZE, smoothingTimeConstant: 0 });
    context.createMediaElementSource(media).connect(analyser).connect(context.destination);
    await context.resume();
    const window = FFT_SIZE / context.sampleRate;
    const levels = new Float32Array(analyser.frequencyBinCount);
    return {
      // From now on, so many seconds until only what is heard from now on is looked at.
      window,
      clock: () => context.currentTime,
      read() {
        analyser.getFloatFrequencyData(levels);
        let peak = 1;
        for (let i = 2; i < levels.length - 1; i++) {
          if (levels[i] > levels[peak]) {
            peak = i;
          }
        }
        // The top of the parabola through the three levels around the peak.
        const [left, middle, right] = levels.slice(peak - 1, peak + 2);
        const bin = peak + (left - right) / (2 * (left - 2 * middle + right));
        const frequency = bin * context.sampleRate / FFT_SIZE;
        // It is that of the middle of the window.
        return (frequency - base) / slope + window / 2;
      },
    };
  }

  function picture(media, { columns, rate }) {
    const canvas = new OffscreenCanvas(columns, 1);
    const drawing = canvas.getContext("2d", { willReadFrequently: true });
    drawing.imageSmoothingEnabled = false;
    return {
      window: 0,
      clock: () => 0,
      read() {
        drawing.drawImage(media, 0, 0, columns, 1);
        const pixels = drawing.getImageData(0, 0, columns, 1).data;
        let number = 0;
        for (let column = 0; column < columns; column++) {
          number += pixels[4 * column] > 127 ? 2 ** column : 0;
        }
        // The middle of the time in which it is shown.
        return (number + 0.5) / rate;
      },
    };
  }

  window.probe = {
    // `code` tells how the recording tells its time, and how long to wait until it does.
    async attach(media, code) {
      performance.setResourceTimingBufferSize(10_000);
      this.media = media;
      this.patience = code.patience;
      this.decoder = code.columns ? picture(media, code) : await tone(media, code);
    },

    async playing() {
      const { media } = this;
      const start = media.currentTime;
      await until(media, () => !media.seeking && media.currentTime > start, "it plays");
      return this.decoded();
    },

    // Another recording in the same player.
    async load(src) {
      const { media } = this;
      const loaded = event(media, "loadedmetadata");
      media.src = src;
      await Promise.all([loaded, media.play()]);
      return this.playing();
    },

    // Asks for a part of a file, and waits until the browser's account of it is there.
    async fetchPart(url) {
      const { href } = new URL(url, location);
      const response = await fetch(href, { headers: { Range: "bytes=0-999" }, cache: "no-store" });
      await response.arrayBuffer();
      await until(this.media, () => performance.getEntriesByName(href).length > 0,
        `the protocol of ${href} can be read`);
    },

    // Plays on for so long.
    async listen(seconds) {
      const { media } = this;
      const end = media.currentTime + seconds;
      await until(media, () => media.currentTime >= end, `it plays for ${seconds} seconds`,
        1000 * seconds + DEADLINE);
    },

    // Seeks and gives the time in milliseconds until `seeked`, where it landed, and what is
    // decoded there.
    async seek(place) {
      const { media } = this;
      const seeked = event(media, "seeked");
      const start = performance.now();
      // What the page's slider does, too.
      media.plyr.currentTime = place;
      await seeked;
      const landed = media.currentTime;
      const milliseconds = performance.now() - start;
      // The clock may have gone on for as long as it took until this runs.
      if (landed < place - 0.1 || landed > place + milliseconds / 1000 + 0.1) {
        throw new Error(`a seek to ${place} landed at ${landed} after ${milliseconds} ms`);
      }
      await until(media, () => !media.seeking && media.currentTime > landed,
        `after a seek to ${place} it plays on`);
      const decoded = await this.decoded();
      return { place, milliseconds, landed, ...decoded };
    },

    // Reads once nothing of what was heard before is in the window, and again while the sound is
    // still being buffered, until it is right or the deadline is over.
    async decoded() {
      const { media, decoder } = this;
      const filled = decoder.clock() + decoder.window;
      let place, current;
      const isRight = () => {
        current = media.currentTime;
        place = decoder.read();
        return decoder.clock() >= filled && Math.abs(place - current) <= TOLERANCE;
      };
      try {
        await until(media, isRight, "what is decoded is what was asked for", this.patience);
      } catch (error) {
        throw new Error(`${error.message}; decoded is ${place} at ${current}`);
      }
      return { decoded: place, current };
    },
  };
}
