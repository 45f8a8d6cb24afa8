// The README's picture of the demonstration's page, while `make run` serves it (demo/screenshot).

import { run, settings } from "./browser.mjs";

await run(async (context) => {
  const page = await context.newPage();
  await page.setViewportSize({ width: settings.width, height: settings.height });
  await page.emulateMedia({ colorScheme: settings.colorScheme });
  await page.goto(`${settings.origin}/`);

  // In the midst of the hour, and of the video.
  await page.evaluate(async () => {
    const seek = async (media, place) => {
      const seeked = new Promise((resolve) => { media.onseeked = resolve; });
      await media.play();
      media.currentTime = place;
      await seeked;
      media.pause();
    };
    await seek(document.querySelector("audio"), 2210);
    await seek(document.querySelector("video"), 12);
    document.querySelector("video").plyr.toggleControls(true);
  });
  await page.screenshot({ path: settings.picture });
});
