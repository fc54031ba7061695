// Numbers as people read them. Every figure of the panel goes through here.

const GIB = 2 ** 30;

/** 1234567.89, 1 -> "1,234,567.9" */
export function number(value, digits = 0) {
  const [whole, part] = value.toFixed(digits).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  return part ? `${grouped}.${part}` : grouped;
}

export function gib(bytes) {
  return number(bytes / GIB, bytes < 10 * GIB ? 2 : 1);
}

/** "of" two sizes, in one unit: "1.25 / 24.0 GiB" */
export function share(need, have) {
  return `${gib(need)} / ${gib(have)} GiB`;
}

export function times(factor) {
  return `${number(factor, 1)}×`;
}

/** Seconds in the two largest units: "41 s", "13 min", "5 h 24 min", "1 d 17 h" */
export function duration(seconds) {
  if (seconds < 1) return "< 1 s";
  if (seconds < 100) return `${number(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${number(Math.floor(hours / 24))} d ${hours % 24} h`;
}

export function grid(sides) {
  return sides.join(" × ");
}
