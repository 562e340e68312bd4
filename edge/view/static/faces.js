// A table of scores for each face. All text goes in as text, never as markup.

import { emotionColor } from "./colors.js";

export const percent = (share) => `${Math.round(share * 100)} %`;

// What a face says in a word: its emotion, or why it was not classified.
export function displayText(face) {
  return face.quality === "ok" ? face.label : face.quality.replaceAll("_", " ");
}

export function summary(face) {
  const doing = face.doing.length ? ` (${face.doing.join(", ")})` : "";
  return `Face ${face.id}: ${displayText(face)}${confidence(face)}${doing}`;
}

function confidence(face) {
  if (face.quality !== "ok") return " to be classified";
  return face.label === "uncertain" ? "" : ` ${percent(face.confidence)}`; // it has no score
}

export function spoken(faces) {
  if (!faces.length) return "No face in view";
  return faces.map((face) => `Face ${face.id}: ${displayText(face)}`).join(", ");
}

export function showFaces(parent, faces) {
  const tables = new Map([...parent.children].map((table) => [table.dataset.id, table]));
  for (const face of faces) {
    const id = String(face.id);
    let table = tables.get(id);
    if (!table || table.tBodies[0].rows.length !== face.scores.length) {
      const fresh = made(face);
      if (table) table.replaceWith(fresh);
      else parent.append(fresh);
      table = fresh;
    }
    tables.delete(id);
    update(table, face);
  }
  for (const gone of tables.values()) gone.remove();
}

function made(face) {
  const table = document.createElement("table");
  table.dataset.id = face.id;
  table.createCaption();
  const body = table.createTBody();
  for (const [label] of face.scores) {
    const row = body.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = label;
    row.append(head);
    const bar = document.createElement("div");
    bar.className = "bar";
    bar.setAttribute("aria-hidden", "true"); // the number beside it says the same
    bar.append(document.createElement("span"));
    row.insertCell().append(bar);
    row.insertCell();
  }
  return table;
}

function update(table, face) {
  set(table.caption, summary(face));
  face.scores.forEach(([label, score], index) => {
    const row = table.tBodies[0].rows[index];
    const bar = row.cells[1].firstChild.firstChild;
    bar.style.width = `${score * 100}%`;
    bar.style.setProperty("--emotion", emotionColor(label));
    row.toggleAttribute("data-leading", label === face.label);
    set(row.cells[0], label);
    set(row.cells[2], percent(score));
  });
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
