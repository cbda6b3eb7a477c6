// The live chart component: every frame of a sweep is sent once, and dragging a slider redraws here, without the server.
//
// data = {rev, stamp, plotly, palette: {light: dark}, slider, band, blocks: [{kind, id, area, frames, ...}]}:
// pages/explorer.py builds it and says what each part means. Joined with blocks.js and slider.js into one module there.

// -------------------------------------------------------------------------------------------------------------- explorer

class Explorer {
  constructor(host) {
    this.root = make("div", "eq-root", host);
    this.grid = make("div", "eq-grid", this.root);
    this.areas = Object.fromEntries(["top", "left", "right", "bottom"].map((a) => [a, make("div", `eq-${a}`, this.grid)]));
    this.nodes = new Map();
    this.watch(host);
  }

  watch(host) {
    this.unwatch = watchTheme(host, () => {
      if (this.data && this.root.isConnected && isDark(this.root) !== this.dark) this.update(this.data, this.send);
    });
    this.resize = new ResizeObserver(() => {
      for (const { node } of this.nodes.values()) if (node.plot?._fullLayout && node.plot.offsetParent) window.Plotly.Plots.resize(node.plot);
    });
    this.resize.observe(host);
  }

  update(data, send) {
    this.send = send;
    const known = this.data;
    if (known?.rev !== data.rev) {
      this.position = data.slider?.position ?? 0;
      this.epsilon = data.band?.position ?? 0;
    }
    this.data = data;
    this.position = Math.min(this.position, (data.slider?.labels.length ?? 1) - 1);
    const dark = isDark(this.root);
    if (data.stamp && known?.stamp === data.stamp && known.rev === data.rev && dark === this.dark) return;
    this.dark = dark;
    this.root.classList.toggle("eq-dark", this.dark);
    this.colours = this.dark ? new Map(Object.entries(data.palette)) : null;
    this.place();
    this.dragging = false;
    loadPlotly(data.plotly).then(() => this.draw(), () => this.fail());
  }

  // every block keeps its node; blocks that are gone take theirs with them
  place() {
    const order = this.data.blocks.map((block) => block.area + block.id).join(" ");
    const present = new Set();
    for (const block of this.data.blocks) {
      present.add(block.id);
      let entry = this.nodes.get(block.id);
      if (!entry) {
        const node = make("section", `eq-block eq-${block.kind} eq-id-${block.id}`);
        this.nodes.set(block.id, (entry = { node }));
      }
      entry.block = block;
      if (block.kind === "sliders" && !entry.lam) this.makeSliders(entry);
    }
    for (const [id, { node }] of this.nodes) {
      if (present.has(id)) continue;
      if (node.plot) window.Plotly?.purge(node.plot);
      node.remove();
      this.nodes.delete(id);
    }
    if (order === this.order) return;
    this.order = order;
    for (const block of this.data.blocks) this.areas[block.area].append(this.nodes.get(block.id).node);
  }

  makeSliders(entry) {
    entry.lam = new Slider(entry.node, "lam", (i) => this.schedule("position", i, false), (i) => this.schedule("position", i, true));
    entry.eps = new Slider(entry.node, "eps", (i) => this.schedule("epsilon", i, false), (i) => this.schedule("epsilon", i, true));
    const line = make("div", "eq-best", entry.node);
    entry.best = make("p", "", line);
    entry.go = make("button", "eq-go", line);
    entry.go.type = "button";
    entry.go.addEventListener("click", () => this.schedule("position", this.data.band.frames[this.epsilon].best, true));
  }

  // many input events in one display frame are one redraw; Python hears of the last value on release
  schedule(what, value, final) {
    this.asked ??= performance.now();
    const moved = this[what] !== value;
    const stale = final && this.dragging; // what was moved by hand alone is drawn in full now
    this[what] = value;
    this.dragging = !final && what === "position";
    if (final) this.send(what, value);
    if ((!moved && !stale) || this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = null;
      const input = this.asked;
      this.asked = null;
      this.draw(what).then(() => requestAnimationFrame(() => {
        window.__equipoiseLast = { what, position: this.position, input, drawn: performance.now() };
      }));
    });
  }

  // `changed` = "position" or "epsilon" limits the redraw to what depends on it
  draw(changed) {
    const chart = this.data.band?.chart;
    const waiting = [];
    for (const { node, block, ...parts } of this.nodes.values()) {
      if (block.kind === "sliders") this.drawSliders(parts);
      else if (changed !== "epsilon" || block.id === chart) {
        waiting.push(BLOCKS[block.kind](node, block, this.position, this));
      }
    }
    if (!changed) this.asked = null;
    return Promise.all(waiting);
  }

  drawSliders({ lam, eps, best, go }) {
    const { slider, band } = this.data;
    lam.show(slider, this.position);
    eps.root.hidden = best.parentElement.hidden = !band;
    if (!band) return;
    eps.show(band, this.epsilon);
    const frame = band.frames[this.epsilon];
    setText(best, frame.sentence);
    setText(go, `Go to ${slider.symbol} = ${slider.labels[frame.best] ?? ""}`);
    go.hidden = frame.best === null || frame.best === this.position;
  }

  // the feasible band, the markers inside and outside it, and the square on the best point
  applyBand(node) {
    const { band } = this.data;
    const value = band.values[(node.epsilon = this.epsilon)];
    const frame = band.frames[this.epsilon];
    node.layout.shapes = node.layout.shapes.map((s) => (s.name === "band" ? { ...s, x1: value } : s));
    for (const [index, series] of Object.entries(band.markers)) {
      const symbol = series.gaps.map((gap, k) => (gap !== null && gap < value ? series.inside[k] : series.outside[k]));
      const trace = node.traces[index];
      node.traces[index] = { ...trace, marker: { ...trace.marker, symbol } };
    }
    const at = frame.best === null ? null : band.points[frame.best];
    node.traces[band.best] = { ...node.traces[band.best], x: at ? [at[0]] : [], y: at ? [at[1]] : [] };
  }

  fail() {
    setText(this.areas.top, "The chart library could not be loaded; reload the page, or read the table below.");
  }

  destroy() {
    this.unwatch();
    this.resize.disconnect();
    for (const { node } of this.nodes.values()) if (node.plot) window.Plotly?.purge(node.plot);
    this.root.remove();
  }
}

export default (component) => mounted(Explorer, component);
