// A guided capture: the newest step in, the person's answer to it out.

import { Picture } from "./picture.js";

const RETRY_MS = 3000;
const CHOICES = {
  ready: [["take", "Take the picture"], ["quit", "End"]],
  count: [],
  seen: [["keep", "Keep"], ["again", "Again"], ["skip", "Skip"], ["quit", "End"]],
  unseen: [["again", "Try again"], ["skip", "Skip"], ["quit", "End"]],
};

// The mesh of the face that was seen, over the picture; no label, for nothing was classified.
class Stage extends Picture {
  describe(step) {
    return step.faces.length ? "Your picture, with the face that was found" : "The camera's picture";
  }

  drawBox() {}
}

const byId = (id) => document.getElementById(id);
const stage = new Stage(byId("picture"));
let stream = null;
let retry = 0;
let about = {};
let number = 0;
let hasEnded = false;

function tell(state, text) {
  const status = byId("status");
  if (status.textContent !== text) status.textContent = text;
  status.dataset.state = state;
}

function show(name) {
  for (const id of ["consent", "session", "ended"]) byId(id).hidden = id !== name;
}

function connect() {
  clearTimeout(retry);
  if (stream) stream.close();
  stream = new EventSource("events");
  stream.addEventListener("hello", (event) => welcome(JSON.parse(event.data)));
  stream.addEventListener("step", (event) => take(JSON.parse(event.data)));
  stream.addEventListener("ended", (event) => end(JSON.parse(event.data)));
  stream.addEventListener("error", lost);
}

function welcome(hello) {
  about = hello.about;
  number = 0;
  hasEnded = false;
  byId("subject").textContent = about.subject;
  document.title = `edgeemo capture ${about.subject}`;
  stage.begin(hello);
  tell("live", "Connected");
}

function take(step) {
  if (step.number < number) return;
  const isNew = step.number > number;
  number = step.number;
  if (step.step === "consent") {
    if (isNew) askForConsent(step);
    return;
  }
  show("session");
  if (step.jpeg) stage.show(step);
  if (isNew) guide(step);
}

function askForConsent(step) {
  show("consent");
  byId("consent-text").textContent = step.text;
  byId("agreement").textContent = step.agreement;
  const typed = byId("typed");
  typed.value = "";
  typed.focus();
  mayStart();
}

function mayStart() {
  const same = (text) => text.trim().toLowerCase();
  const agrees = same(byId("typed").value) === same(byId("agreement").textContent);
  byId("agree").querySelector("button").disabled = !agrees;
}

function guide(step) {
  byId("prompt").textContent = `Show ${step.label}`;
  byId("countdown").hidden = step.step !== "count";
  byId("countdown").textContent = step.seconds;
  byId("told").textContent = told(step);
  const total = about.labels.length * about.count;
  byId("progress").textContent =
    `Picture ${step.picture} of ${step.of} of ${step.label}; ${step.kept} of ${total} kept`;
  const kind = step.step === "seen" && step.quality === null ? "unseen" : step.step;
  byId("choices").replaceChildren(...CHOICES[kind].map(([choice, text]) => button(choice, text)));
  byId("choices").querySelector("button")?.focus(); // so that Enter goes on
}

function told(step) {
  if (step.step === "ready") return "Look into the camera. There is a countdown of three seconds.";
  if (step.step === "count") return "Hold it";
  if (step.quality === null) return "No face was seen. Look into the camera.";
  if (step.quality === "ok") return "Your face was seen well.";
  return `Your face is ${step.quality.replaceAll("_", " ")}; such a picture will not be used.`;
}

function button(choice, text) {
  const made = document.createElement("button");
  made.type = "button";
  made.dataset.choice = choice;
  made.textContent = text;
  made.addEventListener("click", () => answer(choice));
  return made;
}

async function answer(text) {
  try {
    await fetch("answer", { method: "POST", body: JSON.stringify({ number, answer: text }) });
  } catch {
    // The stream says that the connection is lost.
  }
}

function end(ended) {
  hasEnded = true;
  stream.close();
  show("ended");
  const pictures = ended.kept === 1 ? "1 picture was" : `${ended.kept} pictures were`;
  byId("ended-title").textContent = ended.reason ? "Nothing more is captured" : "Done, thank you";
  byId("ended-text").textContent = ended.reason || `${pictures} kept in ${about.out}.`;
  tell(ended.reason ? "lost" : "waiting", "Ended");
}

function lost() {
  if (hasEnded) return;
  tell("lost", "Connection lost. Trying again");
  if (stream.readyState === EventSource.CLOSED) retry = setTimeout(connect, RETRY_MS);
}

byId("typed").addEventListener("input", mayStart);
byId("agree").addEventListener("submit", (event) => {
  event.preventDefault();
  answer(byId("typed").value);
});
byId("refuse").addEventListener("click", () => answer(""));
connect();
