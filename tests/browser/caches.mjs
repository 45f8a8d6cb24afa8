// Fetches recordings, has them refused or replaced, and fetches them again: by a script, which takes
// what the browser's cache has as a page or a player does.

import { renameSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { open, run, settings } from "./browser.mjs";

// A month ago: a browser that is told nothing takes a file of that age for fresh for three days.
const MONTH_AGO = Date.now() / 1000 - 30 * 24 * 3600;

// NGINX tells a file from its successor by second and size.
function write(name, content, time) {
  const path = join(settings.directory, name);
  writeFileSync(`${path}.new`, content, { mode: 0o644 });
  utimesSync(`${path}.new`, time, time);
  renameSync(`${path}.new`, path);
}

await run(async (context) => {
  const { page } = await open(context);
  await page.goto(`${settings.origin}/blank.html`);
  const get = (path) =>
    page.evaluate(async (path) => {
      const response = await fetch(path);
      return `${response.status} ${response.status === 200 ? await response.text() : ""}`.trim();
    }, path);

  for (const { file } of settings.recordings) {
    write(file, "old", MONTH_AGO);
  }
  const seen = {};
  for (const { path, file } of settings.recordings) {
    const answers = [await get(path), await get(path)];
    if (path === settings.refused) {
      await get("/refuse");
    } else {
      write(file, "new", MONTH_AGO + 60);
    }
    seen[path] = [...answers, await get(path)];
  }
  return seen;
});
