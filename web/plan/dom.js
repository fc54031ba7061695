// Elements in one line each.

const SVG = "http://www.w3.org/2000/svg";

/** `props`: attributes; functions become listeners; class, title and the like as in HTML. */
export function el(tag, props = {}, ...children) {
  return filled(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), props, children);
}

function filled(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** A figure: its text, and the raw value behind it for whoever wants every digit. */
export function show(node, text, raw) {
  if (node.textContent !== text) node.textContent = text;
  if (raw !== undefined) node.dataset.raw = String(raw);
}
