// Debian's Chromium: starts it, and keeps account of all that it asks for.

import { X509Certificate, createHash } from "node:crypto";
import { mkdtempSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

// What the test that starts this wants.
export const settings = JSON.parse(process.argv[2]);

const { chromium } = createRequire(`${settings.modules}/`)("playwright-core");

const DEADLINE = 60_000;

// Starts the browser with a new profile. It speaks one protocol with the server: HTTP/3 where
// `h3` is asked for, else what TLS agrees on.
export async function start() {
  const { protocol, tlsPort, certificate, directory } = settings;
  const key = new X509Certificate(readFileSync(certificate)).publicKey;
  const fingerprint =
    createHash("sha256").update(key.export({ type: "spki", format: "der" })).digest("base64");
  const context = await chromium.launchPersistentContext(mkdtempSync(join(directory, "profile-")), {
    executablePath: "/usr/bin/chromium",
    headless: true,
    // The sandbox does not work for root, and all pages are the test's own.
    chromiumSandbox: false,
    timeout: DEADLINE,
    acceptDownloads: true,
    downloadsPath: mkdtempSync(join(directory, "downloads-")),
    args: [
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
      "--autoplay-policy=no-user-gesture-required",
      // One address, and nothing but this machine.
      "--host-resolver-rules=MAP localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
      // The throw-away certificate, by its public key. QUIC does not care for the option that
      // ignores all errors of certificates.
      `--ignore-certificate-errors-spki-list=${fingerprint}`,
      // A browser begins with HTTP/3 on its own only where it trusts the certificate.
      protocol === "h3" ? `--origin-to-force-quic-on=localhost:${tlsPort}` : "--disable-quic",
    ],
  });
  context.setDefaultTimeout(DEADLINE);
  return context;
}

// A new page with its account.
export async function open(context, options = {}) {
  const page = await context.newPage();
  if (options.probe) {
    await page.addInitScript({ path: join(here, "in-page.js") });
  }
  const account = new Account();
  await account.follow(context, page);
  return { page, account };
}

// All that a page asks for, as the browser's own network log (the DevTools protocol) tells it,
// and what it writes to the console.
export class Account {
  requests = new Map();
  complaints = [];

  async follow(context, page) {
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) {
        this.complaints.push(`console: ${message.text()}`);
      }
    });
    page.on("pageerror", (error) => this.complaints.push(`in the page: ${error.stack ?? error}`));
    page.on("crash", () => this.complaints.push("the page crashed"));

    const devtools = await context.newCDPSession(page);
    devtools.on("Network.requestWillBeSent", ({ requestId, request, type }) => {
      this.requests.set(requestId, {
        url: request.url,
        method: request.method,
        type,
        range: request.headers.Range,
        bytes: 0,
      });
    });
    devtools.on("Network.responseReceived", ({ requestId, response }) => {
      const headers = new Headers(response.headers);
      this.note(requestId, {
        status: response.status,
        protocol: response.protocol,
        fromCache: response.fromDiskCache,
        contentRange: headers.get("content-range"),
        contentLength: headers.get("content-length"),
      });
    });
    devtools.on("Network.dataReceived", ({ requestId, encodedDataLength }) => {
      const request = this.requests.get(requestId);
      if (request) {
        request.bytes += encodedDataLength;
      }
    });
    devtools.on("Network.loadingFailed", ({ requestId, errorText, canceled }) => {
      this.note(requestId, { failure: errorText, canceled });
    });
    await devtools.send("Network.enable");
  }

  note(id, facts) {
    Object.assign(this.requests.get(id) ?? {}, facts);
  }

  of(path) {
    return [...this.requests.values()].filter((request) => new URL(request.url).pathname === path);
  }

  // The failed requests.
  //
  // A media element that seeks cancels the request it reads from and makes another one. Chromium
  // calls that a failure as well, "net::ERR_ABORTED", and says that it was canceled: by the page,
  // that is, for what the server or the network do wrong has another name and is not "canceled".
  // Such requests of media elements are no failures here; what they had been answered is looked
  // at all the same.
  failed() {
    return [...this.requests.values()].filter(
      ({ type, failure, canceled }) =>
        failure && !(type === "Media" && canceled && failure === "net::ERR_ABORTED"));
  }

  // What is not as it has to be. `sizes` has the length of the file behind each path.
  problems(sizes) {
    const problems = [...this.complaints];
    for (const request of this.failed()) {
      problems.push(`${request.url} ${request.range ?? ""}: ${request.failure}`);
    }
    for (const request of this.requests.values()) {
      const { url, method, range, status, protocol, contentRange } = request;
      // Canceled before there was an answer.
      if (status === undefined || !url.startsWith("http")) {
        continue;
      }
      const problem = (text) => problems.push(`${url} ${range ?? ""}: ${text}`);
      if (protocol !== settings.protocol && !settings.otherOrigins?.includes(new URL(url).origin)) {
        problem(`came by ${protocol}`);
      }
      if (!range) {
        if (status !== (method === "OPTIONS" ? 204 : 200)) {
          problem(`status ${status}`);
        }
        continue;
      }
      const length = sizes[new URL(url).pathname];
      const [, first, last] = range.match(/^bytes=(\d+)-(\d*)$/) ?? [];
      if (first === undefined) {
        problem("a range that this test does not know");
      } else if (status !== 206) {
        problem(`status ${status} for a range`);
      } else {
        const end = Math.min(last || Infinity, length - 1);
        if (contentRange !== `bytes ${first}-${end}/${length}`) {
          problem(`Content-Range: ${contentRange}`);
        }
        if (request.contentLength !== String(end - first + 1)) {
          problem(`Content-Length: ${request.contentLength} with Content-Range: ${contentRange}`);
        }
      }
    }
    return problems;
  }
}

// The protocols of the page and of what it loaded, as the page itself reads them. Empty are those
// of requests that the page canceled, and of other origins.
export function protocolsRead(page) {
  return page.evaluate(() =>
    [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
      .map((entry) => ({ path: new URL(entry.name).pathname, protocol: entry.nextHopProtocol })));
}

export function require(condition, message) {
  if (!condition) {
    throw new Error(message);
  }
}

// Runs a scenario and hands what it gives to the test, as the last line of stdout.
export async function run(scenario) {
  let context;
  try {
    context = await start();
    const result = await scenario(context);
    await context.close();
    process.stdout.write(`${JSON.stringify(result ?? {})}\n`);
  } catch (error) {
    process.stderr.write(`${error.stack}\n`);
    process.exitCode = 1;
    await context?.close();
  }
}
