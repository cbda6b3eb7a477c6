// The blocks of the live chart component: each draws one frame into a node of its own and keeps that node for life.
// Joined with others into one module by pages/explorer.py and by pages/cut.py. All text is set through textContent, so
// nothing from a data set becomes markup.

const BUTTONS = [["zoom2d", "pan2d", "resetScale2d", "toImage"]];
const MOST_ROOMY = 5; // classes of a confusion matrix whose cells have room for counts
const CONFIG = { responsive: true, displaylogo: false, modeBarButtons: BUTTONS };

function loadPlotly(src) {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  window.__equipoisePlotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = src;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("plotly.js could not be loaded"));
    document.head.append(script);
  });
  return window.__equipoisePlotly;
}

function make(tag, className, parent, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  parent?.append(node);
  return node;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// #rrggbb and rgba(r,g,b,a) of the light palette -> the dark one, wherever they stand in a figure
function recolour(value, map) {
  if (typeof value === "string") return map.get(value) ?? recolourAlpha(value, map);
  if (Array.isArray(value)) return value.map((v) => recolour(v, map));
  if (value && typeof value === "object" && value.constructor === Object) {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, recolour(v, map)]));
  }
  return value;
}

function recolourAlpha(text, map) {
  const parts = /^rgba\((\d+),(\d+),(\d+),([\d.]+)\)$/.exec(text);
  if (!parts) return text;
  const hex = "#" + parts.slice(1, 4).map((n) => Number(n).toString(16).padStart(2, "0")).join("");
  const dark = map.get(hex);
  if (!dark) return text;
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(dark.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${parts[4]})`;
}

function isDark(element) {
  const colour = getComputedStyle(element).getPropertyValue("--st-background-color").trim() || "#ffffff";
  const probe = make("span", "", element);
  probe.style.color = colour;
  const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return 0.299 * r + 0.587 * g + 0.114 * b < 128;
}

// calls look() whenever the theme of the page may be another; the function it returns ends that
function watchTheme(host, look) {
  const observer = new MutationObserver(() => requestAnimationFrame(look));
  for (let node = host; node; node = node.parentElement) {
    observer.observe(node, { attributes: true, attributeFilter: ["class", "style"] });
  }
  const media = matchMedia("(prefers-color-scheme: dark)");
  const later = () => setTimeout(look, 100);
  media.addEventListener("change", later);
  return () => {
    observer.disconnect();
    media.removeEventListener("change", later);
  };
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const percent = (share) => (Number.isFinite(share) ? (100 * share).toFixed(1) : "–");
const signed = (number, digits) => (number >= 0 ? "+" : "−") + Math.abs(number).toFixed(digits);

// Draws a chart, in steps that go on by themselves: one that was taken away meanwhile (purged, so without a layout) has
// nothing left to draw, which plotly reports as an error.
function drawn(plot, traces, layout) {
  return window.Plotly.react(plot, traces, layout, CONFIG).catch((error) => {
    if (plot._fullLayout) throw error;
  });
}

// Plotly gives up a zoom when the range it is given changes, as it may while a sweep grows: repeat the one it knows.
function keepZoom(node, layout) {
  const axes = ["xaxis", "yaxis"].filter((axis) => layout[axis]?.range);
  const same = node.given?.rev === layout.uirevision;
  const moved = (axis) => node.given[axis] && String(node.plot._fullLayout?.[axis].range) !== String(node.given[axis]);
  const zoomed = same && axes.some(moved);
  if (!zoomed) node.given = { rev: layout.uirevision };
  for (const axis of axes) {
    if (zoomed && node.given[axis]) layout[axis].range = [...node.given[axis]];
    else node.given[axis] = [...layout[axis].range];
  }
}

// While a finger drags, only the ring moves, as one SVG element; on release the whole chart is drawn and knows it too.
// False where that is not possible: another chart, or no ring before or after.
function moveRing(node, block, position) {
  const index = block.ring;
  const frame = block.frames?.[position]?.[index];
  const uid = node.plot._fullData?.[index]?.uid;
  const ring = uid && node.plot.querySelector(`.scatterlayer .trace${uid} .point`);
  if (!ring || !frame?.x.length) return false;
  const { xaxis, yaxis } = node.plot._fullLayout;
  ring.setAttribute("transform", `translate(${xaxis.c2p(frame.x[0])},${yaxis.c2p(frame.y[0])})`);
  node.plot.emit("plotly_afterplot"); // the chart shows the new place: whoever waits for that hears of it
  return true;
}

// ---------------------------------------------------------------------------------------------------------------- blocks
// A block draws one frame into its own node and keeps that node for life: draw(block, position, explorer).

const BLOCKS = {
  text(node, block, position) {
    node.classList.toggle("eq-muted", Boolean(block.muted));
    const words = (block.frames.length === 1 ? block.frames[0] : block.frames[position]) ?? "";
    if (block.heading !== undefined) {
      node.heading ??= make("h3", "eq-heading", node);
      node.body ??= make("p", "", node);
      setText(node.heading, block.heading);
      setText(node.body, words);
    } else setText(node, words);
  },

  chart(node, block, position, explorer) {
    if (block.heading && !node.heading) node.heading = make("h3", "eq-heading", node);
    if (block.heading) setText(node.heading, block.heading);
    node.plot ??= make("div", "eq-plot", node);
    node.plot.setAttribute("role", "figure");
    node.plot.setAttribute("aria-label", block.alt);
    node.plot.style.height = `${block.height}px`;
    if (node.drawnData !== block || node.drawnDark !== explorer.dark) {
      node.traces = explorer.colours ? recolour(block.figure.data, explorer.colours) : block.figure.data.slice();
      node.layout = explorer.colours ? recolour(block.figure.layout, explorer.colours) : { ...block.figure.layout };
      node.drawnData = block;
      node.drawnDark = explorer.dark;
      node.epsilon = null;
    }
    for (const [index, frame] of Object.entries(block.frames?.[position] ?? {})) {
      node.traces[index] = { ...node.traces[index], ...(explorer.colours ? recolour(frame, explorer.colours) : frame) };
    }
    if (block.id === explorer.data.band?.chart && node.epsilon !== explorer.epsilon) explorer.applyBand(node);
    if (explorer.dragging && moveRing(node, block, position)) return undefined;
    const layout = { ...structuredClone(node.layout), uirevision: explorer.data.rev };
    keepZoom(node, layout);
    if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false; // a finger scrolls the page, a mouse zooms
    const done = drawn(node.plot, node.traces, layout);
    if (block.click && !node.listening) {
      node.listening = true;
      node.plot.on("plotly_click", (event) => {
        const point = event.points.find((p) => Number.isInteger(p.customdata));
        if (point) explorer.schedule("position", point.customdata, true);
      });
    }
    return done;
  },

  // favourable decisions per 1,000 people: a grey bar before, a coloured one now, one row per group
  people(node, block, position, explorer) {
    node.heading ??= make("h3", "eq-heading", node);
    setText(node.heading, block.heading);
    node.list ??= make("div", "eq-people", node);
    const rows = block.frames[position] ?? [];
    while (node.list.children.length > rows.length) node.list.lastChild.remove();
    rows.forEach((row, index) => {
      const line = node.list.children[index] ?? BLOCKS.personRow(node.list);
      setText(line.name, row.group);
      const change = row.before === null ? "" : ` (${signed(row.now - row.before, 0)})`;
      setText(line.value, (row.before === null ? "" : `${whole.format(row.before)} → `) + whole.format(row.now) + change);
      line.before.style.width = `${(row.before ?? 0) / 10}%`;
      line.now.style.width = `${row.now / 10}%`;
      line.now.style.background = explorer.colours?.get(block.colour) ?? block.colour;
    });
  },

  personRow(list) {
    const line = make("div", "eq-person", list);
    line.name = make("span", "eq-name", line);
    const track = make("span", "eq-track", line);
    track.setAttribute("aria-hidden", "true");
    line.before = make("span", "eq-before", track);
    line.now = make("span", "eq-now", track);
    line.value = make("span", "eq-number", line);
    return line;
  },

  // confusion matrices: real tables, one colour scale; each cell = share of the true class, people, change in points
  matrices(node, block, position, explorer) {
    node.heading ??= make("h3", "eq-heading", node);
    setText(node.heading, block.heading);
    node.grid ??= make("div", "eq-tables", node);
    const frame = block.frames[position] ?? [];
    const shape = JSON.stringify([frame.length, block.classes]);
    if (node.shape !== shape) {
      node.grid.replaceChildren();
      node.tables = frame.map(() => BLOCKS.matrixTable(node.grid, block.classes));
      node.shape = shape;
    }
    const scale = explorer.dark ? 62 : 55;
    frame.forEach((matrix, index) => {
      const table = node.tables[index];
      setText(table.captionText, matrix.title);
      table.cells.forEach((cell, k) => {
        const share = matrix.shares[k];
        const difference = matrix.kind === "difference";
        const value = difference ? signed(100 * share, 1) : percent(share);
        const people = difference ? "points" : whole.format(matrix.counts[k]);
        const change = matrix.changes?.[k];
        const moved = Number.isFinite(change) ? signed(100 * change, 1) : "";
        if (table.dense) {
          setText(cell.main, Number.isFinite(share) ? (100 * share).toFixed(0) : "–");
          cell.title = `${cell.where}: ${value} (${people})${moved && `, change ${moved}`}`;
        } else {
          setText(cell.main, value);
          setText(cell.count, people);
          setText(cell.change, moved);
        }
        const strength = Number.isFinite(share) ? Math.round(scale * Math.abs(share)) : 0;
        const ink = difference ? "var(--eq-difference)" : "var(--eq-scale)";
        cell.style.background = `color-mix(in srgb, ${ink} ${strength}%, transparent)`;
      });
    });
  },

  matrixTable(grid, classes) {
    const table = make("table", "eq-matrix", grid);
    table.dense = classes.length > MOST_ROOMY; // whole percent only; the rest is said when the mouse rests on a cell
    table.classList.toggle("eq-dense", table.dense);
    table.captionText = make("caption", "", table);
    const head = make("tr", "", make("thead", "", table));
    make("th", "eq-corner", head, "true ↓ told →").scope = "col";
    for (const name of classes) make("th", "", head, name).scope = "col";
    const body = make("tbody", "", table);
    table.cells = [];
    for (const name of classes) {
      const row = make("tr", "", body);
      make("th", "", row, name).scope = "row";
      for (let k = 0; k < classes.length; k++) {
        const cell = make("td", "", row);
        cell.where = `true ${name}, told ${classes[k]}`;
        cell.main = make("span", "eq-main", cell);
        cell.count = make("span", "eq-count", cell);
        cell.change = make("span", "eq-change", cell);
        table.cells.push(cell);
      }
    }
    return table;
  },
};
