// The frame, or the mesh alone, with a box and a label for each face.

import { color, emotionColor, fitted, whenColorsChange } from "./colors.js";
import { summary, displayText } from "./faces.js";

export class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.newest = 0;
    this.seen = null;
    this.image = null;
    new ResizeObserver(() => this.draw()).observe(canvas);
    whenColorsChange(() => this.draw());
  }

  begin(hello) {
    this.contours = hello.contours;
    this.lines = hello.lines;
    this.steps = hello.steps;
    this.clear("No frame yet");
  }

  clear(text) {
    this.newest += 1; // a picture that is still being decoded is not wanted any more
    this.seen = null;
    this.image = null;
    this.canvas.setAttribute("aria-label", text);
    this.draw();
  }

  async show(seen) {
    this.newest += 1;
    const number = this.newest;
    const image = seen.jpeg ? await decoded(seen.jpeg) : null;
    if (number !== this.newest) return; // a newer one has come meanwhile
    this.seen = seen;
    this.image = image;
    const [width, height] = seen.size;
    this.canvas.style.aspectRatio = `${width} / ${height}`;
    this.canvas.setAttribute("aria-label", this.describe(seen));
    this.draw();
  }

  describe(seen) {
    return seen.faces.map(summary).join(", ") || "No face in view";
  }

  draw() {
    const context = fitted(this.canvas);
    if (!this.seen) return;
    const [width, height] = this.seen.size;
    const scale = Math.min(this.canvas.clientWidth / width, this.canvas.clientHeight / height);
    if (this.image) context.drawImage(this.image, 0, 0, width * scale, height * scale);
    context.lineJoin = "round";
    for (const face of this.seen.faces) this.drawMesh(context, face.points, scale / this.steps);
    for (const face of this.seen.faces) this.drawBox(context, face, scale / this.steps);
  }

  drawMesh(context, points, scale) {
    context.strokeStyle = context.fillStyle = this.image ? "#fffbeb" : color("mesh");
    context.globalAlpha = 0.45;
    context.beginPath();
    for (let i = 0; i < points.length; i += 2) {
      context.rect(points[i] * scale - 0.6, points[i + 1] * scale - 0.6, 1.2, 1.2);
    }
    context.fill();
    context.globalAlpha = 0.9;
    context.lineWidth = 1.25;
    context.beginPath();
    for (const ring of this.contours) trace(context, points, ring, scale, true);
    for (const line of this.lines) trace(context, points, line, scale, false);
    context.stroke();
    context.globalAlpha = 1;
  }

  drawBox(context, face, scale) {
    let [x1, y1, x2, y2] = face.box.map((value) => value * scale);
    const margin = 0.06 * (x2 - x1);
    x1 -= margin; y1 -= margin; x2 += margin; y2 += margin;
    const arm = 0.2 * Math.min(x2 - x1, y2 - y1);
    context.strokeStyle = emotionColor(face.label);
    context.lineWidth = 2.5;
    context.beginPath();
    for (const [x, y, dx, dy] of [[x1, y1, 1, 1], [x2, y1, -1, 1], [x2, y2, -1, -1], [x1, y2, 1, -1]]) {
      context.moveTo(x + dx * arm, y);
      context.lineTo(x, y);
      context.lineTo(x, y + dy * arm);
    }
    context.stroke();
    this.drawLabel(context, face, x1, y1);
  }

  drawLabel(context, face, x, y) {
    const text = `#${face.id} ${displayText(face)}`;
    context.font = "600 14px system-ui, sans-serif";
    const width = context.measureText(text).width + 14;
    x = Math.max(0, Math.min(x, this.canvas.clientWidth - width));
    y = Math.max(0, Math.min(y - 26, this.canvas.clientHeight - 22));
    context.fillStyle = emotionColor(face.label);
    context.beginPath();
    context.roundRect(x, y, width, 22, 5);
    context.fill();
    context.fillStyle = color("card");
    context.textBaseline = "middle";
    context.fillText(text, x + 7, y + 11.5);
  }
}

function trace(context, points, indices, scale, closed) {
  indices.forEach((point, place) => {
    const x = points[2 * point] * scale;
    const y = points[2 * point + 1] * scale;
    if (place) context.lineTo(x, y);
    else context.moveTo(x, y);
  });
  if (closed) context.closePath();
}

function decoded(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
}
