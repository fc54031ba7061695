// Zoom and pan of a picture in a stage. Pure functions; all lengths in CSS pixels of the stage.
// A view is {zoom, x, y}: the picture, fitted at zoom 1, is scaled and its corner put at (x, y).

const MOST = 64;

/** The largest box of the picture's shape within the stage. */
export function fitted(stage, picture) {
  const scale = Math.min(stage.width / picture.width, stage.height / picture.height);
  return { width: picture.width * scale, height: picture.height * scale };
}

export function whole(stage, picture) {
  return settled({ zoom: 1, x: 0, y: 0 }, stage, picture);
}

/** Keeps the picture over the stage where it is larger, in its middle where it is smaller. */
export function settled(view, stage, picture) {
  const zoom = Math.min(Math.max(view.zoom, 1), MOST);
  const box = fitted(stage, picture);
  const place = (at, size, room) =>
    size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at));
  return {
    zoom,
    x: place(view.x, box.width * zoom, stage.width),
    y: place(view.y, box.height * zoom, stage.height),
  };
}

/** Zooms so that what lies under `at` {x, y} stays there. */
export function zoomed(view, factor, at, stage, picture) {
  const zoom = Math.min(Math.max(view.zoom * factor, 1), MOST);
  const by = zoom / view.zoom;
  const moved = { zoom, x: at.x - (at.x - view.x) * by, y: at.y - (at.y - view.y) * by };
  return settled(moved, stage, picture);
}

/** The zoom at which a pixel of the picture is a pixel of the screen; `pixelRatio`: of those in one
 *  of the stage's own. */
export function actual(stage, picture, pixelRatio) {
  return Math.max(1, picture.width / (fitted(stage, picture).width * pixelRatio));
}
