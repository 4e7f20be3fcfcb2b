// The live curves: asks the server every two seconds and draws them as SVG. No other request is made.
"use strict";
const PAUSE_MS = 2000, WIDTH = 720, HEIGHT = 300, LEFT = 44, BOTTOM = 28, TOP = 8, RIGHT = 8, MOST_COLOURED = 6;
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"], GREY = "#999999";
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function meanCurve(runs) {
  const length = Math.min(...runs.map((run) => run.length));
  const mean = [];
  for (let i = 0; i < length; i++) {
    const values = runs.map((run) => run[i]);
    mean.push(values.includes(null) ? null : values.reduce((a, b) => a + b, 0) / values.length);
  }
  return mean;
}

function draw(data) {
  const last = (curve) => curve.reduce((found, value) => (value === null ? found : value), -1);
  const groups = data.configurations.map((one) => ({...one, mean: meanCurve(one.runs)}));
  groups.sort((a, b) => last(b.mean) - last(a.mean));
  const all = groups.flatMap((one) => one.runs.flat()).filter((value) => value !== null);
  const high = Math.max(1, ...all) * 1.05, epochs = Math.max(1, data.epochs);
  const x = (epoch) => LEFT + (WIDTH - LEFT - RIGHT) * (epochs === 1 ? 0.5 : (epoch - 1) / (epochs - 1));
  const y = (value) => HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value / high);
  const svg = element("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Validation accuracy by epoch",
    style: "max-width:100%;height:auto;font:12px sans-serif",
  });
  for (let i = 0; i <= 4; i++) {
    const value = (high / 1.05) * i / 4;
    svg.append(element("line", {x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), stroke: "currentColor", opacity: 0.15}));
    svg.append(element("text", {x: LEFT - 6, y: y(value) + 4, "text-anchor": "end", fill: "currentColor"}, value.toFixed(1)));
  }
  for (const epoch of new Set([1, Math.ceil(epochs / 2), epochs]))
    svg.append(element("text", {x: x(epoch), y: HEIGHT - 8, "text-anchor": "middle", fill: "currentColor"}, String(epoch)));
  const line = (curve, colour, width, opacity) => {
    const points = curve.map((value, i) => [value, i]).filter(([value]) => value !== null);
    if (!points.length) return;
    svg.append(element("polyline", {
      points: points.map(([value, i]) => `${x(i + 1).toFixed(1)},${y(value).toFixed(1)}`).join(" "),
      fill: "none", stroke: colour, "stroke-width": width, opacity,
    }));
    const [value, i] = points[points.length - 1];
    svg.append(element("circle", {cx: x(i + 1).toFixed(1), cy: y(value).toFixed(1), r: width, fill: colour, opacity}));
  };
  const colours = groups.map((_, i) => (i < MOST_COLOURED ? COLOURS[i] : GREY));
  groups.map((_, i) => i).reverse().forEach((i) => {
    for (const run of groups[i].runs) line(run, colours[i], 1, 0.35);
    line(groups[i].mean, colours[i], i < MOST_COLOURED ? 2.5 : 1, 1);
  });
  const legend = document.createElement("ul");
  legend.style.cssText = "list-style:none;padding:0;margin:.5rem 0";
  groups.slice(0, MOST_COLOURED).forEach((one, i) => {
    const item = document.createElement("li"), sign = document.createElement("span");
    sign.textContent = "━ ";
    sign.style.color = colours[i];
    const value = last(one.mean);
    item.append(sign, one.label + (value < 0 ? "" : `: ${value.toFixed(2)} % after ${one.mean.length} epochs`));
    legend.append(item);
  });
  document.getElementById("live-chart").replaceChildren(svg, legend);
}

async function look() {
  const state = document.getElementById("live-state");
  try {
    const answer = await fetch("/curves.json", {cache: "no-store"});
    if (!answer.ok) throw new Error(await answer.text());
    const data = await answer.json();
    const trained = String(data.trained);
    state.textContent = `${data.state}, ${trained} of ${data.planned} run-epochs`;
    if (state.dataset.trained !== trained) draw(data);
    state.dataset.trained = trained;
  } catch (error) {
    state.textContent = "no answer: " + error.message;
  }
  setTimeout(look, PAUSE_MS);
}
look();
