// The page of counts: what it shows, that it is live, on a phone, in the dark.

import { open, require, run, settings } from "./browser.mjs";
import { contrastsOf, fitsPhone } from "./look.mjs";

await run(async (context) => {
  const { page, account } = await open(context);
  await page.goto(`${settings.origin}/status.html`);
  await page.locator("#counts").waitFor({ state: "visible" });
  const before = await tables(page);

  // A minute of a recording, a download, and what is not there. The page is not loaded again.
  const statuses = await page.evaluate(async (requests) => {
    const statuses = [];
    for (const [path, range] of requests) {
      const response = await fetch(path, range ? { headers: { Range: range } } : {});
      await response.arrayBuffer();
      statuses.push(response.status);
    }
    return statuses;
  }, settings.requests);
  await page.waitForFunction(() => {
    const sums = [...document.querySelectorAll("#sums dd")].map((dd) => dd.textContent);
    const plays = document.querySelector("#spaces tr td:nth-child(2)")?.textContent;
    return sums[0] === "1" && sums[1] === "1" && plays === "1";
  });
  const after = await tables(page);

  await fitsPhone(page);
  const contrasts = await contrastsOf(page, "h1, h2, p, a, dt, dd, th, td, code");
  require(account.failed().length === 0, JSON.stringify(account.failed()));
  // The one of the request for what is not there.
  const complaints = account.complaints.filter((text) => !/status of 404/.test(text));
  require(complaints.length === 0, complaints.join("\n"));

  // Counts that can't be had any more stay, with a message, which goes when they are there again.
  const message = page.locator("#message");
  await page.route("**/status?*", (route) => route.fulfill({ status: 503 }));
  await message.waitFor({ state: "visible" });
  const failure = await message.textContent();
  require(await page.locator("#counts").isVisible(), "the counts are gone");
  await page.unroute("**/status?*");
  await message.waitFor({ state: "hidden" });
  return { before, after, statuses, contrasts, failure };
});

// The text of all cells.
function tables(page) {
  return page.evaluate(() => {
    const rows = (id) => [...document.querySelectorAll(`#${id} tr`)].map((row) =>
      [...row.cells].map((cell) => cell.innerText.replace(/\n/g, " ")));
    const sums = [...document.querySelectorAll("#sums div")].map((div) => div.innerText);
    return {
      sums, spaces: rows("spaces"), outcomes: rows("outcomes"), catalogs: rows("catalogs"),
    };
  });
}
