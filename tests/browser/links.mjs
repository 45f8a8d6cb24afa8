// Plays the demonstration's recordings behind links that end after a minute, pauses for an hour by
// the server's clock, and seeks.

import { open, protocolsRead, require, run, settings } from "./browser.mjs";
import { contrastsOf, fitsPhone } from "./look.mjs";

await run(async (context) => ({
  withSession: await pauseAndSeek(context, "with-session"),
  withoutSession: await pauseAndSeek(context, "without-session"),
}));

async function pauseAndSeek(context, name) {
  const { code, id, places } = settings.recording;
  const { page, account } = await open(context, { probe: true });
  const setClock = (seconds) =>
    page.evaluate((seconds) => fetch(`clock?seconds=${seconds}`).then((answer) => answer.text()),
      seconds);
  const seek = (place) => page.evaluate((place) => probe.seek(place), place);

  await page.goto(`${settings.origin}/links.html`);
  await page.locator("main[aria-busy=false]").waitFor();
  const contrasts = await contrastsOf(page, "h1, h2, p, p a, nav a, header a, .plyr--audio .plyr__time");
  await fitsPhone(page);
  const article = page.locator(`[id="${name}"]`);
  const text = article.locator(".link");
  const media = await article.locator("audio").elementHandle();
  await page.evaluate(([media, code]) => probe.attach(media, code), [media, code]);
  await setClock(0);
  await article.locator("button[data-plyr=play]").first().click();
  await page.evaluate(() => probe.playing());
  const good = await text.textContent();

  // While the link is good, a session makes no difference.
  const before = [];
  for (const place of places.slice(0, 2)) {
    before.push(await seek(place));
  }
  await media.evaluate((element) => element.pause());
  await setClock(3600);
  await media.evaluate((element) => { element.play(); });
  const after = [];
  let error = null;
  try {
    for (const place of places.slice(2)) {
      after.push(await seek(place));
    }
  } catch (thrown) {
    error = thrown.message;
  }
  const refused = await text.textContent();
  // A page can go on with a new link.
  const resumed = error && await setClock(0).then(() => page.evaluate(resume, name));
  const path = `/${name}/${id}`;
  if (!error) {
    // The browser does not tell the protocol of a request that was canceled.
    await page.evaluate((url) => probe.fetchPart(url), `${path}?protocol`);
    const mine = (await protocolsRead(page)).filter((read) => read.path === path);
    require(mine.some(({ protocol }) => protocol === settings.protocol), JSON.stringify(mine));
  }
  const cookies = await context.cookies(`${settings.origin}${path}`);
  await page.goto("about:blank");
  await page.close();
  const problems = account.problems(settings.sizes);
  return { before, after, error, good, refused, resumed, cookies, problems, contrasts };
}

async function resume(name) {
  const { media } = probe;
  const place = media.currentTime;
  const links = await fetch("links.json").then((answer) => answer.json());
  media.src = links.find(({ anchor }) => anchor === name).src;
  media.currentTime = place;
  await media.play();
  return { place, ...await probe.playing() };
}
