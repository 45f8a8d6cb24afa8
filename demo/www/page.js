// Fills the list of a page: for each recording a player, and a link to each of its files or, on
// links.html, until when the link to it is good. demo/catalog writes recordings.json, and
// demo/application/links.py returns links.json.
"use strict";

const main = document.querySelector("main");
const message = document.getElementById("message");
const list = document.getElementById("recordings");
const template = document.getElementById("recording");

show().catch((error) => {
  message.textContent = `The list of recordings could not be loaded (${error.message}).`;
}).finally(() => {
  main.setAttribute("aria-busy", "false");
});

async function show() {
  const response = await fetch(main.dataset.list);
  if (!response.ok) {
    throw new Error(`status ${response.status}`);
  }
  const recordings = await response.json();
  list.append(...recordings.map(item));
  message.textContent = recordings.length ? "" : "There are no recordings.";
  message.hidden = recordings.length > 0;
  list.querySelectorAll("audio, video").forEach(addPlayer);
}

function item(recording) {
  const node = template.content.cloneNode(true);
  const formats = recording.files.map((file) => file.format.toUpperCase());
  const bytes = recording.files.reduce((sum, file) => sum + file.bytes, 0);
  node.querySelector("article").id = recording.anchor ?? recording.id;
  node.querySelector("h2").textContent = recording.title;
  node.querySelector(".facts").textContent =
    [length(recording.seconds), size(bytes), formats.join(", ")].join(" · ");
  const element = media(recording);
  node.querySelector(".player").append(element);
  const nav = node.querySelector("nav");
  if (nav) {
    nav.setAttribute("aria-label", `Download ${recording.title}`);
    nav.append(...recording.files.map((file) => link(recording, file)));
  } else {
    tellEnd(recording, element, node.querySelector(".link"));
  }
  return node;
}

function media(recording) {
  const hasVideo = recording.files.some((file) => file.type.startsWith("video/"));
  const element = document.createElement(hasVideo ? "video" : "audio");
  element.src = recording.src ?? `download/${recording.id}${hasVideo ? "?format=video" : ""}`;
  // A video shows its first picture; of sound nothing is needed before it is played.
  element.preload = hasVideo ? "metadata" : "none";
  element.controls = true;
  element.dataset.seconds = recording.seconds;
  element.setAttribute("aria-label", recording.title);
  return element;
}

function link(recording, file) {
  const format = file.format.toUpperCase();
  const a = document.createElement("a");
  a.href = `download/${recording.id}.${file.format}?attachment=1`;
  a.textContent = `↓ ${format}, ${size(file.bytes)}`;
  a.setAttribute("aria-label", `Download as ${format}, ${size(file.bytes)}`);
  return a;
}

// Writes until when a link is good, that it has ended, and that a player was refused.
function tellEnd(recording, element, text) {
  const end = new Date(Date.now() + 1000 * recording.lasts);
  text.textContent = `The link is good until ${end.toLocaleTimeString()}.`;
  const timer = setTimeout(() => {
    text.textContent = "The link has ended.";
  }, 1000 * recording.lasts);
  element.addEventListener("error", () => {
    clearTimeout(timer);
    text.textContent = "The player was refused: new links are at the end of the page.";
  });
}

function addPlayer(element) {
  const isVideo = element.localName === "video";
  const player = new Plyr(element, {
    controls: ["play-large", "play", "progress", "current-time", "duration", "mute", "volume"]
      .concat(isVideo ? ["fullscreen"] : []),
    duration: Number(element.dataset.seconds),
    // The whole length is shown, not what remains.
    invertTime: false,
    // Nothing is fetched from Plyr's own servers.
    iconUrl: "plyr/plyr.svg",
    blankVideo: "",
  });
  // One at a time.
  player.on("play", () => {
    for (const other of list.querySelectorAll("audio, video")) {
      if (other !== element) {
        other.pause();
      }
    }
  });
}

function length(seconds) {
  const rounded = Math.round(seconds);
  const parts = [Math.floor(rounded / 3600), Math.floor(rounded / 60) % 60, rounded % 60];
  const text = parts.map((part) => String(part).padStart(2, "0")).join(":");
  return text.replace(/^00:/, "");
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
