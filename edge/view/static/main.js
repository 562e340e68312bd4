// The page: one stream of events in, four views of the newest one out.

import { showFaces, spoken } from "./faces.js";
import { showHealth } from "./health.js";
import { Picture } from "./picture.js";
import { Timeline } from "./timeline.js";

const STALE_MS = 3000;
const RETRY_MS = 3000;
const SPEAK_MS = 2000;
const HEALTH_MS = 1000; // numbers that change faster cannot be read

const byId = (id) => document.getElementById(id);
const picture = new Picture(byId("picture"));
const timeline = new Timeline(byId("timeline"));

let stream = null;
let retry = 0;
let paused = false;
let about = {};
let lastSeenMs = 0;
let lastSpokenMs = -Infinity;
let lastHealthMs = -Infinity;
let endedFor = null;
let outageSince = null; // said once: a time that changed with each event would be spoken each time

function tell(state, text) {
  const status = byId("status");
  if (status.textContent !== text) status.textContent = text;
  status.dataset.state = state;
}

function connect() {
  disconnect();
  if (paused || document.hidden) return; // nobody looks: the device has nothing to do
  stream = new EventSource("events");
  stream.addEventListener("hello", (event) => welcome(JSON.parse(event.data)));
  stream.addEventListener("seen", (event) => show(JSON.parse(event.data)));
  stream.addEventListener("waiting", (event) => wait(JSON.parse(event.data)));
  stream.addEventListener("ended", (event) => end(JSON.parse(event.data)));
  stream.addEventListener("error", lost);
}

function disconnect() {
  clearTimeout(retry);
  if (stream) stream.close();
  stream = null;
}

function welcome(hello) {
  about = hello.about;
  endedFor = null;
  byId("device").textContent = about.device;
  document.title = `edgeemo ${about.device}`;
  byId("picture-title").textContent = hello.frames ? "Picture" : "Face mesh";
  byId("privacy").textContent = hello.frames
    ? "Pictures are shown because this page was started with --frames."
    : "No picture leaves the device: only the mesh and the numbers do.";
  picture.begin(hello);
  timeline.begin(about, hello.history, hello.notes);
  tell("waiting", "Waiting for a frame");
}

function show(seen) {
  lastSeenMs = performance.now();
  tell("live", "Live");
  outageSince = null;
  byId("outage").hidden = true;
  picture.show(seen);
  timeline.add(seen);
  showFaces(byId("faces"), seen.faces);
  byId("nobody").hidden = seen.faces.length > 0;
  if (lastSeenMs - lastHealthMs >= HEALTH_MS) {
    showHealth(byId("health"), about, seen.health, seen);
    lastHealthMs = lastSeenMs;
  }
  speak(spoken(seen.faces));
}

// The camera is lost. How long is the device's word, for its clock may be another one than ours.
function wait(lost) {
  const since = new Date(Date.now() - 1000 * lost.lost_for_s);
  if (!outageSince || Math.abs(since - outageSince) > 2000) outageSince = since;
  tell("lost", `Waiting for the camera since ${outageSince.toLocaleTimeString()}`);
  byId("outage").textContent = lost.reason;
  byId("outage").hidden = false;
  picture.clear("Waiting for the camera");
  showFaces(byId("faces"), []);
  byId("nobody").hidden = false;
  showHealth(byId("health"), about, lost.health, null);
  lastHealthMs = -Infinity;
  byId("spoken").textContent = ""; // the status was spoken
}

// A screen reader is told of changes only, and not faster than it can speak.
function speak(text) {
  const region = byId("spoken");
  const now = performance.now();
  if (region.textContent === text || now - lastSpokenMs < SPEAK_MS) return;
  region.textContent = text;
  lastSpokenMs = now;
}

function end(ended) {
  endedFor = ended.reason ? `The run has failed: ${ended.reason}` : "The run has ended";
  tell("lost", endedFor);
}

// The browser connects again by itself, except after an answer that is no stream.
function lost() {
  tell("lost", endedFor ? `${endedFor}. Waiting for the next one` : "Connection lost. Trying again");
  if (stream && stream.readyState === EventSource.CLOSED) {
    clearTimeout(retry);
    retry = setTimeout(connect, RETRY_MS);
    askForToken();
  }
}

// A run that was started again may want a token: loading the page anew shows where to enter it.
async function askForToken() {
  try {
    const page = await fetch("./", { cache: "no-store" });
    if (page.status === 401) location.reload();
  } catch {
    // Nobody is there: the next attempt comes by itself.
  }
}

function watchForStalls() {
  const silentMs = performance.now() - lastSeenMs;
  if (byId("status").dataset.state === "live" && silentMs > STALE_MS) {
    tell("waiting", "No new frame from the source");
  }
}

byId("pause").addEventListener("click", (event) => {
  paused = !paused;
  event.target.textContent = paused ? "Go on" : "Pause";
  event.target.setAttribute("aria-pressed", String(paused));
  connect();
  if (paused) tell("waiting", "Paused");
});
byId("span").value = String(timeline.spanS);
byId("span").addEventListener("change", (event) => timeline.show(Number(event.target.value)));
byId("mark").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = byId("mark-text").value.trim();
  if (!text) return;
  let told = "Not marked: no connection";
  try {
    const answer = await fetch("mark", { method: "POST", body: text });
    told = answer.ok ? `Marked: ${text}` : `Not marked: ${await answer.text()}`;
    if (answer.ok) byId("mark-text").value = "";
  } catch {
    // told as it is
  }
  byId("marked").textContent = told;
});
document.addEventListener("visibilitychange", connect);
setInterval(watchForStalls, 500);
connect();
