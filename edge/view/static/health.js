// How the device is doing, as a list of names and values.

// `seen` is null while there are no frames; what is amiss is marked, and says so in words, too.
export function showHealth(list, about, health, seen) {
  const rows = [
    ["Frames/s", rate(health, seen), health.fps_limit !== null],
    ["Latency", seen ? latency(seen) : "none"],
    ["Dropped frames", String(health.dropped_frames)],
    ["Lost records", lost(health.lost_records), health.lost_records > 0],
    ["Memory", `${health.rss_mb.toFixed(0)} MB`],
    ["Temperature", health.temperature_c === null ? "not told" : `${health.temperature_c.toFixed(1)} °C`],
    ["Throttling", throttling(health.throttling), health.throttling?.length > 0],
    ["Viewers", String(health.viewers)],
    ...(health.failed_readings ? [["Failed readings", String(health.failed_readings), true]] : []),
    ["Source", about.source],
    ["Model", `${about.model}, ${about.runtime}`],
    ["Frame", seen ? String(seen.index) : "none"],
  ];
  if (list.children.length !== rows.length * 2) {
    list.replaceChildren(...rows.flatMap(() => ["dt", "dd"].map((tag) => document.createElement(tag))));
  }
  rows.forEach(([name, value, isBad], row) => {
    [name, value].forEach((text, column) => {
      const element = list.children[2 * row + column];
      if (element.textContent !== text) element.textContent = text;
      element.toggleAttribute("data-bad", Boolean(isBad) && column === 1);
    });
  });
}

function rate(health, seen) {
  const limit = health.fps_limit === null ? "" : `, held to ${health.fps_limit.toFixed(1)} by the heat`;
  return (seen ? health.fps.toFixed(1) : "none") + limit;
}

function latency(seen) {
  const stages = Object.entries(seen.stage_ms).map(([stage, ms]) => `${stage} ${ms.toFixed(1)}`);
  return `${seen.latency_ms.toFixed(1)} ms (${stages.join(", ") || "-"})`;
}

function lost(records) {
  if (records === null) return "no log is written";
  return records ? `${records}: see the device's disk` : "0";
}

function throttling(reasons) {
  if (reasons === null) return "not told";
  return reasons.join(", ") || "none";
}
