// How the device is doing, as a list of names and values.

export function showHealth(list, about, seen) {
  const health = seen.health;
  const stages = Object.entries(seen.stage_ms).map(([stage, ms]) => `${stage} ${ms.toFixed(1)}`);
  const rows = [
    ["Frames/s", health.fps.toFixed(1)],
    ["Latency", `${seen.latency_ms.toFixed(1)} ms (${stages.join(", ") || "-"})`],
    ["Dropped frames", String(health.dropped_frames)],
    ["Memory", `${health.rss_mb.toFixed(0)} MB`],
    ["Temperature", health.temperature_c === null ? "not told" : `${health.temperature_c.toFixed(1)} °C`],
    ["Viewers", String(health.viewers)],
    ["Source", about.source],
    ["Model", `${about.model}, ${about.runtime}`],
    ["Frame", String(seen.index)],
  ];
  if (list.children.length !== rows.length * 2) {
    list.replaceChildren(...rows.flatMap(() => ["dt", "dd"].map((tag) => document.createElement(tag))));
  }
  rows.flat().forEach((text, index) => {
    const element = list.children[index];
    if (element.textContent !== text) element.textContent = text;
  });
}
