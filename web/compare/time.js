// Which frames of two videos belong together. Pure functions; frames count from 0, fps a second.
// A video is {frames, fps}; `match` is "time" (the same second) or "ends" (first and last meet).

const EPSILON = 1e-4; // of a frame: 37 / 16 * 16 is to be 37

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** The frame that is on show at a second. */
export function frameAt(seconds, video) {
  return clamp(Math.floor(seconds * video.fps + EPSILON), 0, video.frames - 1);
}

/** The second at the middle of a frame: where a seek lands safely on it. */
export function middleOf(frame, video) {
  return (frame + 0.5) / video.fps;
}

/** The frame of `other` that belongs to a frame of `video`. */
export function partner(frame, video, other, match) {
  if (match === "ends") {
    const at = video.frames > 1 ? frame / (video.frames - 1) : 0;
    return clamp(Math.round(at * (other.frames - 1)), 0, other.frames - 1);
  }
  return frameAt(frame / video.fps, other);
}

/** How fast `other` plays beside `video` so that they stay together. */
export function rateOf(video, other, match) {
  if (match !== "ends" || video.frames < 2 || other.frames < 2) return 1;
  const seconds = (v) => (v.frames - 1) / v.fps;
  return clamp(seconds(other) / seconds(video), 1 / 16, 16);
}
