// Small pictures, drawn element by element. Each has a name that says in words what it shows.

import { WINDOW_MS } from "./metrics.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDE, HIGH] = [300, 40];
/** Looks that are further apart are not joined by a line. */
const GAP_MS = 12_000;

export const $ = (id) => document.getElementById(id);

/** An element with text or children. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  element.append(...children);
  return element;
}

/** Live regions are read again whenever they are written to, even with the same words. */
export function write(id, words) {
  if ($(id).textContent !== words) $(id).textContent = words;
}

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  return element;
}

function picture(words, height = HIGH) {
  return shape("svg", { viewBox: `0 0 ${WIDE} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": words });
}

/** The last five minutes of a number, newest on the right, from nought up to `most` or its own highest. */
export function sparkline(line, name, unit, most = 0) {
  const points = line.filter(({ value }) => value !== undefined);
  const values = points.map(({ value }) => value);
  const highest = Math.max(...values, 0);
  const words = points.length === 0 ? `${name}: nothing yet` : `${name}, last five minutes: now ${unit(values.at(-1))}, lowest ${unit(Math.min(...values))}, highest ${unit(highest)}`;
  const svg = picture(words);
  svg.append(shape("path", { class: "floor", d: `M0 ${HIGH - 1}H${WIDE}` }));
  const end = points.at(-1)?.at ?? 0;
  const scale = Math.max(highest, most) || 1;
  const x = ({ at }) => (WIDE * (1 - (end - at) / WINDOW_MS)).toFixed(1);
  const y = ({ value }) => (HIGH - 1 - (HIGH - 4) * (value / scale)).toFixed(1);
  for (const piece of pieces(points)) {
    const trace = piece.map((point) => `${x(point)} ${y(point)}`).join("L");
    svg.append(shape("path", { class: "area", d: `M${x(piece[0])} ${HIGH - 1}L${trace}L${x(piece.at(-1))} ${HIGH - 1}Z` }));
    svg.append(shape("path", { class: "trace", d: `M${trace}` }));
  }
  return svg;
}

function pieces(points) {
  const pieces = [];
  points.forEach((point, place) => {
    const joined = place > 0 && point.at - points[place - 1].at <= GAP_MS;
    if (joined) pieces.at(-1).push(point);
    else pieces.push([point]);
  });
  return pieces;
}

/** A share of the whole, 0 to 1. */
export function bar(share, words) {
  const svg = picture(words, 8);
  svg.append(shape("rect", { class: "trough", width: WIDE, height: 8 }));
  svg.append(shape("rect", { class: share >= 0.9 ? "fill much" : "fill", width: (WIDE * Math.min(share, 1)).toFixed(1), height: 8 }));
  return svg;
}

/** A histogram: a column for each bucket that has somebody in it or lies between two that have. */
export function columns(buckets, name, bound) {
  const total = buckets.reduce((sum, { count }) => sum + count, 0);
  const first = Math.max(buckets.findIndex(({ count }) => count > 0) - 1, 0);
  const shown = buckets.slice(first, Math.max(buckets.findLastIndex(({ count }) => count > 0) + 2, first + 6));
  const most = Math.max(...shown.map(({ count }) => count), 1);
  const shares = shown.filter(({ count }) => count > 0).map((bucket) => `${bound(bucket)}: ${((100 * bucket.count) / total).toFixed(0)} %`);
  const svg = picture(`${name}: ${shares.join(", ")}`);
  const width = WIDE / Math.max(shown.length, 6);
  svg.append(shape("path", { class: "floor", d: `M0 ${HIGH - 1}H${WIDE}` }));
  shown.forEach(({ count }, place) => {
    const height = (HIGH - 3) * (count / most);
    svg.append(shape("rect", { class: "fill", x: (place * width + 1).toFixed(1), y: (HIGH - 1 - height).toFixed(1), width: (width - 2).toFixed(1), height: height.toFixed(1) }));
  });
  return svg;
}
