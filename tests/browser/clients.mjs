// Chromium as a listener: pages that are only loaded, with each "preload", then players that play
// and seek.

import { open, require, run, settings } from "./browser.mjs";

const SECONDS = 1000;

const clients = {
  "Chromium, page with preload=none": ["none", (page) => page.waitForTimeout(5 * SECONDS)],
  "Chromium, page with preload=metadata": ["metadata", (page) => page.waitForTimeout(5 * SECONDS)],
  "Chromium, page with preload=auto, left after 5 s":
    ["auto", (page) => page.waitForTimeout(5 * SECONDS)],
  "Chromium, 5 s": ["none", (page) => play(page, 5)],
  "Chromium, 30 s": ["none", (page) => play(page, 30)],
  "Chromium, 50 seeks": ["metadata", seek],
};

await run(async (context) => {
  const [preload, act] = clients[settings.client];
  const { page, account } = await open(context);
  await page.goto(`${settings.origin}/`);
  await page.setContent(`<audio controls preload="${preload}" src="${settings.path}"></audio>`);
  await act(page);
  require(account.failed().length === 0, JSON.stringify(account.failed()));
  await page.close();
});

async function play(page, seconds) {
  await page.evaluate(async (seconds) => {
    const media = document.querySelector("audio");
    await media.play();
    await new Promise((resolve) => {
      media.ontimeupdate = () => media.currentTime >= seconds && resolve();
    });
  }, seconds);
}

// Places all over the recording; nothing is played in between.
async function seek(page) {
  await page.evaluate(async () => {
    const media = document.querySelector("audio");
    if (!(media.readyState >= 1)) {
      await new Promise((resolve) => { media.onloadedmetadata = resolve; });
    }
    for (let i = 1; i <= 50; i++) {
      const seeked = new Promise((resolve) => { media.onseeked = resolve; });
      media.currentTime = media.duration * ((i * 0.618) % 1);
      await seeked;
    }
  });
}
