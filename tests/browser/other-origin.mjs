// Plays a recording on a page of another origin, with `crossorigin`, and reads a range by script.

import { open, require, run, settings } from "./browser.mjs";

await run(async (context) => {
  const { page, account } = await open(context, { probe: true });
  const { id, code, places } = settings.recordings[0];
  const url = `${settings.origin}/download/${id}`;
  await page.goto(`${settings.pageOrigin}/?src=${encodeURIComponent(url)}`);
  require(new URL(settings.pageOrigin).origin !== settings.origin, "the origins are the same");

  // Without the server's permission the sound would be silence to Web Audio.
  const media = await page.locator("audio").elementHandle();
  await page.evaluate(([media, code]) => probe.attach(media, code), [media, code]);
  await page.evaluate(async () => {
    await probe.media.play();
    await probe.playing();
  });
  const seeks = [];
  for (const place of places) {
    seeks.push(await page.evaluate((place) => probe.seek(place), place));
  }

  const answer = await page.evaluate(async (url) => {
    const response = await fetch(url, { headers: { Range: "bytes=1000-1999" } });
    return {
      status: response.status,
      contentRange: response.headers.get("Content-Range"),
      contentLength: response.headers.get("Content-Length"),
      length: (await response.arrayBuffer()).byteLength,
    };
  }, url);

  // A header of its own makes the browser ask beforehand (OPTIONS), and it may be told no.
  const refused = await page.evaluate((url) =>
    fetch(url, { headers: { "X-Anything": "1" } }).then(() => false, () => true), url);
  require(refused, "a header that the server does not allow was sent");

  // The browser's account of that refusal, and nothing else of what failed, is as it has to be.
  await page.goto("about:blank");
  for (const [id, { type, failure }] of account.requests) {
    if (type !== "Media" && failure === "net::ERR_FAILED") {
      account.requests.delete(id);
    }
  }
  account.complaints = account.complaints.filter(
    (text) => !text.includes("x-anything") && !text.includes("net::ERR_FAILED"));
  const problems = account.problems(settings.sizes);
  require(problems.length === 0, problems.join("\n"));
  return { seeks, answer };
});
