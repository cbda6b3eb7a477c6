// The instrument of the thresholds page: every slider answers here, without the server.
//
// data = {rev, view, groups, classes, measures, epsilons, costs, strategies, places, under, map, splits}: pages/cut.py
// builds it and says what each part means. Charts are drawn by plotly once; what moves lies over them as a few SVG marks.

const LAST = 500; // positions of a threshold: 0, 0.002, ..., 1
const MAP_STEP = 10;
const MOST_NAMED = 4; // groups a sentence lists; of more, the one with the fewest and the one with the most
const OUTCOMES = [
  ["tp", "favoured, rightly"],
  ["fp", "favoured, wrongly"],
  ["fn", "refused, wrongly"],
  ["tn", "refused, rightly"],
];
const SVG = "http://www.w3.org/2000/svg";
const points = (share, digits = 1) => (Number.isFinite(share) ? signed(100 * share, digits) : "–");
const tau = (at) => (at / LAST).toFixed(3).replace(/0$/, "");

function svg(tag, attributes, parent) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent.append(node);
  return node;
}

// A plotly chart with a layer of marks above it: draw() is called with the layer whenever chart or marks have moved.
class Stage {
  constructor(parent, heading, alt, height, marks) {
    this.root = make("section", "eq-block eq-chart", parent);
    this.heading = make("h3", "eq-heading", this.root, heading);
    this.stage = make("div", "eq-stage", this.root);
    this.plot = make("div", "eq-plot", this.stage);
    this.plot.setAttribute("role", "figure");
    this.plot.setAttribute("aria-label", alt);
    this.plot.style.height = `${height}px`;
    this.layer = svg("svg", { class: "eq-over", "aria-hidden": "true" }, this.stage);
    this.marks = marks;
  }

  async draw(figure, cut, revision) {
    const copy = cut.colours ? recolour(figure, cut.colours) : { data: figure.data.slice(), layout: structuredClone(figure.layout) };
    const layout = { ...copy.layout, uirevision: revision };
    if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false;
    await drawn(this.plot, copy.data, layout);
    if (!this.listening) {
      this.listening = true;
      this.plot.on("plotly_afterplot", () => this.mark());
      this.plot.on("plotly_relayout", () => this.mark());
    }
    this.mark();
  }

  mark() {
    const full = this.plot._fullLayout;
    if (!full) return;
    this.layer.replaceChildren();
    this.marks(this, full);
  }

  // where a value lies on the page, and the box of an axis pair
  x(value, axis = "xaxis") {
    const a = this.plot._fullLayout[axis];
    return a._offset + a.c2p(value);
  }

  y(value, axis = "yaxis") {
    const a = this.plot._fullLayout[axis];
    return a._offset + a.c2p(value);
  }

  box(axis = "yaxis") {
    const { xaxis } = this.plot._fullLayout;
    const y = this.plot._fullLayout[axis];
    return { left: xaxis._offset, right: xaxis._offset + xaxis._length, top: y._offset, bottom: y._offset + y._length };
  }

  line(at, axis, attributes) {
    const { left, right, top, bottom } = this.box(axis);
    const x = this.x(at);
    if (x < left - 1 || x > right + 1) return;
    svg("line", { x1: x, x2: x, y1: top, y2: bottom, ...attributes }, this.layer);
  }

  rect(x0, x1, y0, y1, axis, attributes) {
    const { left, right, top, bottom } = this.box(axis);
    const [a, b] = [Math.max(left, Math.min(x0, x1)), Math.min(right, Math.max(x0, x1))];
    const [c, d] = [Math.max(top, Math.min(y0, y1)), Math.min(bottom, Math.max(y0, y1))];
    if (b > a && d > c) svg("rect", { x: a, y: c, width: b - a, height: d - c, ...attributes }, this.layer);
  }

  dot(x, y, axis, attributes) {
    const { left, right, top, bottom } = this.box(axis);
    if (!(x >= left - 2 && x <= right + 2 && y >= top - 2 && y <= bottom + 2)) return;
    svg("circle", { cx: x, cy: y, r: 6, ...attributes }, this.layer);
  }
}

