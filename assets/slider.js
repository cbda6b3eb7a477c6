// A named range input with its value and its two ends; pages/explorer.py and pages/cut.py join it into their modules.

class Slider {
  constructor(parent, name, onInput, onChange) {
    this.root = make("div", `eq-slider eq-slider-${name}`, parent);
    this.label = make("label", "eq-slider-label", this.root);
    this.value = make("output", "eq-slider-value", this.root);
    this.input = make("input", "", this.root);
    this.input.type = "range";
    this.input.id = `eq-${name}`;
    this.input.min = 0;
    this.input.step = 1;
    this.label.htmlFor = this.value.htmlFor = this.input.id;
    this.ends = make("div", "eq-ends", this.root);
    this.low = make("span", "", this.ends);
    this.high = make("span", "", this.ends);
    this.input.addEventListener("input", () => onInput(Number(this.input.value)));
    this.input.addEventListener("change", () => onChange(Number(this.input.value)));
  }

  show(spec, position) {
    setText(this.label, spec.label);
    this.input.max = spec.labels.length - 1;
    this.input.value = position;
    this.input.setAttribute("aria-label", spec.label);
    this.input.setAttribute("aria-valuetext", `${spec.symbol} = ${spec.labels[position]}`);
    this.input.style.setProperty("--eq-at", `${(100 * position) / Math.max(1, spec.labels.length - 1)}%`);
    setText(this.value, `${spec.symbol} = ${spec.labels[position]}`);
    setText(this.low, spec.ends[0]);
    setText(this.high, spec.ends[1]);
  }
}
