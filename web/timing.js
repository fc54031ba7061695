// What a node's footer says of its time. Pure functions, no page.

const FULL = 1, SHORT = 2, TIME = 3;
const GIB = 2 ** 30;

/** 0.04 -> "<0.1 s", 12.34 -> "12.3 s", 75 -> "1:15 min", 4000 -> "1:06 h". */
export function duration(seconds) {
  if (seconds < 0.1) return "<0.1 s";
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const pair = (large, small) => `${large}:${String(small).padStart(2, "0")}`;
  if (whole < 3600) return `${pair(Math.floor(whole / 60), whole % 60)} min`;
  const minutes = Math.round(seconds / 60);
  return `${pair(Math.floor(minutes / 60), minutes % 60)} h`;
}

export function memory(bytes) {
  const gib = bytes / GIB;
  return gib < 1 ? `${Math.round(gib * 1024)} MiB` : `${gib.toFixed(1)} GiB`;
}

/** The same facts, from most to fewest words: the footer takes the first that fits. */
export function texts(time, kept, words) {
  return [FULL, SHORT, TIME].map((much) => {
    const out = [duration(time.seconds) + (kept ? ` (${words.kept})` : "")];
    const parts = Object.entries(time.parts ?? {}).filter(([, took]) => took >= 0.05);
    if (much === FULL && parts.length) {
      out.push(parts.map(([name, took]) => `${words[name] ?? name} ${duration(took)}`).join(", "));
    }
    if (much <= SHORT && time.peak_bytes) {
      const of = time.of === "device" ? "VRAM" : "RAM";
      out.push(`${words.peak} ${memory(time.peak_bytes)} ${of}`);
    }
    return out.join("  ·  ");
  });
}