class Cut {
  constructor(host) {
    this.root = make("div", "eq-root eq-cut", host);
    this.grid = make("div", "eq-grid", this.root);
    this.areas = Object.fromEntries(["top", "left", "right", "bottom"].map((a) => [a, make("div", `eq-${a}`, this.grid)]));
    this.watch(host);
  }

  watch(host) {
    this.unwatch = watchTheme(host, () => {
      if (this.data && this.root.isConnected && isDark(this.root) !== this.dark) this.restart();
    });
    this.resize = new ResizeObserver(() => {
      for (const stage of this.stages ?? []) if (stage.plot._fullLayout && stage.plot.offsetParent) window.Plotly.Plots.resize(stage.plot);
    });
    this.resize.observe(host);
  }

  update(data, send) {
    this.send = send;
    if (this.data?.rev === data.rev) return; // the browser knows better where its sliders stand
    this.data = data;
    this.view = { ...data.view, at: [...data.view.at] };
    this.restart();
  }

  restart() {
    this.dark = isDark(this.root);
    this.root.classList.toggle("eq-dark", this.dark);
    this.colours = this.dark ? new Map(Object.entries(this.data.palette)) : null;
    const built = JSON.stringify([this.data.rev, this.dark]);
    if (this.built !== built) {
      this.built = built;
      this.build();
    }
    loadPlotly(this.data.plotly).then(
      () => this.drawAll(),
      () => setText(this.sentence, "The chart library could not be loaded; reload the page, or read the table below."),
    );
  }

  colour(hex) {
    return this.colours?.get(hex) ?? hex;
  }

  // ---------------------------------------------------------------------------------------------------------- building

  build() {
    for (const stage of this.stages ?? []) if (stage.plot._fullLayout) window.Plotly?.purge(stage.plot);
    for (const area of Object.values(this.areas)) area.replaceChildren();
    this.shown = {};
    this.sentence = make("p", "eq-block eq-id-sentence", this.areas.top);
    this.sentence.setAttribute("aria-live", "polite");
    this.buildScores();
    this.curves = new Stage(this.areas.left, "", "Balanced accuracy and gap at every threshold, one for everybody", 330, (s) => this.markCurves(s));
    this.buildControls();
    this.buildPeople();
    this.matrices = make("section", "eq-block eq-matrices", this.areas.right);
    this.roc = new Stage(this.areas.bottom, "", "ROC curve of each group with the chosen thresholds", 360, (s) => this.markRoc(s));
    this.stages = [this.scores, this.curves, this.roc];
    if (this.data.map) this.buildMap();
  }

  buildScores() {
    this.scores = new Stage(this.areas.left, "", "How the scores of each group are spread, with the thresholds", 250, (s) => this.markScores(s));
    const list = make("div", "eq-taus", this.scores.root);
    this.common = this.threshold(list, "tau-all", "Threshold for everybody", null);
    this.taus = this.data.groups.map((group, g) => this.threshold(list, `tau-${g}`, `${group.glyph} ${group.name}`, g));
    const link = make("label", "eq-link", this.scores.root);
    this.link = make("input", "", link);
    this.link.type = "checkbox";
    this.link.id = "eq-linked";
    make("span", "", link, "One threshold for everybody");
    this.link.addEventListener("change", () => this.change({ linked: this.link.checked }, true));
  }

  threshold(parent, name, label, group) {
    const slider = new Slider(parent, name, (at) => this.cut(at, group, false), (at) => this.cut(at, group, true));
    slider.spec = { label, symbol: "τ", labels: Array.from({ length: LAST + 1 }, (_, k) => tau(k)), ends: ["0", "1"] };
    if (group !== null) slider.root.style.setProperty("--eq-accent", this.colour(this.data.groups[group].colour));
    return slider;
  }

  cut(at, group, final) {
    const all = this.view.at.map((now, g) => (group === null || g === group ? at : now));
    this.change({ at: all, strategy: null }, final);
  }

