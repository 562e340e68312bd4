// The style sheet's colours for what is drawn; they change with the system's light and dark.

const EMOTIONS = new Set([
  "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
  "uncertain",
]);
let cached = new Map();
const style = getComputedStyle(document.documentElement);

// Paper is white, whatever the screen is.
for (const [moment, isPrinting] of [["beforeprint", true], ["afterprint", false]]) {
  addEventListener(moment, () => {
    document.documentElement.toggleAttribute("data-printing", isPrinting);
  });
}

export function whenColorsChange(draw) {
  const again = () => {
    cached = new Map();
    draw();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  for (const moment of ["beforeprint", "afterprint"]) addEventListener(moment, again);
}

export function color(name) {
  if (!cached.has(name)) cached.set(name, style.getPropertyValue(`--${name}`).trim());
  return cached.get(name);
}

// A class of one's own has the hue of its name's CRC-32, as in edge/palette.py.
export function ownHue(label) {
  let crc = ~0;
  for (const byte of new TextEncoder().encode(label)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (~crc >>> 0) % 360;
}

export function emotionColor(label) {
  if (!/^[a-z][a-z0-9_-]{0,31}$/.test(label)) return color("uncertain");
  const known = /^[a-z]+$/.test(label) && EMOTIONS.has(label) && color(label);
  if (known) return known;
  const isPrinting = document.documentElement.hasAttribute("data-printing");
  const dark = !isPrinting && matchMedia("(prefers-color-scheme: dark)").matches;
  return `hsl(${ownHue(label)} 65% ${dark ? 72 : 28}%)`;
}

// Give a canvas as many pixels as it covers on the screen, and units of CSS pixels.
export function fitted(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return context;
}
