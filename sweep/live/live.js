// The live curves: asks the server every two seconds and draws them as SVG. No other request is made.
"use strict";
const PAUSE_MS = 2000, MOST_WIDTH = 720, HEIGHT = 300, LEFT = 44, BOTTOM = 28, TOP = 8, RIGHT = 8, MOST_COLOURED = 6, WIDE = 2.5;
const GREY = "#999999";
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

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
}

function dashes(dash, width) {
  return dash.length ? dash.map((part) => part * width).join(" ") : "none";
}

function draw(data) {
  const last = (curve) => curve.reduce((found, value) => (value === null ? found : value), -1);
  // A narrow screen has a narrower drawing, with the same size of text.
  const width = Math.min(MOST_WIDTH, document.getElementById("live-chart").clientWidth);
  const groups = data.configurations.map((one) => ({...one, mean: meanCurve(one.runs)}));
  groups.sort((a, b) => last(b.mean) - last(a.mean));
  const all = groups.flatMap((one) => one.runs.flat()).filter((value) => value !== null);
  const step = niceStep(Math.max(1, ...all) / 4), high = step * Math.ceil(Math.max(1, ...all) / step), epochs = Math.max(1, data.epochs);
  const x = (epoch) => LEFT + (width - LEFT - RIGHT) * (epochs === 1 ? 0.5 : (epoch - 1) / (epochs - 1));
  const y = (value) => HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value / high);
  const svg = element("svg", {
    viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": "Validation accuracy by epoch",
    style: "max-width:100%;height:auto;font:12px sans-serif",
  });
  for (let value = 0; value <= high + step / 2; value += step) {
    svg.append(element("line", {x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value), stroke: "currentColor", opacity: 0.15}));
    svg.append(element("text", {x: LEFT - 6, y: y(value) + 4, "text-anchor": "end", fill: "currentColor"}, String(Number(value.toFixed(2)))));
  }
  for (const epoch of new Set([1, Math.ceil(epochs / 2), epochs]))
    svg.append(element("text", {x: x(epoch), y: HEIGHT - 8, "text-anchor": "middle", fill: "currentColor"}, String(epoch)));
  const line = (curve, colour, thick, opacity, dash) => {
    const points = curve.map((value, i) => [value, i]).filter(([value]) => value !== null);
    if (!points.length) return;
    svg.append(element("polyline", {
      points: points.map(([value, i]) => `${x(i + 1).toFixed(1)},${y(value).toFixed(1)}`).join(" "),
      fill: "none", stroke: colour, "stroke-width": thick, opacity, "stroke-dasharray": dashes(dash, thick),
    }));
    const [value, i] = points[points.length - 1];
    svg.append(element("circle", {cx: x(i + 1).toFixed(1), cy: y(value).toFixed(1), r: thick, fill: colour, opacity}));
  };
  const colours = groups.map((one, i) => (i < MOST_COLOURED ? one.colour : GREY));
  groups.map((_, i) => i).reverse().forEach((i) => {
    for (const run of groups[i].runs) line(run, colours[i], 1, 0.35, []);
    line(groups[i].mean, colours[i], i < MOST_COLOURED ? WIDE : 1, 1, i < MOST_COLOURED ? groups[i].dash : []);
  });
  const legend = document.createElement("ul");
  legend.style.cssText = "list-style:none;padding:0;margin:.5rem 0";
  groups.slice(0, MOST_COLOURED).forEach((one, i) => {
    const item = document.createElement("li");
    const sign = element("svg", {viewBox: "0 0 36 10", width: 36, height: 10, "aria-hidden": "true", style: "margin-right:.5rem"});
    sign.append(element("line", {
      x1: 0, x2: 36, y1: 5, y2: 5, stroke: colours[i], "stroke-width": WIDE, "stroke-dasharray": dashes(one.dash, WIDE),
    }));
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
