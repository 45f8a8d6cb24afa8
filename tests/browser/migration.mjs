// Plays a recording on a page of the replaced application and seeks in it.

import { open, require, run, settings } from "./browser.mjs";

await run(async (context) => {
  const { page, account } = await open(context, { probe: true });
  const { id, code, places } = settings.recordings[0];
  await page.goto(`${settings.origin}/spaces/${id}`);
  const media = await page.locator("audio").elementHandle();
  // The test seeks through Plyr on the other pages.
  await media.evaluate((element) => { element.plyr = element; });
  await page.evaluate(([media, code]) => probe.attach(media, code), [media, code]);
  await page.evaluate(async () => {
    await probe.media.play();
    await probe.playing();
  });
  const src = new URL(await media.evaluate((element) => element.currentSrc));
  require(src.pathname === `/audio/${id}.mp3`, `the page plays ${src}`);
  const seeks = [];
  for (const place of places) {
    seeks.push(await page.evaluate((place) => probe.seek(place), place));
  }

  // The link beside the player.
  const waiting = page.waitForEvent("download");
  await page.locator("a").click();
  const download = await waiting;
  const name = download.suggestedFilename();
  await download.cancel();

  await page.goto("about:blank");
  // The browser counts a canceled download as failed.
  for (const [id, { url }] of account.requests) {
    if (url.includes("attachment=1")) {
      account.requests.delete(id);
    }
  }
  const problems = account.problems(settings.sizes);
  require(problems.length === 0, problems.join("\n"));
  return { seeks, name };
});
