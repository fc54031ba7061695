// What the preset buttons write into VideoPlan's own widgets.

const STEP_PX = 16;
const STEP_FRAMES = 4;

export const SIZES = [
  { name: "720p", sides: [1280, 720] },
  { name: "2K", sides: [2560, 1440] },
  { name: "4K", sides: [3840, 2160] },
  { name: "8K", sides: [7680, 4320] },
];
export const SECONDS = [5, 10, 20, 40];

/** The nearest multiple of 16, at least 16. */
export function multiple(side) {
  return Math.max(STEP_PX, STEP_PX * Math.floor(side / STEP_PX + 0.5));
}

/** 5 s at 16 fps -> 81: the nearest 4k + 1. */
export function framesOf(seconds, fps) {
  return 1 + STEP_FRAMES * Math.max(0, Math.round((seconds * fps) / STEP_FRAMES));
}

/** Inputs for a size preset, in the orientation that is set; the proxy keeps its short side. */
export function sized(now, [long, short]) {
  const portrait = now.height > now.width;
  return withProxy(now, portrait ? short : long, portrait ? long : short);
}

/** Inputs for the other orientation. */
export function turned(now, portrait) {
  const [short, long] = [now.width, now.height].sort((a, b) => a - b);
  return withProxy(now, portrait ? short : long, portrait ? long : short);
}

function withProxy(now, width, height) {
  const before = Math.min(now.proxy_height, (now.proxy_height * now.width) / now.height);
  const short = Math.min(multiple(before), Math.min(width, height));
  const scale = height / Math.min(width, height);
  return { width, height, proxy_height: Math.min(height, multiple(short * scale)) };
}

export function isSize(now, [long, short]) {
  return Math.max(now.width, now.height) === long && Math.min(now.width, now.height) === short;
}
