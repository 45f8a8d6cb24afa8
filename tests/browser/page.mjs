// The demonstration's page: what it shows, by keyboard, on a phone, in the dark.

import { open, require, run, settings } from "./browser.mjs";
import { contrastsOf, fitsPhone } from "./look.mjs";

await run(async (context) => {
  const { page, account } = await open(context);
  await page.goto(`${settings.origin}/`);
  // The page fetches its list of recordings after it was loaded.
  await page.locator("main[aria-busy=false]").waitFor();
  const shown = await page.locator("article").evaluateAll((articles) => articles.map((article) => ({
    id: article.id,
    title: article.querySelector("h2").textContent,
    facts: article.querySelector(".facts").textContent,
    players: article.querySelectorAll(".plyr").length,
    media: article.querySelector("audio, video").localName,
    links: [...article.querySelectorAll("nav a")].map((a) => a.textContent),
  })));

  await byKeyboard(page);
  await byMouse(page);

  await fitsPhone(page);
  const contrasts =
    await contrastsOf(page, "h1, h2, p, nav a, header a, .plyr--audio .plyr__time");

  require(account.failed().length === 0, JSON.stringify(account.failed()));
  require(account.complaints.length === 0, account.complaints.join("\n"));
  const elsewhere = [...account.requests.values()]
    .filter(({ url }) => !url.startsWith(settings.origin) && !url.startsWith("data:"));
  require(elsewhere.length === 0, `asked of others: ${JSON.stringify(elsewhere)}`);
  return { shown, contrasts };
});

// From the top of the page with the tabulator: the link to the counts, the first player, its buttons,
// its download links.
async function byKeyboard(page) {
  const first = await page.locator("article audio").first().elementHandle();

  const seen = [];
  for (let i = 0; i < 9; i++) {
    await page.keyboard.press("Tab");
    seen.push(await page.evaluate(() => {
      const { localName, dataset, href } = document.activeElement;
      return dataset.plyr ?? (href ? "link" : localName);
    }));
    const outline = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement);
      return style.outlineStyle !== "none" || style.boxShadow !== "none";
    });
    require(outline, `the focus on ${seen.at(-1)} cannot be seen`);
    if (seen.at(-1) === "play") {
      await page.keyboard.press("Space");
      await page.waitForFunction((element) => element.currentTime > 0.2 && !element.paused, first);
    }
    if (seen.at(-1) === "seek") {
      // It jumps further than it would have played meanwhile.
      const start = await first.evaluate((element) => [element.currentTime, performance.now()]);
      await page.keyboard.press("ArrowRight");
      await page.waitForFunction(([element, [place, time]]) =>
        !element.seeking && element.currentTime - place > 5 + (performance.now() - time) / 1000,
        [first, start]);
    }
    if (seen.at(-1) === "link" && seen.includes("play")) {
      break;
    }
  }
  for (const name of ["play", "seek", "mute", "link"]) {
    require(seen.includes(name), `the tabulator does not reach ${name}: ${seen}`);
  }
}

// A click into the middle of the slider leads to the middle of the recording; the player that is
// started last is the only one that plays.
async function byMouse(page) {
  const article = page.locator("article").first();
  const media = await article.locator("audio").elementHandle();
  const seeked = media.evaluate((element) => new Promise((resolve) =>
    element.addEventListener("seeked", () => resolve(element.currentTime), { once: true })));
  await article.locator("input[data-plyr=seek]").click();
  const place = await seeked;
  const length = await media.evaluate((element) => element.duration);
  require(Math.abs(place / length - 0.5) < 0.01, `the middle of ${length} is ${place}`);

  await page.locator("article").nth(1).locator("button[data-plyr=play]").first().click();
  await page.waitForFunction(() => {
    const [first, second] = document.querySelectorAll("audio, video");
    return first.paused && !second.paused && second.currentTime > 0;
  });
}
