// Fills the list from recordings.json, which demo/catalog writes: for each recording a player and
// a link to each of its files.
"use strict";

const message = document.getElementById("message");
const list = document.getElementById("recordings");
const template = document.getElementById("recording");

show().catch((error) => {
  message.textContent = `The list of recordings could not be loaded (${error.message}).`;
}).finally(() => {
  document.querySelector("main").setAttribute("aria-busy", "false");
});

async function show() {
  const response = await fetch("recordings.json");
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
  node.querySelector("article").id = recording.id;
  node.querySelector("h2").textContent = recording.title;
  node.querySelector(".facts").textContent =
    [length(recording.seconds), size(bytes), formats.join(", ")].join(" · ");
  node.querySelector(".player").append(media(recording));
  node.querySelector("nav").setAttribute("aria-label", `Download ${recording.title}`);
  node.querySelector("nav").append(...recording.files.map((file) => link(recording, file)));
  return node;
}

function media(recording) {
  const hasVideo = recording.files.some((file) => file.type.startsWith("video/"));
  const element = document.createElement(hasVideo ? "video" : "audio");
  element.src = `download/${recording.id}${hasVideo ? "?format=video" : ""}`;
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
