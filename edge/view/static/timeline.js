// The last minute: a row for each emotion, a stroke where a face showed it; a row for what faces did,
// and a line for each marker.

import { color, emotionColor, fitted } from "./colors.js";
import { percent } from "./faces.js";

const SPAN_S = 60;
const GAP_S = 1.5; // no stroke across a longer silence
const NAMES_PX = 84;

export class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
    this.rows = [];
    this.clear();
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  clear() {
    this.moments = []; // [seconds, [[face, label, confidence], ...]]
    this.notes = new Map(); // by number: [from, to, "event" or "marker", text]
  }

  // A note comes more than once: whoever missed an event of the stream still learns of it.
  learn(notes) {
    for (const [number, ...note] of notes) this.notes.set(number, note);
  }

  // What the device remembers fills in what this page has not seen itself.
  begin(labels, history, notes) {
    this.labels = [...labels, "uncertain"];
    this.learn(notes);
    const first = this.moments.length ? this.moments[0][0] : Infinity;
    const last = this.moments.length ? this.moments.at(-1)[0] : -Infinity;
    const before = history.filter(([t_s]) => t_s < first);
    const after = history.filter(([t_s]) => t_s > last && t_s >= first);
    this.moments = [...before, ...this.moments, ...after];
    this.draw();
  }

  add(seen) {
    this.learn(seen.notes);
    const last = this.moments.at(-1);
    if (last && seen.t_s <= last[0]) return;
    this.moments.push([seen.t_s, seen.faces.map((face) => [face.id, face.label, face.confidence])]);
    const from = seen.t_s - SPAN_S;
    let old = 0;
    while (this.moments[old][0] < from) old += 1;
    this.moments.splice(0, old);
    for (const [number, note] of this.notes) if (note[1] < from) this.notes.delete(number);
    this.draw();
  }

  draw() {
    const did = [...this.notes.values()].filter(([, , kind]) => kind === "event");
    this.rows = did.length ? [...(this.labels || []), "events"] : this.labels || [];
    const context = fitted(this.canvas);
    const width = this.canvas.clientWidth - NAMES_PX;
    const height = (this.canvas.clientHeight - 18) / Math.max(1, this.rows.length);
    this.drawGrid(context, width, height);
    if (!this.moments.length) return;
    const now = this.moments.at(-1)[0];
    // Whole pixels, or seams would show where two strokes meet.
    const x = (t_s) => NAMES_PX + Math.round((1 - (now - t_s) / SPAN_S) * width);
    const seconds = new Map();
    for (let i = 0; i + 1 < this.moments.length; i += 1) {
      const [from, faces] = this.moments[i];
      const to = this.moments[i + 1][0];
      if (to - from > GAP_S) continue;
      faces.forEach(([, label, confidence], place) => {
        seconds.set(label, (seconds.get(label) || 0) + to - from);
        const row = this.rows.indexOf(label);
        if (row < 0) return;
        const thick = (height - 4) / faces.length;
        context.globalAlpha = 0.5 + 0.5 * confidence;
        context.fillStyle = emotionColor(label);
        context.fillRect(x(from), row * height + 2 + place * thick, x(to) - x(from), thick);
      });
    }
    context.globalAlpha = 1;
    this.drawNotes(context, x, height);
    this.canvas.setAttribute("aria-label", described(seconds, did));
  }

  drawNotes(context, x, height) {
    const right = this.canvas.clientWidth;
    const bottom = this.rows.length * height;
    let free = -Infinity; // where the next name may begin
    for (const [from, to, kind, text] of [...this.notes.values()].sort((a, b) => a[0] - b[0])) {
      const left = Math.max(NAMES_PX, x(from));
      context.fillStyle = color("text");
      if (kind === "marker") {
        if (x(from) >= NAMES_PX) context.fillRect(left, 0, 2, bottom);
        const wide = context.measureText(text).width;
        const at = left + 4 + wide <= right ? left + 4 : Math.max(NAMES_PX, left - 4 - wide);
        context.fillText(text, at, 8, right - at);
        continue;
      }
      const top = bottom - height;
      context.fillRect(left, top + 2, Math.max(2, x(to) - left), 4);
      const wide = context.measureText(text).width;
      const at = Math.min(left, right - wide);
      if (at < free) continue;
      context.fillText(text, at, top + height / 2 + 3);
      free = at + wide + 6;
    }
  }

  drawGrid(context, width, height) {
    context.font = "13px system-ui, sans-serif";
    context.textBaseline = "middle";
    this.rows.forEach((label, row) => {
      context.fillStyle = color("text");
      context.fillText(label, 0, (row + 0.5) * height, NAMES_PX - 8);
      context.fillStyle = color("line");
      context.fillRect(NAMES_PX, Math.round((row + 1) * height), width, 1);
    });
    context.fillStyle = color("soft");
    const bottom = this.canvas.clientHeight - 7;
    context.fillText("60 s ago", NAMES_PX, bottom);
    const text = "now";
    context.fillText(text, NAMES_PX + width - context.measureText(text).width, bottom);
  }
}

function described(seconds, did) {
  const total = [...seconds.values()].reduce((sum, value) => sum + value, 0);
  if (!total) return "No face in the last minute";
  const ranked = [...seconds].sort((one, other) => other[1] - one[1]);
  const events = did.length ? `; events: ${did.map(([, , , text]) => text).join(", ")}` : "";
  const labels = ranked.map(([label, s]) => `${label} ${percent(s / total)}`).join(", ");
  return `In the last minute: ${labels}${events}`;
}
