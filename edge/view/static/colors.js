// The style sheet's colours for what is drawn; they change with the system's light and dark.

let cached = new Map();
const style = getComputedStyle(document.documentElement);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  cached = new Map();
});

export function color(name) {
  if (!cached.has(name)) cached.set(name, style.getPropertyValue(`--${name}`).trim());
  return cached.get(name);
}

export function emotionColor(label) {
  return (/^[a-z]+$/.test(label) && color(label)) || color("uncertain");
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
