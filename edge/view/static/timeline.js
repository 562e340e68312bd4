// What has been: a row for each emotion, a stroke where a face showed it; a row for what faces did,
// and a line for each marker. An hour is kept, over a reload of the page and a restart of the service.

import { color, emotionColor, fitted, whenColorsChange } from "./colors.js";
import { percent } from "./faces.js";

const KEPT_S = 3600;
const FINE_S = 60; // of what is older, two moments a second are kept
const STEP_S = 0.5;
const GAP_S = 1.5; // no stroke across a longer silence
const NAMES_PX = 84;
const REDRAW_MS = 1000; // of long spans, where more would not be seen
const SPANS = new Map([[60, "minute"], [600, "10 minutes"], [3600, "hour"]]);
const PLACE = "edgeemo-timeline";

export class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
    this.rows = [];
    this.spanS = 60;
    this.drawnMs = -Infinity;
    this.clear();
    this.recall();
    new ResizeObserver(() => this.draw()).observe(canvas);
    whenColorsChange(() => this.draw());
    addEventListener("pagehide", () => this.remember());
  }

  clear() {
    this.moments = []; // [seconds, [[face, label, confidence], ...]]
    this.coarse = 0; // so many of them have been thinned out
    this.notes = new Map(); // by session and number: [from, to, "event" or "marker", text]
    this.source = null; // device and session
  }

  show(spanS) {
    this.spanS = spanS;
    this.draw();
  }

  // Only this tab has it, and forgets it when it is closed.
  remember() {
    const { source, moments, notes, spanS } = this;
    try {
      sessionStorage.setItem(PLACE, JSON.stringify({ source, moments, notes: [...notes], spanS }));
    } catch {
      // Without storage, a page that is loaded again begins with what the device remembers.
    }
  }

  recall() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(PLACE));
      if (!kept) return;
      this.moments = kept.moments.filter(([t_s, faces]) => Number.isFinite(t_s) && Array.isArray(faces));
      this.notes = new Map(kept.notes);
      this.source = kept.source;
      if (SPANS.has(kept.spanS)) this.spanS = kept.spanS;
    } catch {
      this.clear();
    }
  }

  // A note comes more than once: whoever missed an event of the stream still learns of it.
  learn(notes) {
    for (const [number, ...note] of notes || []) this.notes.set(`${this.source?.session}/${number}`, note);
  }

  // What the device remembers fills in what this page has not seen itself. A service that was started
  // again goes on by the same clock; another device, or a clock that began anew, has another past.
  begin(about, history, notes) {
    const { device, session } = about;
    if (this.source?.device !== device) this.clear();
    this.source = { device, session };
    this.labels = [...about.labels, "uncertain"];
    this.learn(notes);
    const newest = history.length ? history.at(-1)[0] : Infinity;
    if (this.moments.length && newest < this.moments.at(-1)[0] - GAP_S) this.moments = [];
    const first = this.moments.length ? this.moments[0][0] : Infinity;
    const last = this.moments.length ? this.moments.at(-1)[0] : -Infinity;
    const before = history.filter(([t_s]) => t_s < first);
    const after = history.filter(([t_s]) => t_s > last && t_s >= first);
    this.moments = [...before, ...this.moments, ...after];
    this.coarse = 0;
    this.forget();
    this.draw();
  }

  add(seen) {
    this.learn(seen.notes);
    const last = this.moments.at(-1);
    if (last && seen.t_s < last[0] - GAP_S) {
      this.moments = [];
      this.coarse = 0;
    } else if (last && seen.t_s <= last[0]) {
      return;
    }
    this.moments.push([seen.t_s, seen.faces.map((face) => [face.id, face.label, face.confidence])]);
    this.forget();
    if (this.spanS <= FINE_S || performance.now() - this.drawnMs >= REDRAW_MS) this.draw();
  }

  // Let go what is older than an hour, and thin out what is older than a minute.
  forget() {
    if (!this.moments.length) return;
    const now = this.moments.at(-1)[0];
    let old = 0;
    while (this.moments[old][0] < now - KEPT_S) old += 1;
    this.moments.splice(0, old);
    this.coarse = Math.max(0, this.coarse - old);
    let kept = this.coarse;
    let next = this.coarse;
    for (; next < this.moments.length && this.moments[next][0] < now - FINE_S; next += 1) {
      if (kept && this.moments[next][0] - this.moments[kept - 1][0] < STEP_S - 0.05) continue;
      this.moments[kept] = this.moments[next];
      kept += 1;
    }
    this.moments.splice(kept, next - kept);
    this.coarse = kept;
    for (const [number, note] of this.notes) if (note[1] < now - KEPT_S) this.notes.delete(number);
  }

  draw() {
    this.drawnMs = performance.now();
    const now = this.moments.at(-1)?.[0] ?? 0;
    const from = now - this.spanS;
    const notes = [...this.notes.values()].filter((note) => note[1] >= from);
    const did = notes.filter(([, , kind]) => kind === "event");
    this.rows = did.length ? [...(this.labels || []), "events"] : this.labels || [];
    const context = fitted(this.canvas);
    const width = this.canvas.clientWidth - NAMES_PX;
    const height = (this.canvas.clientHeight - 18) / Math.max(1, this.rows.length);
    this.drawGrid(context, width, height);
    if (!this.moments.length) {
      this.canvas.setAttribute("aria-label", "Nothing yet");
      return;
    }
    // Whole pixels, or seams would show where two strokes meet.
    const x = (t_s) => NAMES_PX + Math.max(0, Math.round((1 - (now - t_s) / this.spanS) * width));
    const seconds = new Map();
    for (let i = 0; i + 1 < this.moments.length; i += 1) {
      const [begin, faces] = this.moments[i];
      const end = this.moments[i + 1][0];
      if (end - begin > GAP_S || end < from) continue;
      faces.forEach(([, label, confidence], place) => {
        seconds.set(label, (seconds.get(label) || 0) + end - begin);
        const row = this.rows.indexOf(label);
        if (row < 0) return;
        const thick = (height - 4) / faces.length;
        context.globalAlpha = 0.5 + 0.5 * confidence;
        context.fillStyle = emotionColor(label);
        const wide = Math.max(this.spanS > FINE_S ? 1 : 0, x(end) - x(begin));
        context.fillRect(x(begin), row * height + 2 + place * thick, wide, thick);
      });
    }
    context.globalAlpha = 1;
    this.drawNotes(context, notes, x, height);
    this.canvas.setAttribute("aria-label", described(seconds, did, SPANS.get(this.spanS)));
  }

  drawNotes(context, notes, x, height) {
    const right = this.canvas.clientWidth;
    const bottom = this.rows.length * height;
    let free = -Infinity; // where the next name may begin
    for (const [from, to, kind, text] of notes.sort((a, b) => a[0] - b[0])) {
      const left = x(from);
      context.fillStyle = color("text");
      const wide = context.measureText(text).width;
      if (kind === "marker") {
        context.fillRect(left, 0, 2, bottom);
        const at = left + 4 + wide <= right ? left + 4 : Math.max(NAMES_PX, left - 4 - wide);
        context.fillText(text, at, 8, right - at);
        continue;
      }
      const top = bottom - height;
      context.fillRect(left, top + 2, Math.max(2, x(to) - left), 4);
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
    context.fillText(this.spanS > 60 ? `${this.spanS / 60} min ago` : "60 s ago", NAMES_PX, bottom);
    const text = "now";
    context.fillText(text, NAMES_PX + width - context.measureText(text).width, bottom);
  }
}

function described(seconds, did, span) {
  const total = [...seconds.values()].reduce((sum, value) => sum + value, 0);
  if (!total) return `No face in the last ${span}`;
  const ranked = [...seconds].sort((one, other) => other[1] - one[1]);
  const events = did.length ? `; events: ${did.map(([, , , text]) => text).join(", ")}` : "";
  const labels = ranked.map(([label, s]) => `${label} ${percent(s / total)}`).join(", ");
  return `In the last ${span}: ${labels}${events}`;
}
