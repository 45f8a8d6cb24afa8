// Plays recordings on the demonstration's page and seeks in them.

import { readFileSync } from "node:fs";
import { open, protocolsRead, require, run, settings } from "./browser.mjs";

await run(async (context) => {
  const results = [];
  for (const recording of settings.recordings) {
    results.push(await playAndSeek(context, recording));
  }
  return results;
});

// Opens the page, plays the recording `id`, then the same file from each of `sources`, with all
// the seeks in each, and then for `listening` seconds without a seek. The first source is the
// page's own. Where it `mayFail`, what goes wrong is told and not an end of it.
async function playAndSeek(context, { id, code, places, sources, listening, mayFail }) {
  const { page, account } = await open(context, { probe: true });
  await page.goto(`${settings.origin}/`);
  const article = page.locator(`[id="${id}"]`);
  const media = await article.locator("audio, video").elementHandle();
  await page.evaluate(([media, code]) => probe.attach(media, code), [media, code]);

  const results = [];
  for (const [index, source] of sources.entries()) {
    const result = { name: source.name, seeks: [] };
    const endedBefore = workersEnded();
    try {
      if (index === 0) {
        await article.locator("button[data-plyr=play]").first().click();
        await page.evaluate(() => probe.playing());
        const src = new URL(await media.evaluate((element) => element.currentSrc));
        require(src.pathname === source.path, `the page plays ${src}`);
      } else {
        await page.evaluate((path) => probe.load(path), source.path + (source.query ?? ""));
      }
      for (const place of places) {
        result.seeks.push(await page.evaluate((place) => probe.seek(place), place));
      }
    } catch (error) {
      if (!mayFail) {
        throw new Error(`${error.message}\n${account.problems(settings.sizes).join("\n")}`);
      }
      result.error = error.message;
    }
    const requests = () => account.of(source.path);
    const failed = () => account.failed().filter((request) => requests().includes(request)).length;
    result.failed = failed();
    if (listening && !result.error) {
      await page.evaluate((seconds) => probe.listen(seconds), listening)
        .catch((error) => { result.error = error.message; });
      result.failedWhileListening = failed() - result.failed;
    }
    result.workersEnded = workersEnded() - endedBefore;
    result.canceled = requests().filter((request) => request.canceled).length;
    results.push(result);
  }

  // The browser keeps to itself the protocol of a request that was canceled, which all may have
  // been: so one more is read to its end.
  await page.evaluate((url) => probe.fetchPart(url), `${sources[0].path}?protocol`);
  const read = await protocolsRead(page);
  const mine = read.filter(({ path }) => path === sources[0].path);
  // Requests end, and their connections are free, before the next page.
  await page.goto("about:blank");
  await page.close();
  const problems = account.problems(settings.sizes);
  for (const { path, protocol } of read) {
    if (protocol !== "" && protocol !== settings.protocol) {
      problems.push(`${path} came by ${protocol}, says the page`);
    }
  }
  if (!mine.some(({ protocol }) => protocol === settings.protocol)) {
    problems.push(`the page cannot tell the protocol of ${JSON.stringify(mine)}`);
  }
  if (!mayFail) {
    require(problems.length === 0, problems.join("\n"));
  }
  return { results, problems };
}

// How many of its workers gunicorn has ended because they did nothing for too long but send an
// answer.
function workersEnded() {
  const log = settings.applicationLog;
  return log ? readFileSync(log, "utf8").split("WORKER TIMEOUT").length - 1 : 0;
}