  select(parent, label, id, choices, pick) {
    const field = make("label", "eq-field", parent);
    make("span", "", field, label);
    const select = make("select", "", field);
    select.id = id;
    for (const [value, words] of choices) make("option", "", select, words).value = value;
    select.addEventListener("change", () => pick(select.value));
    return select;
  }

  buildControls() {
    const { measures, epsilons, costs, strategies } = this.data;
    const block = make("section", "eq-block eq-sliders", this.areas.right);
    const row = make("div", "eq-cut-controls", block);
    this.measure = this.select(row, "Gap μ measured by", "eq-measure", measures.map((m) => [m.name, m.title]), (measure) => this.change({ measure }, true));
    const splits = Object.keys(this.data.splits).reverse().map((s) => [s, `${s} split`]);
    this.split = this.select(row, "Shown on", "eq-split", splits, (split) => this.change({ split }, true));
    const pair = make("div", "eq-two", block);
    const sliders = [["eps", "epsilon", "Largest gap you accept ε", "ε", epsilons.map((e) => e.toFixed(3).replace(/0$/, ""))],
      ["cost", "cost", "Cost of a false positive, in false negatives", "cost", costs.map((c) => `${Number(c.toPrecision(3))}`)]];
    this.dials = sliders.map(([name, what, label, symbol, labels]) => {
      const slider = new Slider(pair, name, (at) => this.change({ [what]: at }, false), (at) => this.change({ [what]: at }, true));
      slider.spec = { label, symbol, labels, ends: [labels[0], labels[labels.length - 1]] };
      return [slider, what];
    });
    const named = make("section", "eq-block", this.areas.right);
    make("h3", "eq-heading", named, "Named strategies, found on the validation split");
    const buttons = make("div", "eq-strategies", named);
    this.buttons = strategies.map((strategy) => {
      const button = make("button", "", buttons, strategy.title);
      button.type = "button";
      button.dataset.strategy = strategy.name;
      button.addEventListener("click", () => this.change({ strategy: strategy.name }, true));
      return button;
    });
    this.meaning = make("p", "eq-meaning", named);
  }

  buildPeople() {
    const block = make("section", "eq-block", this.areas.right);
    make("h3", "eq-heading", block, `Of 1,000 people per group, ${this.data.favourable} or not (a dot is 10)`);
    const list = make("div", "eq-dots", block);
    this.crowds = this.data.groups.map((group) => {
      const box = make("div", "", list);
      box.style.setProperty("--eq-own", this.colour(group.colour));
      const name = make("div", "eq-crowd-name", box);
      const crowd = make("div", "eq-crowd", box);
      crowd.setAttribute("aria-hidden", "true");
      const dots = Array.from({ length: 100 }, () => make("i", "", crowd));
      const told = make("div", "eq-outcomes", box);
      const numbers = OUTCOMES.map(([kind, words]) => {
        make("i", `eq-${kind}`, told).setAttribute("aria-hidden", "true");
        make("span", "", told, words);
        return make("b", "", told);
      });
      return { name, dots, numbers };
    });
  }

  buildMap() {
    const { groups } = this.data;
    this.map = new Stage(this.areas.bottom, "", "Balanced accuracy over the thresholds of two groups, with contours of the gap", 360, (s) => this.markMap(s));
    this.stages.push(this.map);
    this.pair = [0, 1];
    if (groups.length > 2) {
      const row = make("div", "eq-cut-controls");
      this.map.heading.after(row);
      const names = groups.map((group, g) => [g, group.name]);
      [0, 1].forEach((k) => {
        const select = this.select(row, k ? "against" : "Thresholds of", `eq-pair-${k}`, names, (g) => {
          this.pair[k] = Number(g);
          if (this.pair[0] === this.pair[1]) this.pair[1 - k] = (this.pair[k] + 1) % groups.length;
          [...row.querySelectorAll("select")].forEach((s, i) => (s.value = this.pair[i]));
          this.drawMap(true);
        });
        select.value = this.pair[k];
      });
    }
    this.mapNote = make("p", "eq-note", this.map.root);
  }

