// Clicks the page's download links and keeps what the browser saves.

import { renameSync } from "node:fs";
import { join } from "node:path";
import { open, require, run, settings } from "./browser.mjs";

await run(async (context) => {
  const { page, account } = await open(context);
  await page.goto(`${settings.origin}/`);
  const saved = [];
  for (const [index, { id, format }] of settings.downloads.entries()) {
    const link = page.locator(`[id="${id}"] nav a`, { hasText: format.toUpperCase() });
    const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
    const path = await download.path();
    const failure = await download.failure();
    require(failure === null, `${download.url()}: ${failure}`);
    const kept = join(settings.directory, `saved-${index}`);
    renameSync(path, kept);
    saved.push({ id, format, path: kept, name: download.suggestedFilename() });
  }
  require(page.url() === `${settings.origin}/`, `a link led to ${page.url()}`);
  // A navigation that turns into a download ends as a navigation; that is no failure.
  const failed = account.failed().filter(({ url, failure }) =>
    !(url.includes("attachment=1") && failure === "net::ERR_ABORTED"));
  require(failed.length === 0, JSON.stringify(failed));
  require(account.complaints.length === 0, account.complaints.join("\n"));
  const answers = [...account.requests.values()].filter(({ url }) => url.includes("attachment=1"));
  for (const { url, protocol } of answers) {
    require(protocol === undefined || protocol === settings.protocol, `${url} by ${protocol}`);
  }
  return saved;
});