  // ---------------------------------------------------------------------------------------------------------- changing

  // many input events in one display frame are one redraw; Python hears of the view on release
  change(changes, final) {
    this.asked ??= performance.now();
    const { view } = this;
    Object.assign(view, changes);
    if (changes.linked) view.at = view.at.map(() => view.at[0]);
    if (changes.linked !== undefined) view.strategy = null;
    this.follow();
    if (final) this.send("view", { ...view, at: [...view.at] });
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = null;
      const input = this.asked;
      this.asked = null;
      this.draw(final).then(() => requestAnimationFrame(() => {
        window.__equipoiseLast = { what: Object.keys(changes)[0], input, drawn: performance.now() };
      }));
    });
  }

  // a chosen strategy draws the lines, also while ε or the cost ratio move
  follow() {
    const { view, data } = this;
    if (!view.strategy) return;
    const strategy = data.strategies.find((s) => s.name === view.strategy);
    const found = strategy.name === "epsilon"
      ? data.groups.map(() => data.under[view.measure][view.epsilon])
      : data.places[strategy.name][view.epsilon][view.cost];
    view.at = [...found];
    view.linked = !strategy.groups;
  }

  favoured(at) {
    return this.data.splits[this.view.split].favoured.map((own, g) => own.map((counts) => counts[at[g]]));
  }

  // ----------------------------------------------------------------------------------------------------------- drawing

  async drawAll() {
    this.shown = {};
    this.follow();
    await this.draw(true);
    this.root.dataset.ready = "true";
  }

  // what does not move is drawn again only when split or measure are others
  async draw(settled) {
    const { view, data, shown } = this;
    const split = data.splits[view.split];
    this.counts = this.favoured(view.at);
    this.judged = judge(this.counts, split.rows);
    this.drawControls();
    this.drawSentence(split);
    this.drawPeople(split);
    this.drawMatrices(split);
    const waiting = [];
    if (shown.split !== view.split) {
      setText(this.scores.heading, `Scores per group (${view.split} split)`);
      setText(this.roc.heading, `ROC per group (${view.split} split)`);
      waiting.push(this.scores.draw(split.scores, this, data.rev), this.roc.draw(split.roc, this, data.rev));
    } else {
      this.scores.mark();
      this.roc.mark();
    }
    if (shown.split !== view.split || shown.measure !== view.measure) waiting.push(this.drawCurves(split));
    else this.curves.mark();
    if (this.map) waiting.push(this.drawMap(settled));
    Object.assign(shown, { split: view.split, measure: view.measure });
    await Promise.all(waiting);
  }

  drawControls() {
    const { view } = this;
    this.common.root.hidden = !view.linked;
    this.common.show(this.common.spec, view.at[0]);
    this.taus.forEach((slider, g) => {
      slider.root.hidden = view.linked;
      slider.show(slider.spec, view.at[g]);
    });
    for (const [slider, what] of this.dials) slider.show(slider.spec, view[what]);
    this.link.checked = view.linked;
    this.measure.value = view.measure;
    this.split.value = view.split;
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset.strategy === view.strategy));
    const strategy = this.data.strategies.find((s) => s.name === view.strategy);
    const need = strategy?.groups ? " It needs the group of every person who is decided about." : "";
    setText(this.meaning, strategy ? strategy.meaning + need : "Choose one, or move the thresholds by hand; a chosen one follows ε and the cost ratio.");
  }

  drawSentence(split) {
    const { view, data, judged } = this;
    const measure = data.measures.find((m) => m.name === view.measure);
    const epsilon = data.epsilons[view.epsilon];
    const value = judged[view.measure];
    const [gap, rho] = intervals(this.counts, split.rows, [view.measure, "rho"]);
    const many = data.groups.length > MOST_NAMED;
    const own = many ? "With a threshold per group" : `At ${data.groups.map((g, i) => `τ = ${tau(view.at[i])} for ${g.people}`).join(", ")}`;
    const lines = view.linked ? `At τ = ${tau(view.at[0])} for everybody` : own;
    const title = (measure.title[0].toLowerCase() + measure.title.slice(1)).replace(" (signed)", "");
    const inside = Math.abs(value) < epsilon ? "inside" : "outside";
    const gapWords = Number.isFinite(value)
      ? `the ${title} is ${points(value)} points (95 % interval ${points(gap[0])} to ${points(gap[1])}), ${inside} ε = ${(100 * epsilon).toFixed(1)} points by this measure`
      : `the ${title} is not defined on these rows`;
    const ranked = data.groups.map((g, i) => [judged.selected[i], g.people]).filter(([share]) => Number.isFinite(share));
    if (many) ranked.sort((a, b) => a[0] - b[0]).splice(1, ranked.length - 2);
    const people = ranked.map(([share, name]) => `${whole.format(1000 * share)} of 1,000 ${name}`);
    const cost = (1000 * (data.costs[view.cost] * judged.falsePositives + judged.falseNegatives)) / judged.n;
    const sampled = split.of > split.n ? ` of ${whole.format(split.of)}` : "";
    setText(this.sentence, `${lines} ${gapWords}; balanced accuracy ρ is ${percent(judged.rho)} % (${percent(rho[0])} to ${percent(rho[1])}). `
      + `${data.favourable[0].toUpperCase()}${data.favourable.slice(1)}: ${people.join(many ? " at least, at most " : ", ")}. Wrong decisions per 1,000 people, false positives times ${Number(data.costs[view.cost].toPrecision(3))}: ${whole.format(cost)}. `
      + (isTrivial(judged) ? "This is trivial: nearly one decision for everybody. " : "")
      + `${view.split[0].toUpperCase()}${view.split.slice(1)} split, n = ${whole.format(split.n)}${sampled}, seed ${data.seed}.`);
  }

  drawPeople(split) {
    this.crowds.forEach(({ name, dots, numbers }, g) => {
      const [n0, n1] = split.rows[g];
      const [fp, tp] = this.counts[g];
      const people = [tp, fp, n1 - tp, n0 - fp];
      const few = Math.min(n0, n1) < this.data.small ? ", few of one class" : "";
      setText(name, `${this.data.groups[g].glyph} ${this.data.groups[g].name} (n = ${whole.format(n0 + n1)}${few})`);
      let filled = 0;
      let before = 0;
      people.forEach((count, k) => {
        filled += count / (n0 + n1);
        const until = k === 3 ? 100 : Math.round(100 * filled);
        for (; before < until; before++) {
          const wanted = `eq-${OUTCOMES[k][0]}`;
          if (dots[before].className !== wanted) dots[before].className = wanted;
        }
        setText(numbers[k], whole.format((1000 * count) / (n0 + n1)));
      });
    });
  }

  drawMatrices(split) {
    const frame = this.data.groups.map((group, g) => {
      const counts = [0, 1].flatMap((t) => [split.rows[g][t] - this.counts[g][t], this.counts[g][t]]);
      return { title: `${group.glyph} ${group.name}`, kind: "counts", counts, shares: counts.map((c, k) => rate(c, split.rows[g][k >> 1])) };
    });
    const block = { heading: `Confusion matrices, % of the true class and people (${this.view.split} split)`, classes: this.data.classes, frames: [frame] };
    BLOCKS.matrices(this.matrices, block, 0, this);
  }

  drawCurves(split) {
    const { view, data } = this;
    const own = split.curves.measures[view.measure];
    const data_ = split.curves.data.map((trace, k) => (own.traces[k] ? { ...trace, y: own.traces[k] } : trace));
    const layout = { ...split.curves.layout, yaxis2: { ...split.curves.layout.yaxis2, range: own.range } };
    const title = data.measures.find((m) => m.name === view.measure).title;
    setText(this.curves.heading, `One threshold for everybody: balanced accuracy ρ, and μ = ${title} (${view.split} split)`);
    this.curvesNote ??= make("p", "eq-note", this.curves.root);
    if (!this.curvesNote.isConnected) this.curves.root.append(this.curvesNote);
    setText(this.curvesNote, "Green: |μ| < ε. ◇: best under ε on validation. Hatched: trivial, nearly one decision for everybody. Bands: 95 %, 200 resamples.");
    return this.curves.draw({ data: data_, layout }, this, `${data.rev}${view.measure}`);
  }

  // ρ and |μ| over two thresholds; the rest of the groups stay where they are
  drawMap(settled) {
    const { view, data } = this;
    const [a, b] = this.pair;
    const rest = data.groups.length > 2 && settled ? view.at.filter((_, g) => g !== a && g !== b) : this.shown.rest;
    const about = JSON.stringify([view.split, view.measure, a, b, rest]);
    const epsilon = data.epsilons[view.epsilon];
    setText(this.mapNote, `Bright: larger ρ. Thick line: |μ| = ε = ${(100 * epsilon).toFixed(1)} points; thin lines: |μ| = 10, 20, … %. ○: now.`);
    if (about === this.shown.map) return this.map.mark();
    const places = Array.from({ length: LAST / MAP_STEP + 1 }, (_, k) => k * MAP_STEP);
    const { rows } = data.splits[view.split];
    const judged = places.map((y) => places.map((x) => judge(this.favoured(view.at.map((now, g) => (g === a ? x : g === b ? y : now))), rows)));
    const title = data.measures.find((m) => m.name === view.measure).title;
    setText(this.map.heading, `Map of two thresholds: ρ, with contours of |μ|, ${title} (${view.split} split)`);
    Object.assign(this.shown, { map: about, rest });
    const x = places.map((p) => p / LAST);
    const rho = judged.map((r) => r.map((j) => j.rho));
    this.surface = { x, gap: judged.map((r) => r.map((j) => Math.abs(j[view.measure]))) };
    const traces = data.map.data.map((trace) => ({ ...trace, x, y: x, z: trace.meta === "rho" ? rho : this.surface.gap }));
    const layout = structuredClone(data.map.layout);
    layout.xaxis.title.text = `τ of ${data.groups[a].label}`;
    layout.yaxis.title.text = `τ of ${data.groups[b].label}`;
    return this.map.draw({ data: traces, layout }, this, data.rev);
  }

  // ------------------------------------------------------------------------------------------------------------- marks

  markScores(stage) {
    const { view, data } = this;
    if (view.linked) {
      stage.line(view.at[0] / LAST, "yaxis", { stroke: this.colour(data.ink), "stroke-width": 2 });
      return;
    }
    data.groups.forEach((group, g) => {
      stage.line(view.at[g] / LAST, "yaxis", { stroke: this.colour(group.colour), "stroke-width": 2.5, "stroke-dasharray": g ? "7 4" : "none" });
      const text = svg("text", { x: stage.x(view.at[g] / LAST) + 4, y: stage.box().top + 12 + 14 * g, fill: this.colour(group.colour), "font-size": 12 }, stage.layer);
      text.textContent = group.glyph;
    });
  }

  markCurves(stage) {
    const { view, data, judged } = this;
    const own = data.splits[view.split].curves.measures[view.measure];
    const epsilon = data.epsilons[view.epsilon];
    const green = { fill: this.colour(data.feasible), "fill-opacity": 0.13 };
    const { left, right } = stage.box();
    stage.rect(left, right, stage.y(-epsilon, "yaxis2"), stage.y(epsilon, "yaxis2"), "yaxis2", green);
    let start = null;
    own.gap.forEach((gap, k) => {
      const inside = gap !== null && Math.abs(gap) < epsilon;
      if (inside && start === null) start = k;
      if (start !== null && (!inside || k === LAST)) {
        const ends = [stage.x((start - 0.5) / LAST), stage.x((k - (inside ? 0 : 0.5)) / LAST)];
        stage.rect(...ends, stage.box().top, stage.box().bottom, "yaxis", green);
        start = null;
      }
    });
    const best = data.under[view.measure][view.epsilon];
    stage.line(best / LAST, "yaxis2", { stroke: this.colour(data.feasible), "stroke-width": 1.5, "stroke-dasharray": "3 3" });
    stage.line(best / LAST, "yaxis", { stroke: this.colour(data.feasible), "stroke-width": 1.5, "stroke-dasharray": "3 3" });
    const top = stage.box().top + 7;
    const x = stage.x(best / LAST);
    svg("path", { d: `M${x} ${top - 6}l6 6l-6 6l-6 -6z`, fill: "var(--st-background-color, #fff)", stroke: this.colour(data.feasible), "stroke-width": 2 }, stage.layer);
    const ink = this.colour(data.ink);
    for (const [axis, value] of [["yaxis", judged.rho], ["yaxis2", judged[view.measure]]]) {
      if (!Number.isFinite(value)) continue;
      const y = stage.y(value, axis);
      if (view.linked) {
        stage.line(view.at[0] / LAST, axis, { stroke: ink, "stroke-width": 1.5 });
        stage.dot(stage.x(view.at[0] / LAST), y, axis, { fill: ink });
      } else {
        const { left: a, right: b } = stage.box(axis);
        svg("line", { x1: a, x2: b, y1: y, y2: y, stroke: ink, "stroke-width": 1.5, "stroke-dasharray": "7 4" }, stage.layer);
        const text = svg("text", { x: b - 4, y: y - 4, "text-anchor": "end", fill: ink, "font-size": 12 }, stage.layer);
        text.textContent = "with these thresholds";
      }
    }
  }

  markRoc(stage) {
    const { data, judged } = this;
    data.groups.forEach((group, g) => {
      if (!Number.isFinite(judged.fpr[g]) || !Number.isFinite(judged.tpr[g])) return;
      const [x, y] = [stage.x(judged.fpr[g]), stage.y(judged.tpr[g])];
      stage.dot(x, y, "yaxis", { r: 9, fill: "var(--st-background-color, #fff)", stroke: this.colour(group.colour), "stroke-width": 3 });
      const text = svg("text", { x, y: y + 4, "text-anchor": "middle", fill: this.colour(group.colour), "font-size": 10 }, stage.layer);
      text.textContent = group.glyph;
    });
  }

  markMap(stage) {
    const [a, b] = this.pair;
    const [x, y] = [a, b].map((g, k) => (k ? stage.y(this.view.at[g] / LAST) : stage.x(this.view.at[g] / LAST)));
    const { left, right, top, bottom } = stage.box();
    const path = contour(this.surface.gap, this.data.epsilons[this.view.epsilon]).map(([p, q]) => {
      const ends = [p, q].map(([u, v]) => `${stage.x((u * MAP_STEP) / LAST).toFixed(1)} ${stage.y((v * MAP_STEP) / LAST).toFixed(1)}`);
      return `M${ends[0]}L${ends[1]}`;
    });
    const level = svg("path", { d: path.join(""), fill: "none", stroke: "#fff", "stroke-width": 3, "clip-path": "url(#eq-map-clip)" }, stage.layer);
    const clip = svg("clipPath", { id: "eq-map-clip" }, stage.layer);
    svg("rect", { x: left, y: top, width: right - left, height: bottom - top }, clip);
    level.style.filter = "drop-shadow(0 0 1px #000)";
    svg("line", { x1: left, x2: right, y1: y, y2: y, stroke: "#fff", "stroke-opacity": 0.5 }, stage.layer);
    svg("line", { x1: x, x2: x, y1: top, y2: bottom, stroke: "#fff", "stroke-opacity": 0.5 }, stage.layer);
    stage.dot(x, y, "yaxis", { r: 8, fill: "none", stroke: "#fff", "stroke-width": 3 });
    stage.dot(x, y, "yaxis", { r: 10, fill: "none", stroke: "#000", "stroke-width": 1 });
  }

  destroy() {
    this.unwatch();
    this.resize.disconnect();
    for (const stage of this.stages ?? []) if (stage.plot._fullLayout) window.Plotly?.purge(stage.plot);
    this.root.remove();
  }
}

export default (component) => mounted(Cut, component);
